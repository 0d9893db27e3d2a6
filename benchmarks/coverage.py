"""What of whole networks the NPU takes: parts, share of the multiply-accumulates, estimated time, before and after.

    python benchmarks/coverage.py FILE... [--before BEFORE.json] [--json AFTER.json]

Each network is divided under the board's policy (the mainline kernel, proven rules, cuts weighed) and under all rules
(the simulator's; its time is that of what the mainline kernel may be given of them). ``--json`` keeps the figures;
``--before`` takes those of another revision, where this script ran as well, and puts them beside. Prints the table of
docs/networks.md. Estimated times are those of ``rocketnpu estimate`` for the mainline kernel, with the CPU's share of
:mod:`rocketnpu.estimate.price` for what the NPU does not take; docs/networks.md says what they rest on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rocketnpu.errors import RocketError
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.policy import Policy

BOARD = Policy("mainline", allow_unproven=False)
Figures = dict[str, Any]


def weighing(policy: Policy) -> Policy:
    """Return the policy with cuts weighed, where this revision can."""
    return replace(policy, weighs=True) if hasattr(policy, "weighs") else policy


def figures(graph: Graph) -> Figures:
    """Divide a network under both policies."""
    found: Figures = {"operators": len(graph.operators)}
    for title, policy, timed in (
        ("board", weighing(BOARD), weighing(BOARD)),
        ("all", Policy(), replace(BOARD, allow_unproven=True)),
    ):
        divided = plan(graph, policy)
        time = milliseconds(divided if timed == policy else plan(graph, timed))
        found[title] = {"parts": len(divided.parts), "share": divided.coverage, "ms": time}
    return found


def milliseconds(divided: Plan) -> float | None:
    """Estimate one inference on the mainline kernel, both sides, or return None where this revision cannot."""
    try:
        from rocketnpu.estimate.price import processor_us
        from rocketnpu.family import family_of
    except ImportError:
        return None
    policy, graph = replace(divided.policy, target="mainline"), divided.graph
    left = {o.index: o for o in graph.operators}
    total = 0.0
    for part in divided.parts:
        cost = family_of(policy.chip).price(graph, part, policy)
        if cost is None:
            return None
        total += cost.npu_us + cost.cut_us
        for operator in part.operators:
            left.pop(operator.index)
    return (total + processor_us(graph, list(left.values()))) / 1e3


def loaded(path: Path) -> Graph:
    """Read a TFLite file, or one of ONNX where this revision can."""
    if path.suffix != ".onnx":
        return tflite.load(path)
    from rocketnpu.model.onnx import load

    return load(path).graph


def measure(path: Path) -> Figures:
    """Return the figures of a file, or why there are none."""
    try:
        return figures(loaded(path))
    except RocketError as error:
        return {"error": str(error)}


def cell(found: Figures | None, title: str) -> str:
    """Show parts, share and time of one policy."""
    if found is None:
        return ""
    if "error" in found:
        return "refused"
    entry = found[title]
    time = "" if entry["ms"] is None else f", {entry['ms']:.1f} ms"
    return f"{entry['parts']} / {entry['share']:.1%}{time}"


def table(after: dict[str, Figures], before: dict[str, Figures]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| network | operators | board, before | board | all rules, before | all rules |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in after.items():
        old = before.get(name)
        cells = [cell(old, "board"), cell(found, "board"), cell(old, "all"), cell(found, "all")]
        lines.append(f"| {name} | {found.get('operators', '')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    after = {path.stem: measure(path) for path in arguments.files}
    if arguments.json:
        arguments.json.write_text(json.dumps(after, indent=1), encoding="utf-8")
    before = json.loads(arguments.before.read_text(encoding="utf-8")) if arguments.before else {}
    print(table(after, before))


if __name__ == "__main__":
    main()
