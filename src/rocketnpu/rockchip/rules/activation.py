"""Rules of operators on single bytes, which go through the look-up table, and of PRELU."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.partition.rules.tensors import (
    equal_shapes,
    features,
    in_reference_range,
    input_tensor,
    signed_features,
    unquantised,
    whole_range,
)
from rocketnpu.rockchip.rules.common import COMMON, Rule
from rocketnpu.rockchip.soc import Soc


def constant_slopes(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Slopes are constant, of the input's type with one scale, and one for each channel or one for all."""
    slopes, source = input_tensor(graph, operator, 1), features(graph, operator)[0]
    if slopes is None or not slopes.is_constant:
        return "they are computed at run time"
    failed = unquantised(slopes)
    if failed or slopes.dtype is not source.dtype:
        return failed or f"slopes are {slopes.dtype.value}"
    if slopes.elements == 1 or (slopes.elements, slopes.shape[-1]) == (source.shape[-1], source.shape[-1]):
        return None
    return f"slopes of shape {slopes.shape} for an input of {source.shape}"


LOOKUP: tuple[Rule, ...] = (*COMMON, equal_shapes)
"""TANH, HARD_SWISH and GELU: equal to the reference for each of the 256 bytes."""
LOGISTIC: tuple[Rule, ...] = (*LOOKUP, whole_range)
"""LOGISTIC: equal to the reference for each of the 256 bytes."""
LEAKY: tuple[Rule, ...] = (*LOOKUP, in_reference_range)
"""LEAKY_RELU: equal to the reference for each of the 256 bytes."""
LOOKUP_SIGNED: tuple[Rule, ...] = (*LOOKUP, signed_features)
"""ELU, EXP and LOG: equal to the reference."""
MULTIPLIED: tuple[Rule, ...] = (*LOOKUP_SIGNED, in_reference_range)
"""ABS, equal to the reference for each of the 256 bytes, and RSQRT, at most 1 from it."""
PARAMETRIC: tuple[Rule, ...] = (*COMMON, equal_shapes, constant_slopes, in_reference_range)
"""PRELU: at most 1 from the reference."""
