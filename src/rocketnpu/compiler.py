"""Compile a graph to a program: the whole way from operators to command words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.graph.images import per_image
from rocketnpu.graph.passes import fold_constants
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program


def compile_graph(graph: Graph, policy: Policy | None = None) -> Program:
    """Compile a graph all of whose operators the NPU takes, for the policy's chip.

    The program is that of one image where the graph's inputs are a batch; what is known before it runs is none of its
    outputs (:func:`constant_outputs`).

    Raises:
        InputError: there is no such chip.
        UnsupportedError: an operator cannot be run, there is none, or none of them computes anything.
        RegisterFieldError: a value does not fit its register; :func:`rocketnpu.partition.plan.plan` refuses such
            operators.
    """
    if not graph.operators:
        raise UnsupportedError(f"{graph.name} has no operator to compile")
    policy = policy or Policy()
    graph = compiled_graph(graph)
    for index, problem in graph.problems.items():
        raise UnsupportedError(f"operator {index}: {problem}")
    return family_of(policy.chip).compile(graph, policy)


def compiled_graph(graph: Graph) -> Graph:
    """Return what a program does of a graph: one image of a batch, without inputs of which only the shape is wanted,
    and without outputs that are known before it runs.
    """
    single, _ = per_image(graph)
    folded = fold_constants(single)
    read = {n for operator in folded.operators for n in operator.inputs} | set(folded.outputs)
    return replace(
        single,
        inputs=tuple(n for n in single.inputs if n in read),
        outputs=tuple(n for n in single.outputs if not folded.tensors[n].is_constant),
    )


def images_of(graph: Graph) -> int:
    """Return how many images a graph's inputs hold: so often its program runs in one inference."""
    return per_image(graph)[1]


def constant_outputs(graph: Graph) -> dict[int, npt.NDArray[Any]]:
    """Return the outputs of a graph whose values are known before it runs, by tensor number."""
    tensors = fold_constants(graph).tensors
    return {n: data for n in graph.outputs if (data := tensors[n].data) is not None}
