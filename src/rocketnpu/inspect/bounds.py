"""How far each kind of operator may be from LiteRT's reference kernels, given the same inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.graph import Graph, Operator
from rocketnpu.rockchip.rules.table import RULES


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
COPY = Bound(0, "bytes are copied")
KINDS: Mapping[str, Bound] = {
    **dict.fromkeys(BYTE_FUNCTIONS, BYTE_TABLE),
    **dict.fromkeys(
        ("HARD_SWISH", "GELU"),
        Bound(1, "the table's own arithmetic differs from the reference's for about one byte in 30,000"),
    ),
    "RSQRT": Bound(1, "the reference's fixed-point root may round the other way"),
    "RESHAPE": SAME_MEMORY,
    "SQUEEZE": SAME_MEMORY,
    "EXPAND_DIMS": SAME_MEMORY,
    "MAXIMUM": Bound(0, "the larger or smaller byte is one of the two"),
    "MINIMUM": Bound(0, "the larger or smaller byte is one of the two"),
    "MAX_POOL_2D": Bound(0, "the largest byte is one of the window's"),
    **dict.fromkeys(("PAD", "PADV2", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "RESIZE_NEAREST_NEIGHBOR"), COPY),
}
"""Kinds of operator with a bound other than 1."""


def stated_bounds() -> dict[str, str]:
    """Return in words how far each kind of operator may be from the reference, for every kind that the NPU takes."""
    words = {}
    for kind in RULES:
        bound = KINDS.get(kind, ONE_ROUNDING)
        words[kind] = f"at most {bound.steps}, for {bound.reason}" if bound.steps else f"none, for {bound.reason}"
    return words


HALF_STEP, DOUBLE_ROUNDING = 0.5, 0.25
"""What rounding a tensor takes away at most, and what the reference's second rounding adds to that (spec 5.9)."""
MARGIN = 0.1
"""Steps that the 15-bit multipliers of a sum take at most."""


def bound_of(graph: Graph, operators: Sequence[Operator]) -> Bound:
    """Return the bound of an operator, or of several that the NPU runs as one."""
    for operator in operators:
        if operator.kind == "ADD" and len(operators) > 1:
            return _fused(graph, operators, operator)
    return KINDS.get(operators[-1].kind, ONE_ROUNDING)


def _fused(graph: Graph, operators: Sequence[Operator], addition: Operator) -> Bound:
    """Bound a fused addition: the reference rounds the tensor between, the chip does not (spec 5.6)."""
    inside = {number for operator in operators for number in operator.outputs}
    output = graph.tensors[addition.outputs[0]].quantisation
    ratio = 0.0
    for number in addition.inputs:
        middle = graph.tensors[number].quantisation if number in inside else None
        if middle is not None and output is not None:
            ratio = max(ratio, middle.scale / output.scale)
    steps = max(1, math.ceil((HALF_STEP + DOUBLE_ROUNDING) * ratio + MARGIN))
    return Bound(steps, f"the reference rounds the tensor between to {ratio:.2f} steps of the sum, the chip does not")
