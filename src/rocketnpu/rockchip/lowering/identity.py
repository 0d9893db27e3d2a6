"""The 1x1 convolution that does nothing but bring a value in, multiplied by a constant; other stages work behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph import Activation, Operator, Tensor
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import encode_scale
from rocketnpu.rockchip.tasks.task import Conversion

FINE = 255
"""Kernel value that gives the accumulator eight fraction bits: stored 127 with zero point -128 (spec 5.2)."""


def kernel_of_value(value: int) -> tuple[int, int]:
    """Return the stored kernel and its zero point for 1, 255 or -255."""
    return {1: (1, 0), FINE: (127, -128), -FINE: (-128, 127)}[value]


def identity_layer(
    context: Context, operator: Operator, source: FeatureMap, target: FeatureMap, value: int, zero: int
) -> ConvolutionLayer:
    """Describe a depthwise 1x1 convolution that multiplies every channel by ``value``.

    Args:
        context: the compilation.
        operator: whom it works for.
        source: what is read.
        target: what is written, of the same size.
        value: 1, 255 or -255.
        zero: stored zero point of the source, subtracted.

    The output factor is 1 until the caller sets it.
    """
    stored, kernel_zero = kernel_of_value(value)
    unit = encode_scale(1.0, context.soc)
    output = context.output(operator)
    return ConvolutionLayer(
        operator.index,
        operator.kind,
        source,
        target,
        np.full((1, 1, source.channels), stored, np.int8),
        kernel_zero,
        np.full(source.channels, -zero * value, np.int64),
        (1, 1),
        (1, 1),
        (0, 0),
        zero,
        clamped(unit, output, Activation.NONE),
    )


def clamp_layer(
    context: Context, operator: Operator, source: FeatureMap, target: FeatureMap, bounds: tuple[int, int]
) -> ConvolutionLayer:
    """Describe a clamp of stored values, exact: both maps have the same scale and zero point."""
    low, high = bounds
    unit = encode_scale(1.0, context.soc)
    layer = identity_layer(context, operator, source, target, 1, low)
    ceiling = high - low if high < quantised.INT8_MAX else None
    return replace(
        layer,
        requantise=Requantise(
            Conversion(unit.multiplier, unit.shift, low), relu=low > quantised.INT8_MIN, ceiling=ceiling
        ),
    )


def spread_layer(context: Context, operator: Operator, source: FeatureMap, target: FeatureMap) -> ConvolutionLayer:
    """Describe a copy of a map of one channel into every channel of another, exact."""
    unit = encode_scale(1.0, context.soc)
    return replace(
        identity_layer(context, operator, source, target, 1, 0),
        weights=np.ones((target.channels, 1, 1, 1), np.int8),
        biases=np.zeros(target.channels, np.int64),
        requantise=Requantise(Conversion(unit.multiplier, unit.shift, 0)),
    )


def separate_clamp(activation: Activation, output: Tensor) -> tuple[int, int] | None:
    """Return an activation's bounds where a ReLU at the output's zero point does not do, so that a clamp must follow.

    It is exact behind the operator, for LiteRT clamps the rounded value too; before the output converter it would
    depend on how fine an accumulator's unit is.
    """
    low, high = quantised.activation_range(activation, output)
    plain = low in (quantised.INT8_MIN, quantised.zero_point(output)) and high == quantised.INT8_MAX
    return None if plain else (low, high)
