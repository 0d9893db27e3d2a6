"""Rules of element-wise operators, means, and operators that only change a shape or a scale."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Pool2D
from rocketnpu.partition.rules.moves import known_shape, over_the_map
from rocketnpu.partition.rules.tensors import (
    any_byte_features,
    byte_features,
    byte_operands,
    clamping_activation,
    equal_scales,
    features,
    in_reference_range,
    static_tensors,
    variable_input,
)
from rocketnpu.rockchip.rules.common import COMMON, Rule, feature_maps, held_maps, is_cut
from rocketnpu.rockchip.soc import Soc


def matching_operands(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Operands that are computed are as high and wide as the output, or one of them is a single pixel; they have its
    channels or a single one. One may be a constant of any shape.
    """
    output = graph.tensors[operator.outputs[0]]
    operands = [graph.tensors[number] for number in operator.inputs if number is not None]
    variable = [tensor for tensor in operands if not tensor.is_constant]
    height, width, channels = map_shape(output) or (0, 0, 0)
    sizes = []
    for tensor in variable:
        shape = map_shape(tensor)
        if shape is None or shape[:2] not in ((height, width), (1, 1)) or shape[2] not in (channels, 1):
            return f"an operand of shape {tensor.shape} for an output of {output.shape}"
        sizes.append(shape[:2])
    if not variable:
        return "both are constant"
    return None if (height, width) in sizes else f"{variable[0].shape} alone for an output of {output.shape}"


def operand_map(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The output is a map of batch 1, of at most 2047 columns, 2047x2047 pixels and 8192 channels."""
    if not is_cut(map_shape(graph.tensors[operator.outputs[0]]), soc):
        return f"shape {graph.tensors[operator.outputs[0]].shape}"
    return None


def small_window(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The window has at most 31 rows and columns, or is the whole map, of at most 217 rows and columns and 704 squares
    of 7x7; strides are 1 to 7 along axes with more than one output.
    """
    source, target = (map_shape(tensor) for tensor in features(graph, operator))
    assert source is not None
    assert target is not None
    kernel, stride = source[:2], (1, 1)
    if isinstance(operator.attributes, Pool2D):
        kernel, steps = operator.attributes.kernel, operator.attributes.stride
        stride = (steps[0] if target[0] > 1 else 1, steps[1] if target[1] > 1 else 1)
    largest = soc.max_kernel * (soc.max_stride if kernel == source[:2] else 1)
    if not 1 <= min(kernel) <= max(kernel) <= largest:
        return f"window {kernel[0]}x{kernel[1]}"
    return f"stride {stride[0]}x{stride[1]}" if not 1 <= min(stride) <= max(stride) <= soc.max_stride else None


def same_pixels(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output have the same number of channels: then their memory is the same. A map may also become a row
    that only fully connected layers read.
    """
    source, target = (map_shape(tensor) for tensor in features(graph, operator))
    assert source is not None
    assert target is not None
    same = source[2] == target[2] and source[0] * source[1] == target[0] * target[1]
    return None if same else f"{source[2]} and {target[2]} channels"


_PAIR: tuple[Rule, ...] = (static_tensors, byte_operands, operand_map, matching_operands)
ARITHMETIC: tuple[Rule, ...] = (*_PAIR, clamping_activation, in_reference_range)
"""ADD, SUB and MUL."""
EXTREMES: tuple[Rule, ...] = (*_PAIR, equal_scales)
"""MAXIMUM and MINIMUM."""
AVERAGE: tuple[Rule, ...] = (*COMMON, equal_scales, small_window, clamping_activation, in_reference_range)
"""AVERAGE_POOL_2D: LiteRT's kernels average bytes, whatever scale the output has."""
MEAN: tuple[Rule, ...] = (*COMMON, over_the_map, small_window, in_reference_range)
"""MEAN."""
CLAMP: tuple[Rule, ...] = (*COMMON, in_reference_range)
"""RELU and RELU6."""
REQUANTISE: tuple[Rule, ...] = (static_tensors, variable_input, any_byte_features, feature_maps)
"""QUANTIZE."""
VIEW: tuple[Rule, ...] = (static_tensors, variable_input, byte_features, held_maps, known_shape, same_pixels)
"""RESHAPE and SQUEEZE: LiteRT's kernels copy bytes, whatever scale the output has."""
EXPANDED: tuple[Rule, ...] = (*VIEW, equal_scales)
"""EXPAND_DIMS: LiteRT refuses other scales."""
