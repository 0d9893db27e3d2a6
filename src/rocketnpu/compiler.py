"""Compile a graph to a program: the whole way from operators to command words."""

from __future__ import annotations

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.policy import Policy
from rocketnpu.program.assemble import assemble
from rocketnpu.program.program import Program
from rocketnpu.soc import RK3588
from rocketnpu.tasks.lowering import lower


def compile_graph(graph: Graph, policy: Policy | None = None) -> Program:
    """Compile a graph all of whose operators the NPU takes.

    Raises:
        UnsupportedError: an operator cannot be run, or there is none.
    """
    if not graph.operators:
        raise UnsupportedError(f"{graph.name} has no operator to compile")
    return assemble(lower(graph, RK3588, policy or Policy()), graph.name, RK3588)
