"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as convolution layers in stored values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Padding, Tensor
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, FullyConnected
from rocketnpu.soc import Soc
from rocketnpu.tasks import quantised
from rocketnpu.tasks.context import Context
from rocketnpu.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.tasks.requantise import ceiling_for, encode_channels, encode_scale
from rocketnpu.tasks.task import Conversion


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights and bias of an operator, as stored."""

    weights: npt.NDArray[np.int8]
    zero_point: int
    scales: npt.NDArray[np.float64]
    """One, or one for each output channel."""
    bias: npt.NDArray[np.int64]


def kernel_of(context: Context, operator: Operator, outputs: int) -> Kernel:
    """Read the constant weights and bias of an operator."""
    weights = context.tensor(operator, 1)
    assert weights.quantisation is not None
    number = operator.input(2)
    bias = np.zeros(outputs, np.int64)
    if number is not None:
        data = context.graph.tensors[number].data
        assert data is not None
        bias = data.astype(np.int64).reshape(-1)
    return Kernel(
        quantised.stored(weights),
        quantised.zero_point(weights) if not weights.quantisation.is_per_channel else 0,
        weights.quantisation.scales.astype(np.float64),
        bias,
    )


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return outputs and padding in front along one axis under TFLite's SAME rule."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return outputs, total // 2


def window_padding(
    attributes: Conv2D | DepthwiseConv2D, size: tuple[int, int], kernel: tuple[int, int]
) -> tuple[int, int]:
    """Return padding above and to the left."""
    if attributes.padding is Padding.VALID:
        return 0, 0
    above = same_padding(size[0], kernel[0], attributes.stride[0], attributes.dilation[0])[1]
    left = same_padding(size[1], kernel[1], attributes.stride[1], attributes.dilation[1])[1]
    return above, left


def requantise_for(source: Tensor, kernel: Kernel, target: Tensor, activation: Activation, soc: Soc) -> Requantise:
    """Turn the scales of input, weights and output, and a fused activation, into the output stage's numbers.

    Raises:
        UnsupportedError: a factor or a clamp cannot be expressed.
    """
    # TFLite multiplies input and weight scale as doubles and divides by the output scale.
    factors = quantised.scale(source) * kernel.scales / quantised.scale(target)
    multipliers = None
    if len(factors) > 1:
        channels = encode_channels(factors, soc)
        common, multipliers = channels.common, channels.multipliers
    else:
        common = encode_scale(float(factors[0]), soc)
    zero = quantised.zero_point(target)
    low, high = quantised.activation_range(activation, target)
    relu, ceiling = False, None
    if low > quantised.INT8_MIN:
        if low != zero:
            raise UnsupportedError(f"{activation.value} clamps at {low}, the ReLU only at the zero point {zero}")
        relu = True
    if high < quantised.INT8_MAX:
        ceiling = ceiling_for(high - zero, common)
        if ceiling is None:
            raise UnsupportedError(f"no accumulator value converts to the upper clamp {high} of {activation.value}")
        relu = True
        if low == quantised.INT8_MIN != zero:
            raise UnsupportedError(f"{activation.value} clamps only above, at {high}")
    return Requantise(Conversion(common.multiplier, common.shift, zero), multipliers, relu, ceiling)


def corrected_bias(kernel: Kernel, source_zero: int) -> npt.NDArray[np.int64]:
    """Fold the input's zero point into the bias: ``bias - zero * sum(w - w_zero)`` (spec 5.2).

    Raises:
        UnsupportedError: a bias leaves 32 bits.
    """
    weights = kernel.weights
    depthwise = weights.ndim == 3
    axes = (0, 1) if depthwise else (1, 2, 3)
    taps = weights[..., 0].size if depthwise else weights[0].size
    sums = weights.sum(axes, dtype=np.int64) - taps * kernel.zero_point
    biases: npt.NDArray[np.int64] = kernel.bias - source_zero * sums
    if np.any(np.abs(biases) >= 1 << 31):
        raise UnsupportedError(f"a bias of {int(np.abs(biases).max())} does not fit 32 bits")
    return biases


def conv_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe CONV_2D as layers."""
    attributes = operator.attributes
    assert isinstance(attributes, Conv2D)
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    return [_window_layer(context, operator, kernel, attributes)]


def depthwise_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe DEPTHWISE_CONV_2D of depth multiplier 1 as layers."""
    attributes = operator.attributes
    assert isinstance(attributes, DepthwiseConv2D)
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    return [_window_layer(context, operator, replace(kernel, weights=kernel.weights[0]), attributes)]


def _window_layer(
    context: Context, operator: Operator, kernel: Kernel, attributes: Conv2D | DepthwiseConv2D
) -> ConvolutionLayer:
    source, target = context.tensor(operator, 0), context.output(operator)
    feature = context.feature(source)
    height, width = kernel.weights.shape[-3:-1]
    return ConvolutionLayer(
        operator.index,
        f"{operator.kind} {height}x{width}",
        feature,
        context.feature(target),
        kernel.weights,
        kernel.zero_point,
        corrected_bias(kernel, quantised.zero_point(source)),
        attributes.stride,
        attributes.dilation,
        window_padding(attributes, (feature.height, feature.width), (height, width)),
        quantised.zero_point(source),
        requantise_for(source, kernel, target, attributes.activation, context.soc),
    )


def fully_connected_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe FULLY_CONNECTED of one row: a 1x1 convolution of a 1x1 map (spec 6.2, exact on silicon)."""
    attributes = operator.attributes
    assert isinstance(attributes, FullyConnected)
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    kernel = replace(kernel, weights=kernel.weights[:, None, None, :])
    return [_window_layer(context, operator, kernel, Conv2D((1, 1), Padding.VALID, activation=attributes.activation))]
