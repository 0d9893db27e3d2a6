"""CONV_2D+ADD: a convolution with the EW stage behind it, as Mesa programs it (spec 5.6), and a clamp between.

LiteRT gives the convolution's output a tensor of its own, with a scale and a range. The scale is left out here; the
range counts where the convolution can leave it, so BS clamps the accumulator to it before the addition.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Tensor
from rocketnpu.graph.operators import ConvAdd
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.blocks import Groups, grouped_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.convolution import (
    Kernel,
    Outcome,
    kernel_of,
    output_factors,
    scaled_layers,
    window_layer,
)
from rocketnpu.rockchip.lowering.scales.channel_scales import accumulator_range
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.lowering.scales.operands import operand
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.requantise import CHANNEL_ONE, Scale, check_unit
from rocketnpu.rockchip.tasks.task import Combine, Elementwise, Rows

ADDEND, BIAS = 2, 3
"""Positions of the operator's inputs."""


def conv_add_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe a convolution with an addition behind it.

    Raises:
        UnsupportedError: the addend's scale cannot be expressed in units of the accumulator, or as for CONV_2D.
    """
    attributes = operator.attributes
    assert isinstance(attributes, ConvAdd)
    source, addend, target = context.tensor(operator, 0), context.tensor(operator, ADDEND), context.output(operator)
    kernel = kernel_of(context, operator, context.feature(target).channels, BIAS)
    layer, kernel = window_layer(context, operator, kernel, attributes.convolution)
    feature = context.feature(addend)
    layer = replace(layer, addend=Elementwise(Combine.ADD, Rows(feature, 0, feature.height), 0, 1, 0))
    factors = output_factors(source, kernel, target)
    limits = middle_limits(attributes, target)
    # A range that the accumulator cannot leave needs no clamp: then the task is Mesa's.
    clamps = leaves(kernel, layer.pad_value, factors, limits)

    def finish(part: ConvolutionLayer, common: Scale, multipliers: npt.NDArray[np.int64] | None) -> ConvolutionLayer:
        check_unit(common)
        requantise = clamped(common, target, attributes.activation, multipliers)
        assert part.addend is not None
        ratio = quantised.scale(addend) / quantised.scale(target) / common.value
        stage = operand(part.addend.operand.feature, -quantised.zero_point(addend), ratio, Combine.ADD, context.soc)
        part = replace(part, requantise=requantise, addend=stage)
        return limited(part, (limits[0] / common.value, limits[1] / common.value)) if clamps else part

    layers = scaled_layers(context, layer, kernel, factors, Outcome(limits, finish, quantised.zero_point(target)))
    channels, whole = context.feature(source).channels, context.feature(target)
    if kernel.weights.shape[-1] == channels:
        return layers
    return [block for part in layers for block in grouped_blocks(part, Groups.of(part, whole, channels))]


def middle_limits(attributes: ConvAdd, target: Tensor) -> tuple[float, float]:
    """Return the range of the tensor between convolution and addition, in steps of the sum."""
    zero = attributes.middle_zero_point - quantised.SHIFT[target.dtype]
    step = attributes.middle_scale / quantised.scale(target)
    return (quantised.INT8_MIN - zero) * step, (quantised.INT8_MAX - zero) * step


def leaves(kernel: Kernel, source_zero: int, factors: npt.NDArray[np.float64], limits: tuple[float, float]) -> bool:
    """Say whether some input makes the convolution leave the range of its tensor."""
    net = kernel.weights.astype(np.int64) - kernel.zero_point
    reach = accumulator_range(net, source_zero, kernel.bias)
    return bool((reach.low * factors).min() < limits[0] or (reach.high * factors).max() > limits[1])


def limited(layer: ConvolutionLayer, limits: tuple[float, float]) -> ConvolutionLayer:
    """Clamp the accumulator before the addition: BS lifts it so that its ReLU cuts at the lower limit, BN lowers it.

    Args:
        layer: with multipliers and a later lift, if any.
        limits: smallest and largest accumulator, behind its channel's multiplier.

    Raises:
        UnsupportedError: a lifted bias does not fit 32 bits.
    """
    lift, requantise = round(-limits[0]), layer.requantise
    raised = np.full(len(layer.biases), lift, np.int64)
    if requantise.channel_multipliers is not None:
        raised = np.rint(lift * CHANNEL_ONE / requantise.channel_multipliers).astype(np.int64)
    biases = layer.biases + raised
    if np.abs(biases).max() >= 1 << 31:
        raise UnsupportedError(f"a lifted bias of {int(np.abs(biases).max())} does not fit 32 bits")
    room = max(round(limits[1]) + lift, 0)
    return replace(layer, biases=biases, requantise=replace(requantise, room=room, lift=requantise.lift - lift))
