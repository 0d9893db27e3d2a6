"""Rules of convolutions and fully connected layers."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D
from rocketnpu.partition.rules.tensors import clamping_activation, in_reference_range, input_tensor
from rocketnpu.partition.rules.weights import constant_bias, constant_weights, plain_weights, scales_by_output
from rocketnpu.rockchip.rules.common import COMMON, Rule
from rocketnpu.rockchip.soc import Soc


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
