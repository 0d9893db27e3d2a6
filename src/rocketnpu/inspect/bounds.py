"""How far each kind of operator may be from LiteRT's reference kernels, given the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rocketnpu.graph import Graph, Operator


@dataclass(frozen=True)
class Bound:
    """A stated bound."""

    steps: int
    """Steps of the output tensor."""
    reason: str


ONE_ROUNDING = Bound(
    1, "the chip rounds once with a 15-bit multiplier, the reference twice with a 31-bit one (spec 5.9)"
)
KINDS: Mapping[str, Bound] = {}
"""Kinds of operator with a bound other than 1."""


def bound_of(graph: Graph, operators: Sequence[Operator]) -> Bound:
    """Return the bound of an operator, or of several that the NPU runs as one."""
    if len(operators) > 1:
        return _fused(graph, operators)
    return KINDS.get(operators[0].kind, ONE_ROUNDING)


def _fused(graph: Graph, operators: Sequence[Operator]) -> Bound:
    """Bound a fused addition: the reference rounds the intermediate tensor, the chip does not (spec 5.6)."""
    middle, output = (graph.tensors[operator.outputs[0]].quantisation for operator in (operators[0], operators[-1]))
    if middle is None or output is None:
        return ONE_ROUNDING
    extra = round(0.5 * middle.scale / output.scale)
    return Bound(
        1 + extra, f"the reference rounds the tensor between them to steps of {middle.scale / output.scale:.2f}"
    )
