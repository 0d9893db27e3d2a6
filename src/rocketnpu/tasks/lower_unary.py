"""Operators of one feature map that are a depthwise convolution in disguise: means, requantisation, rectifiers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph import Activation, Operator, Padding
from rocketnpu.graph.operators import Pool2D
from rocketnpu.tasks import quantised
from rocketnpu.tasks.context import Context
from rocketnpu.tasks.convolution import ConvolutionLayer
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.identity import FINE, clamp_layer, identity_layer, separate_clamp
from rocketnpu.tasks.lower_convolution import clamped, same_padding
from rocketnpu.tasks.requantise import encode_scale

ACTIVATIONS = {name: Activation(name) for name in ("RELU", "RELU6", "RELU_N1_TO_1")}
"""Operators that are nothing but a clamp."""


def requantise_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe QUANTIZE between bytes, RELU and its relatives: a 1x1 convolution with kernels of 1."""
    source, target = context.tensor(operator, 0), context.output(operator)
    feature, result = context.feature(source), context.feature(target)
    activation = ACTIVATIONS.get(operator.kind, Activation.NONE)
    bounds = separate_clamp(activation, target)
    factor = encode_scale(quantised.scale(source) / quantised.scale(target), context.soc)
    middle = result if bounds is None else context.fresh(result.height, result.width, result.channels)
    layer = identity_layer(context, operator, feature, middle, 1, quantised.zero_point(source))
    if bounds is None:
        return [replace(layer, requantise=clamped(factor, target, activation))]
    plain = replace(layer, requantise=clamped(factor, target, Activation.NONE))
    return [plain, clamp_layer(context, operator, middle, result, bounds)]


def average_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe AVERAGE_POOL_2D without padding, and MEAN over the map.

    A depthwise convolution with kernels of 255 whose output converter divides (addendum 4.5): unlike the pooling unit
    it is proven on the chip, ends under every kernel driver, and rounds once.
    """
    source, target = context.tensor(operator, 0), context.output(operator)
    feature = context.feature(source)
    attributes = operator.attributes
    if isinstance(attributes, Pool2D):
        kernel, activation = attributes.kernel, attributes.activation
        stride = used_stride(attributes, context.feature(target))
    else:
        kernel, stride, activation = (feature.height, feature.width), (1, 1), Activation.NONE
    zero = quantised.zero_point(source)
    layer = identity_layer(context, operator, feature, context.feature(target), FINE, zero)
    factor = quantised.scale(source) / (FINE * kernel[0] * kernel[1] * quantised.scale(target))
    return [
        replace(
            layer,
            label=f"{operator.kind} {kernel[0]}x{kernel[1]}",
            weights=np.broadcast_to(layer.weights, (*kernel, feature.channels)).copy(),
            biases=layer.biases * (kernel[0] * kernel[1]),
            stride=stride,
            requantise=clamped(encode_scale(factor, context.soc), target, activation),
        )
    ]


def used_stride(attributes: Pool2D, target: FeatureMap) -> tuple[int, int]:
    """Return the strides that matter: along an axis with a single output none does."""
    rows, columns = attributes.stride
    return (rows if target.height > 1 else 1, columns if target.width > 1 else 1)


def pads_nothing(attributes: Pool2D, size: tuple[int, int]) -> bool:
    """Say whether a pool over a map of this size needs no padding."""
    if attributes.padding is Padding.VALID:
        return True
    for axis in range(2):
        outputs, _ = same_padding(size[axis], attributes.kernel[axis], attributes.stride[axis], 1)
        if (outputs - 1) * attributes.stride[axis] + attributes.kernel[axis] > size[axis]:
            return False
    return True
