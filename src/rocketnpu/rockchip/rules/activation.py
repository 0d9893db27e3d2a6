"""Rules of operators on single bytes, which go through the look-up table, and of PRELU."""

from __future__ import annotations

from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.rockchip.rules.common import COMMON, Rule, features, in_reference_range, input_tensor, unquantised
from rocketnpu.rockchip.soc import Soc

LOGISTIC_SCALE = 1 / 256


def equal_shapes(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output have the same shape."""
    source, target = features(graph, operator)
    return None if source.shape == target.shape else f"{source.shape} and {target.shape}"


def signed_features(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are INT8: LiteRT has no kernel of this operator for UINT8."""
    found = features(graph, operator)[0].dtype
    return None if found is DType.INT8 else found.value


def whole_range(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The output has a scale of 1/256 and the lowest zero point: LiteRT's kernel takes no other."""
    target = features(graph, operator)[1]
    assert target.quantisation is not None
    lowest = {DType.INT8: -128, DType.UINT8: 0}[target.dtype]
    fits = target.quantisation.scale == LOGISTIC_SCALE and target.quantisation.zero_point == lowest
    return None if fits else str(target.quantisation)


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
