"""Rules of convolutions and fully connected layers."""

from __future__ import annotations

from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, FullyConnected
from rocketnpu.rockchip.rules.common import (
    COMMON,
    Rule,
    clamping_activation,
    features,
    in_reference_range,
    input_tensor,
)
from rocketnpu.rockchip.soc import Soc


def constant_weights(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Weights are constant and of the input's type, or INT8; INT8 weights have zero point 0, but for those of
    FULLY_CONNECTED that have one scale.
    """
    weights, source = input_tensor(graph, operator, 1), features(graph, operator)[0]
    if weights is None or not weights.is_constant:
        return "they are computed at run time"
    if weights.dtype not in (source.dtype, DType.INT8):
        return f"weights are {weights.dtype.value}"
    quantisation = weights.quantisation
    if quantisation is None or not (quantisation.scales > 0).all():
        return "they have no scale"
    # LiteRT's CONV_2D refuses them, DEPTHWISE_CONV_2D and TRANSPOSE_CONV ignore them, FULLY_CONNECTED counts them.
    shifted = weights.dtype is DType.INT8 and quantisation.zero_points.any() and operator.kind != "FULLY_CONNECTED"
    if shifted or (quantisation.is_per_channel and (weights.dtype is not DType.INT8 or quantisation.zero_points.any())):
        return f"{weights.dtype.value} weights with {quantisation} and zero points {quantisation.zero_points}"
    return None


def scales_by_output(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Several weight scales are one for each output channel."""
    weights = input_tensor(graph, operator, 1)
    assert weights is not None
    assert weights.quantisation is not None
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    if weights.quantisation.is_per_channel and weights.quantisation.axis != axis:
        return f"scales are along axis {weights.quantisation.axis}"
    return None


def constant_bias(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """A bias is constant, INT32, and one for each output channel."""
    bias = input_tensor(graph, operator, 3 if operator.kind == "TRANSPOSE_CONV" else 2)
    if bias is None:
        return None
    if not bias.is_constant or bias.dtype is not DType.INT32:
        return f"it is {'constant' if bias.is_constant else 'computed'} {bias.dtype.value}"
    outputs = graph.tensors[operator.outputs[0]].shape[-1]
    return f"it has {bias.elements} values for {outputs} channels" if bias.elements != outputs else None


def _window(operator: Operator) -> Conv2D | DepthwiseConv2D:
    attributes = operator.attributes
    assert isinstance(attributes, Conv2D | DepthwiseConv2D)
    return attributes


def kernel_size(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The kernel has at most 31 rows and columns."""
    weights = input_tensor(graph, operator, 1)
    assert weights is not None
    if len(weights.shape) != 4:
        return f"weights have shape {weights.shape}"
    height, width = weights.shape[1:3]
    return f"{height}x{width}" if not 1 <= min(height, width) <= max(height, width) <= soc.max_kernel else None


def strides(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Strides are 1 to 7."""
    stride = _window(operator).stride
    return f"{stride[0]}x{stride[1]}" if not 1 <= min(stride) <= max(stride) <= soc.max_stride else None


def dilations(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Dilations are 1 to 32, and padding is at most 15."""
    dilation = _window(operator).dilation
    if not 1 <= min(dilation) <= max(dilation) <= soc.max_dilation:
        return f"dilation {dilation[0]}x{dilation[1]}"
    weights = input_tensor(graph, operator, 1)
    assert weights is not None
    if _window(operator).padding.value == "SAME":
        for kernel, step in zip(weights.shape[1:3], dilation, strict=True):
            if (kernel - 1) * step // 2 > soc.max_padding:
                return f"kernel {kernel} with dilation {step} needs padding {(kernel - 1) * step // 2}"
    return None


def channels_match(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Weights fit the channels: dense or evenly grouped convolutions, any depth multiplier."""
    weights, source = input_tensor(graph, operator, 1), input_tensor(graph, operator, 0)
    assert weights is not None
    assert source is not None
    given, outputs = source.shape[-1], graph.tensors[operator.outputs[0]].shape[-1]
    if operator.kind == "FULLY_CONNECTED":
        given, read, kernels = source.shape[-1], weights.shape[1], weights.shape[0]
        fits = given == read
    elif operator.kind == "CONV_2D":
        read, kernels = weights.shape[3], weights.shape[0]
        fits = given % read == 0 and kernels % (given // read) == 0
    else:
        read, kernels = 1, weights.shape[3]
        fits = kernels % given == 0 and weights.shape[0] == 1
    if fits and kernels == outputs:
        return None
    return f"{given} to {outputs} channels, {kernels} kernels that read {read}"


def plain_weights(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Weights are a plain matrix, and the input is rows as long as its second dimension, or a map of so many values."""
    attributes = operator.attributes
    assert isinstance(attributes, FullyConnected)
    weights, source = input_tensor(graph, operator, 1), input_tensor(graph, operator, 0)
    assert source is not None
    assert weights is not None
    if attributes.shuffled_weights or len(weights.shape) != 2:
        return f"weights have shape {weights.shape}{' and are shuffled' if attributes.shuffled_weights else ''}"
    return f"input has shape {source.shape}" if source.shape[-1:] != weights.shape[1:] else None


_WEIGHTED: tuple[Rule, ...] = (*COMMON, constant_weights, scales_by_output, constant_bias)
WINDOWED: tuple[Rule, ...] = (
    *(*_WEIGHTED, kernel_size, strides, dilations, channels_match, clamping_activation),
    in_reference_range,
)
"""CONV_2D and DEPTHWISE_CONV_2D."""
CONNECTED: tuple[Rule, ...] = (
    *(*_WEIGHTED, plain_weights, channels_match, clamping_activation),
    in_reference_range,
)
"""FULLY_CONNECTED."""
