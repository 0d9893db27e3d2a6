"""Requantisation and rectifiers: a 1x1 depthwise convolution that does nothing else."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph import Activation, Operator
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.identity import clamp_layer, identity_layer, separate_clamp
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.requantise import encode_scale

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
