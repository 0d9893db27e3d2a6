"""Rules of sums, means, functions of bytes, and operators that only move values."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Pool2D
from rocketnpu.partition.rules.moves import (
    constant_paddings,
    joins_a_map,
    known_shape,
    known_slices,
    one_scale_if_signed,
    over_the_map,
)
from rocketnpu.partition.rules.tensors import (
    any_byte_features,
    byte_features,
    byte_operands,
    clamping_activation,
    equal_scales,
    equal_shapes,
    features,
    in_reference_range,
    same_scale,
    signed_features,
    static_tensors,
    unquantised,
    variable_input,
    whole_range,
)
from rocketnpu.verisilicon.rules.common import COMMON, Rule, feature_maps, not_a_map
from rocketnpu.verisilicon.rules.convolution import strides
from rocketnpu.verisilicon.soc import Soc


def same_operands(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Operands that are computed have the output's shape; one may be a constant, of one value for all or one for each
    channel.
    """
    output = graph.tensors[operator.outputs[0]]
    operands = [graph.tensors[number] for number in operator.inputs if number is not None]
    if all(tensor.is_constant for tensor in operands):
        return "both are constant"
    for tensor in operands:
        if not tensor.is_constant and tensor.shape != output.shape:
            return f"an operand of shape {tensor.shape} for an output of {output.shape}"
        if tensor.is_constant and tensor.elements not in (1, output.shape[-1] if output.shape else 1):
            return f"a constant of shape {tensor.shape}"
    return None


def summed_map(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The output is a map of batch 1, of at most 8191 rows and columns and 16383 channels."""
    return not_a_map(graph.tensors[operator.outputs[0]])


def small_window(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The window has at most 11 rows and columns on generation 7, 15 on generation 8, or is the whole map."""
    shape = map_shape(features(graph, operator)[0])
    assert shape is not None
    attributes = operator.attributes
    if not isinstance(attributes, Pool2D) or attributes.kernel == shape[:2]:
        return None
    rows, columns = attributes.kernel
    return f"{rows}x{columns}" if not 1 <= min(rows, columns) <= max(rows, columns) <= soc.max_kernel else None


def whole_map(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The mean is over rows and columns together."""
    shape = map_shape(features(graph, operator)[0])
    target = map_shape(graph.tensors[operator.outputs[0]])
    return f"{shape} to {target}" if target is None or shape is None or target != (1, 1, shape[2]) else None


def joined_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """All inputs are computed or given, INT8 or UINT8 as the output, with one scale each, and maps of batch 1 of at
    most 8191 rows and columns and 16383 channels.
    """
    output = graph.tensors[operator.outputs[0]]
    for tensor in [*(graph.input_of(operator, position) for position in range(len(operator.inputs))), output]:
        if tensor.is_constant or tensor.is_dynamic:
            return f"tensor {tensor.index} is {'constant' if tensor.is_constant else 'of unknown shape'}"
        failed = unquantised(tensor) or not_a_map(tensor)
        if failed or tensor.dtype is not output.dtype:
            return failed or f"{tensor.dtype.value} and {output.dtype.value}"
    return None


SUM: tuple[Rule, ...] = (
    *(static_tensors, byte_operands, summed_map, same_operands),
    *(clamping_activation, in_reference_range),
)
"""ADD and SUB."""
AVERAGE: tuple[Rule, ...] = (*COMMON, equal_scales, small_window, strides, clamping_activation, in_reference_range)
"""AVERAGE_POOL_2D."""
MEAN: tuple[Rule, ...] = (*COMMON, over_the_map, whole_map, in_reference_range)
"""MEAN."""
CLAMP: tuple[Rule, ...] = (*COMMON, equal_shapes, in_reference_range)
"""RELU and its relatives."""
REQUANTISE: tuple[Rule, ...] = (static_tensors, variable_input, any_byte_features, feature_maps)
"""QUANTIZE."""
LOOKUP: tuple[Rule, ...] = (*COMMON, equal_shapes)
"""Functions of bytes."""
LOGISTIC: tuple[Rule, ...] = (*LOOKUP, whole_range)
"""LOGISTIC."""
LEAKY: tuple[Rule, ...] = (*LOOKUP, in_reference_range)
"""LEAKY_RELU."""
LOOKUP_SIGNED: tuple[Rule, ...] = (*LOOKUP, signed_features)
"""ELU, EXP and LOG."""
MULTIPLIED: tuple[Rule, ...] = (*LOOKUP_SIGNED, in_reference_range)
"""ABS and RSQRT."""
PADDED: tuple[Rule, ...] = (*COMMON, same_scale, constant_paddings)
"""PAD and PADV2."""
JOINED: tuple[Rule, ...] = (joined_maps, joins_a_map, one_scale_if_signed, in_reference_range)
"""CONCATENATION."""
SLICED: tuple[Rule, ...] = (*COMMON, same_scale, known_slices)
"""SPLIT, SPLIT_V, SLICE and STRIDED_SLICE."""
VIEW: tuple[Rule, ...] = (static_tensors, variable_input, byte_features, feature_maps, known_shape)
"""RESHAPE and SQUEEZE."""
EXPANDED: tuple[Rule, ...] = (*VIEW, equal_scales)
"""EXPAND_DIMS: LiteRT refuses other scales."""
