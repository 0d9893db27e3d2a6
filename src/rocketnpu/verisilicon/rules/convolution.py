"""Rules of convolutions and fully connected layers."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D
from rocketnpu.partition.rules.tensors import clamping_activation, features, in_reference_range, input_tensor
from rocketnpu.partition.rules.weights import constant_bias, constant_weights, plain_weights, scales_by_output
from rocketnpu.verisilicon.rules.common import COMMON, Rule
from rocketnpu.verisilicon.soc import Soc


def kernel_size(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The kernel, with its dilation, has at most 11 rows and columns on generation 7, 15 on generation 8."""
    weights, attributes = input_tensor(graph, operator, 1), operator.attributes
    assert weights is not None
    assert isinstance(attributes, Conv2D | DepthwiseConv2D)
    if len(weights.shape) != 4:
        return f"weights have shape {weights.shape}"
    sizes = [(size - 1) * step + 1 for size, step in zip(weights.shape[1:3], attributes.dilation, strict=True)]
    return f"{sizes[0]}x{sizes[1]}" if not 1 <= min(sizes) <= max(sizes) <= soc.max_kernel else None


def strides(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Strides are 1, or 2 in both directions; one along which there is a single output does not count."""
    stride = getattr(operator.attributes, "stride", (1, 1))
    size = map_shape(graph.tensors[operator.outputs[0]]) or (1, 1, 1)
    counted = {step for step, outputs in zip(stride, size[:2], strict=True) if outputs > 1}
    return f"{stride[0]}x{stride[1]}" if counted - {1, 2} or len(counted) > 1 else None


def channels_match(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Weights fit the channels: dense or evenly grouped convolutions, any depth multiplier."""
    weights = input_tensor(graph, operator, 1)
    assert weights is not None
    given, outputs = features(graph, operator)[0].shape[-1], graph.tensors[operator.outputs[0]].shape[-1]
    if operator.kind == "DEPTHWISE_CONV_2D":
        read, kernels, fits = 1, weights.shape[3], weights.shape[3] % given == 0 and weights.shape[0] == 1
    else:
        read, kernels = weights.shape[-1], weights.shape[0]
        fits = given % read == 0 and kernels % (given // read) == 0
    if fits and kernels == outputs:
        return None
    return f"{given} to {outputs} channels, {kernels} kernels that read {read}"


_WEIGHTED: tuple[Rule, ...] = (*COMMON, constant_weights, scales_by_output, constant_bias)
_LAST: tuple[Rule, ...] = (channels_match, clamping_activation, in_reference_range)
WINDOWED: tuple[Rule, ...] = (*_WEIGHTED, kernel_size, strides, *_LAST)
"""CONV_2D and DEPTHWISE_CONV_2D."""
CONNECTED: tuple[Rule, ...] = (*_WEIGHTED, plain_weights, *_LAST)
"""FULLY_CONNECTED."""
