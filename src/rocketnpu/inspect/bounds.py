"""How far each kind of operator may be from LiteRT's reference kernels, given the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rocketnpu.graph import Graph, Operator
from rocketnpu.partition.rules import RULES
from rocketnpu.tasks.byte_functions import BYTE_FUNCTIONS


@dataclass(frozen=True)
class Bound:
    """A stated bound."""

    steps: int
    """Steps of the output tensor."""
    reason: str


ONE_ROUNDING = Bound(
    1, "the chip rounds once with a 15-bit multiplier, the reference twice with a 31-bit one (spec 5.9)"
)
SAME_MEMORY = Bound(0, "nothing is computed")
BYTE_TABLE = Bound(0, "the table holds the reference's own output for each of the 256 bytes")
KINDS: Mapping[str, Bound] = {
    **dict.fromkeys(BYTE_FUNCTIONS, BYTE_TABLE),
    "RSQRT": Bound(1, "the reference's fixed-point root may round the other way"),
    "RESHAPE": SAME_MEMORY,
    "SQUEEZE": SAME_MEMORY,
    "EXPAND_DIMS": SAME_MEMORY,
    "MAXIMUM": Bound(0, "the larger or smaller byte is one of the two"),
    "MINIMUM": Bound(0, "the larger or smaller byte is one of the two"),
    "MAX_POOL_2D": Bound(0, "the largest byte is one of the window's"),
}
"""Kinds of operator with a bound other than 1."""


def stated_bounds() -> dict[str, str]:
    """Return in words how far each kind of operator may be from the reference, for every kind that the NPU takes."""
    words = {}
    for kind in RULES:
        bound = KINDS.get(kind, ONE_ROUNDING)
        words[kind] = f"at most {bound.steps}, for {bound.reason}" if bound.steps else f"none, for {bound.reason}"
    return words


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
