"""How far each kind of operator may be from LiteRT's reference kernels on this chip, given the same inputs.

The bounds hold for what the NPU takes. Its rules leave operators to the CPU for which LiteRT's reference kernels wrap
around 32 bits (``arithmetic/reference_range.py``), copy bytes although scales differ, or refuse to run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.graph import Graph, Operator
from rocketnpu.inspect.bounds import SAME_MEMORY, Bound

ONE_ROUNDING = Bound(
    1, "the chip rounds once with a 15-bit multiplier, the reference twice with a 31-bit one (spec 5.9)"
)
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


HALF_STEP, DOUBLE_ROUNDING = 0.5, 0.25
"""What rounding a tensor takes away at most, and what the reference's second rounding adds to that (spec 5.9)."""
MARGIN = 0.1
"""Steps that the 15-bit multipliers of a sum take at most."""


def bound_of(graph: Graph, operators: Sequence[Operator]) -> Bound:
    """Return the bound of an operator, or of several that the NPU runs as one: the widest of theirs.

    A table that does what several operators do in turn rounds once, where the reference rounds behind each.
    """
    for operator in operators:
        if operator.kind == "ADD" and len(operators) > 1:
            return _fused(graph, operators, operator)
    return max((KINDS.get(operator.kind, ONE_ROUNDING) for operator in operators), key=lambda bound: bound.steps)


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


def bound_of_kind(kind: str) -> Bound:
    """Return the bound of a single operator."""
    return KINDS.get(kind, ONE_ROUNDING)
