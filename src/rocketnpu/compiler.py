"""Compile a graph to a program: the whole way from operators to command words."""

from __future__ import annotations

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program
from rocketnpu.rockchip.assembly.assemble import assemble
from rocketnpu.rockchip.lowering.lowering import lower
from rocketnpu.rockchip.soc import RK3588


def compile_graph(graph: Graph, policy: Policy | None = None) -> Program:
    """Compile a graph all of whose operators the NPU takes.

    Raises:
        UnsupportedError: an operator cannot be run, there is none, or none of them computes anything.
        RegisterFieldError: a value does not fit its register; :func:`rocketnpu.partition.plan.plan` refuses such
            operators.
    """
    if not graph.operators:
        raise UnsupportedError(f"{graph.name} has no operator to compile")
    lowered = lower(graph, RK3588, policy or Policy())
    if not lowered.tasks:
        raise UnsupportedError(f"{graph.name} computes nothing: its outputs are its inputs, seen in another shape")
    return assemble(lowered, graph.name, RK3588)
