"""Sixteen neighbouring channels whose scales spread too far for one factor: several layers, whose results are added."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.lowering.blocks import dense_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.identity import FINE, kernel_of_value
from rocketnpu.rockchip.lowering.scales.channel_scales import Chosen
from rocketnpu.rockchip.lowering.scales.operands import operand
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import Scale, encode_scale, is_fine
from rocketnpu.rockchip.tasks.task import Combine, Conversion


@dataclass(frozen=True, eq=False)
class Class:
    """Some channels of a layer."""

    chosen: Chosen
    """Which are computed."""
    before: FeatureMap | None
    """What earlier layers have made of the others, of the layer's size; None for nothing."""
    zero: int
    """The output's stored zero point, which channels have until they are computed."""
    last: bool
    """Whether the output is complete then."""


def class_layers(context: Context, layer: ConvolutionLayer, part: Class) -> list[ConvolutionLayer]:
    """Let a layer compute some of its channels, and add what was made before of others.

    Kernels of the other channels are zero, so they give the zero point. The EW stage brings in what stands there
    already: in units of an accumulator that are far finer than a step it comes through unchanged. Where a unit is too
    coarse for that, a 1x1 convolution whose unit is fine adds the two maps.

    Args:
        context: the compilation.
        layer: with the scales of the chosen channels; the others' biases are 0.
        part: which channels, and what there is before.

    Returns:
        Layers, the last of which writes the output, or a temporary map of its size.

    Raises:
        UnsupportedError: the layer adds something already.
    """
    if layer.addend is not None:
        raise UnsupportedError("per-channel scales of 16 neighbours spread too far, and something is added already")
    chosen = part.chosen if layer.depthwise else part.chosen[:, None, None, None]
    layer = replace(layer, weights=np.where(chosen, layer.weights, np.int8(0)))
    target = layer.target
    size = (target.height, target.width, target.channels)
    if part.before is None:
        return [layer if part.last else replace(layer, target=context.fresh(*size))]
    result = target if part.last else context.fresh(*size)
    common = Scale(layer.requantise.conversion.multiplier, layer.requantise.conversion.shift)
    if is_fine(common):
        stage = operand(part.before, -part.zero, 1 / common.value, Combine.ADD, context.soc)
        adding = replace(layer, target=result, addend=stage)
        return dense_blocks(adding) if adding.depthwise else [adding]
    alone = replace(layer, target=context.fresh(*size))
    return [alone, *_sum(context, alone, part, result)]


def _sum(context: Context, layer: ConvolutionLayer, part: Class, result: FeatureMap) -> list[ConvolutionLayer]:
    """Add two maps, exactly: each channel is the zero point in one of them."""
    assert part.before is not None
    stored, kernel_zero = kernel_of_value(FINE)
    channels, unit = result.channels, encode_scale(1 / FINE, context.soc)
    copy = replace(
        layer,
        label=f"{layer.label} joined",
        source=layer.target,
        target=result,
        weights=np.full((1, 1, channels), stored, np.int8),
        weight_zero_point=kernel_zero,
        biases=np.full(channels, -part.zero * FINE, np.int64),
        stride=(1, 1),
        dilation=(1, 1),
        padding=(0, 0),
        pad_value=part.zero,
        requantise=Requantise(Conversion(unit.multiplier, unit.shift, part.zero)),
        addend=operand(part.before, -part.zero, FINE, Combine.ADD, context.soc),
        rules=(),
    )
    return dense_blocks(copy)
