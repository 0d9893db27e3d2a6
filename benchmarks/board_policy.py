"""What a board with the mainline driver runs before and after it has proven all rules, side by side.

    python benchmarks/board_policy.py MODEL...

Parts, operators on the NPU, tasks, and the share of the multiply-accumulates. Nothing is run.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rocketnpu.compiler import compile_graph
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.model.files import read
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

BEFORE = Policy("mainline", allow_unproven=False)
AFTER = replace(BEFORE, proven=frozenset(family_of(BEFORE.chip).evidence.rules))


def figures(graph: Graph, policy: Policy) -> str:
    """Return what becomes of a model under a policy, in words."""
    divided = plan(graph, policy)
    tasks = sum(len(compile_graph(part, policy).tasks) for part in divided.parts)
    taken = sum(decision.supported for decision in divided.decisions)
    total = len(divided.decisions)
    return f"{len(divided.parts)} parts, {taken} of {total} operators, {tasks} tasks, {divided.coverage:.2%}"


def main(paths: list[str]) -> None:
    """Print a line for each model."""
    for path in map(Path, paths):
        graph = read(path)
        print(f"{path.stem}: before {figures(graph, BEFORE)}; after {figures(graph, AFTER)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
