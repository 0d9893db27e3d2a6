"""How far each kind of operator may be from LiteRT's reference kernels on these chips, given the same inputs.

No byte that these chips wrote is public, so nothing is said to be exact that is computed: rounding at ties is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.inspect.bounds import SAME_MEMORY, Bound
from rocketnpu.verisilicon.lowering.convolution import WEIGHTED, channel_steps

ONE_ROUNDING = Bound(1, "the chip rounds once, with a multiplier cut to 16 or 24 bits; at ties it is not known how")
BYTE_TABLE = Bound(1, "between two entries of the look-up table the line is straight; a worse table is refused")
FOLDED = Bound(2, "scales are folded into the weights; what that leaves out is computed apart, and both are rounded")
COPY = Bound(0, "bytes are copied")
KINDS: Mapping[str, Bound] = {
    **dict.fromkeys(BYTE_FUNCTIONS, BYTE_TABLE),
    "RESHAPE": SAME_MEMORY,
    "SQUEEZE": SAME_MEMORY,
    "EXPAND_DIMS": SAME_MEMORY,
    **dict.fromkeys(("PAD", "PADV2", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"), COPY),
}
"""Kinds of operator with a bound of their own."""


def bound_of(graph: Graph, operators: Sequence[Operator]) -> Bound:
    """Return the bound of an operator, or of several that the NPU runs as one: the widest of theirs."""
    return max((_bound(graph, operator) for operator in operators), key=lambda bound: bound.steps)


def _bound(graph: Graph, operator: Operator) -> Bound:
    """Bound one operator: of several scales, by what folding them into the weights leaves out."""
    if operator.kind not in WEIGHTED:
        return bound_of_kind(operator.kind)
    try:
        steps = channel_steps(graph, operator)
    except UnsupportedError:  # as it stands; what a pass makes of it is taken at the wider bound
        return FOLDED
    return bound_of_kind(operator.kind) if steps == 1 else FOLDED


def bound_of_kind(kind: str) -> Bound:
    """Return the bound of a single operator."""
    return KINDS.get(kind, ONE_ROUNDING)
