"""Compile a graph to a program: the whole way from operators to command words."""

from __future__ import annotations

from rocketnpu.errors import UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program


def compile_graph(graph: Graph, policy: Policy | None = None) -> Program:
    """Compile a graph all of whose operators the NPU takes, for the policy's chip.

    Raises:
        InputError: there is no such chip.
        UnsupportedError: an operator cannot be run, there is none, or none of them computes anything.
        RegisterFieldError: a value does not fit its register; :func:`rocketnpu.partition.plan.plan` refuses such
            operators.
    """
    if not graph.operators:
        raise UnsupportedError(f"{graph.name} has no operator to compile")
    policy = policy or Policy()
    return family_of(policy.chip).compile(graph, policy)
