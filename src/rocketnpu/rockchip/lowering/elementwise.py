"""ADD, SUB, MUL, MAXIMUM and MINIMUM: the EW stage behind a convolution that does nothing but bring in one operand.

The convolution is 1x1 with one kernel a channel, cut into dense blocks. Its kernels are 255 (stored 127, feature offset
128) where two scales meet, so that the accumulator has eight fraction bits and the other operand is rounded finely
enough. This is the fused addition of the open driver (spec 5.6), with a convolution of our own before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Tensor
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Activation, Arithmetic
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.blocks import dense_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.identity import FINE, clamp_layer, identity_layer, separate_clamp, spread_layer
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.lowering.scales.operands import operand
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import check_unit, encode_scale
from rocketnpu.rockchip.tasks.task import Combine, Conversion
from rocketnpu.rockchip.tasks.weights import aligned

BLOCK = 128
"""Channels of a block: 16 KiB of weights, so that they stay in the buffer."""
COMBINE: Mapping[str, Combine] = {
    "ADD": Combine.ADD,
    "SUB": Combine.ADD,
    "MUL": Combine.MULTIPLY,
    "MAXIMUM": Combine.MAXIMUM,
    "MINIMUM": Combine.MINIMUM,
}
"""SUB adds an operand whose converter has a negative factor (recorded on a relative, addendum 3.5)."""
RULES: Mapping[Combine, tuple[str, ...]] = {
    Combine.ADD: (),
    Combine.MULTIPLY: (Unproven.ELEMENTWISE_MULTIPLY,),
    Combine.MAXIMUM: (Unproven.ELEMENTWISE_MAXIMUM,),
    Combine.MINIMUM: (Unproven.ELEMENTWISE_MAXIMUM,),
}


@dataclass(frozen=True)
class Pair:
    """The two operands: ``host`` goes through the convolution, ``guest`` is read by the EW stage."""

    host: Tensor
    guest: Tensor
    host_sign: int
    guest_sign: int


def elementwise_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an element-wise operator as convolutions; smaller operands are spread over the whole map first.

    Those of one channel always, those of one pixel unless they are factors: only a multiplication takes an operand for
    each channel (outside 2.4).
    """
    output = context.feature(context.output(operator))
    spread: dict[int, FeatureMap] = {}
    layers: list[ConvolutionLayer] = []
    variable = {t.index: t for position in (0, 1) if not (t := context.tensor(operator, position)).is_constant}
    for index, tensor in variable.items():
        source = context.feature(tensor)
        if source.channels != output.channels:
            spread[index] = context.fresh(source.height, source.width, output.channels)
            layers.append(spread_layer(context, operator, source, spread[index]))
    inner = replace(context, features={**context.features, **spread})
    for index, tensor in variable.items():
        if COMBINE[operator.kind] is not Combine.MULTIPLY and is_vector(inner.feature(tensor), output):
            whole = next(inner.feature(other) for other in variable.values() if not _is_pixel(inner.feature(other)))
            spread[index] = context.fresh(output.height, output.width, output.channels)
            layers += dense_blocks(
                _stretching_layer(inner, operator, whole, inner.feature(tensor), spread[index]), BLOCK
            )
    inner = replace(context, features={**context.features, **spread})
    layers += _whole_layers(inner, operator)
    context.temporaries = inner.temporaries
    return layers


def _stretching_layer(
    context: Context, operator: Operator, whole: FeatureMap, pixel: FeatureMap, target: FeatureMap
) -> ConvolutionLayer:
    """Describe a copy of one pixel to every place of a map, exact: 1 at every place, times the pixel's values.

    The convolution in front reads ``whole``, of the target's size, with kernels of zero and a bias of one.
    """
    layer = identity_layer(context, operator, whole, target, 1, 0)
    unit = encode_scale(1.0, context.soc)
    return replace(
        layer,
        weights=np.zeros_like(layer.weights),
        biases=np.ones(target.channels, np.int64),
        requantise=Requantise(Conversion(unit.multiplier, unit.shift, 0)),
        addend=replace(operand(pixel, 0, 1.0, Combine.MULTIPLY, context.soc), per_channel=True),
        rules=(*RULES[Combine.MULTIPLY], Unproven.OPERAND_PER_CHANNEL),
    )


def _whole_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an operator whose operands have all channels."""
    output = context.output(operator)
    channels = context.feature(output).channels
    constants = [t for position in (0, 1) if (t := context.tensor(operator, position)).is_constant]
    if any(by_channel(constant, channels) for constant in constants):
        return constant_layers(context, operator)
    activation = operator.attributes.activation if isinstance(operator.attributes, Arithmetic) else Activation.NONE
    target = context.feature(output)
    bounds = separate_clamp(activation, output) if operator.kind == "MUL" else None
    if bounds is None:
        return dense_blocks(_hosting_layer(context, operator, target, activation), BLOCK)
    middle = context.fresh(target.height, target.width, target.channels)
    layer = _hosting_layer(context, operator, middle, Activation.NONE)
    return [*dense_blocks(layer, BLOCK), clamp_layer(context, operator, middle, target, bounds)]


def _hosting_layer(
    context: Context, operator: Operator, target: FeatureMap, activation: Activation
) -> ConvolutionLayer:
    """Describe the convolution that brings in one operand, and the EW stage that reads the other."""
    combine, pair, output = COMBINE[operator.kind], _pair(context, operator), context.output(operator)
    host_scale, guest_scale = quantised.scale(pair.host), quantised.scale(pair.guest)
    value, ratio, factor = 1, 1.0, host_scale / quantised.scale(output)
    if combine is Combine.ADD:
        value, ratio, factor = FINE * pair.host_sign, pair.guest_sign * FINE * guest_scale / host_scale, factor / FINE
    elif combine is Combine.MULTIPLY:
        factor *= guest_scale
    feature, rules = guest_feature(context, pair.guest, target), RULES[combine]
    guest = operand(feature, -quantised.zero_point(pair.guest), ratio, combine, context.soc)
    if is_vector(feature, target):
        guest, rules = replace(guest, per_channel=True), (*rules, Unproven.OPERAND_PER_CHANNEL)
    zero, scale = quantised.zero_point(pair.host), encode_scale(factor, context.soc)
    if combine is Combine.ADD:
        check_unit(scale)
    return replace(
        identity_layer(context, operator, context.feature(pair.host), target, value, zero),
        requantise=clamped(scale, output, activation),
        addend=guest,
        rules=rules,
    )


def by_channel(constant: Tensor, channels: int) -> bool:
    """Say whether a constant is one value for all, or one for each channel."""
    return constant.elements == 1 or map_shape(constant) == (1, 1, channels)


def guest_feature(context: Context, guest: Tensor, output: FeatureMap) -> FeatureMap:
    """Return where an operand lies; a constant is stored, spread over the output's size."""
    if not guest.is_constant:
        return context.feature(guest)
    shape = (output.height, output.width, output.channels)
    return constant_map(context, np.broadcast_to(quantised.stored(guest), (1, *shape)).reshape(shape))


def constant_map(context: Context, values: npt.NDArray[np.int8]) -> FeatureMap:
    """Store values of shape ``(height, width, channels)`` as a feature map among the constants.

    Channels are filled up to whole kernel groups, which is what the chip fetches.
    """
    height, width, channels = values.shape
    full = aligned(channels, context.soc.kernel_group)
    filled = np.zeros((height, width, full), np.int8)
    filled[..., :channels] = values
    slot = context.soc.slot
    surfaces = filled.reshape(height, width, full // slot, slot).transpose(2, 0, 1, 3)
    return FeatureMap(context.constants.add(surfaces.tobytes()), height, width, channels, height * width * slot, slot)


def is_vector(feature: FeatureMap, output: FeatureMap) -> bool:
    """Say whether an operand is a single pixel that serves every pixel of the output."""
    return _is_pixel(feature) and not _is_pixel(output)


def _is_pixel(feature: FeatureMap) -> bool:
    return (feature.height, feature.width) == (1, 1)


def _pair(context: Context, operator: Operator) -> Pair:
    """Choose the host: a whole map, and the operand with the larger scale, so that the other is rounded finely."""
    first, second = context.tensor(operator, 0), context.tensor(operator, 1)
    output = context.feature(context.output(operator))
    sign = -1 if operator.kind == "SUB" else 1
    larger = operator.kind in ("ADD", "SUB") and quantised.scale(second) > quantised.scale(first)
    if not _may_host(context, first, output) or (larger and _may_host(context, second, output)):
        return Pair(second, first, sign, 1)
    return Pair(first, second, 1, sign)


def _may_host(context: Context, tensor: Tensor, output: FeatureMap) -> bool:
    return not tensor.is_constant and not is_vector(context.feature(tensor), output)


def constant_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an operator with one constant for each channel, or one for all: a depthwise 1x1 convolution.

    A constant summand becomes the bias, a constant factor the kernel: both proven, and finer than the EW stage.

    Raises:
        UnsupportedError: the constant is too large, or a clamp cannot be expressed.
    """
    first, second = context.tensor(operator, 0), context.tensor(operator, 1)
    swapped = first.is_constant
    variable, constant = (second, first) if swapped else (first, second)
    feature, output = context.feature(variable), context.output(operator)
    values = quantised.stored(constant).astype(np.int64) - quantised.zero_point(constant)
    values = np.broadcast_to(values.reshape(-1), (feature.channels,))
    if operator.kind in ("ADD", "SUB"):
        return [_constant_sum(context, operator, feature, values * quantised.scale(constant), swapped)]
    if operator.kind in ("MAXIMUM", "MINIMUM"):
        return _constant_extremes(context, operator, feature, values + quantised.zero_point(constant))
    attributes = operator.attributes
    assert isinstance(attributes, Arithmetic)
    zero = quantised.zero_point(variable)
    kernel_zero = quantised.zero_point(constant)
    layer = identity_layer(context, operator, feature, context.feature(output), 1, zero)
    factor = quantised.scale(variable) * quantised.scale(constant) / quantised.scale(output)
    stored = np.broadcast_to(quantised.stored(constant).reshape(-1), (feature.channels,))
    return [
        replace(
            layer,
            weights=np.ascontiguousarray(stored).reshape(1, 1, -1),
            weight_zero_point=kernel_zero,
            biases=-zero * values,
            requantise=clamped(encode_scale(factor, context.soc), output, attributes.activation),
        )
    ]


def _constant_sum(
    context: Context,
    operator: Operator,
    feature: FeatureMap,
    reals: npt.NDArray[np.floating[Any]],
    swapped: bool,
) -> ConvolutionLayer:
    """Describe ``variable + reals``, ``variable - reals`` or ``reals - variable``."""
    attributes = operator.attributes
    assert isinstance(attributes, Arithmetic)
    variable = context.tensor(operator, 1 if swapped else 0)
    output = context.output(operator)
    negative = operator.kind == "SUB"
    value = -FINE if negative and swapped else FINE
    layer = identity_layer(context, operator, feature, context.feature(output), value, quantised.zero_point(variable))
    signed = reals if not negative or swapped else -reals
    extra = np.rint(signed * FINE / quantised.scale(variable))
    if np.abs(extra).max() >= 1 << 30:
        raise UnsupportedError(f"the constant {float(np.abs(reals).max()):.6g} is too large for the input's scale")
    scale = encode_scale(quantised.scale(variable) / (FINE * quantised.scale(output)), context.soc)
    check_unit(scale)
    return replace(
        layer,
        biases=layer.biases + extra.astype(np.int64),
        requantise=clamped(scale, output, attributes.activation),
    )


def _constant_extremes(
    context: Context, operator: Operator, feature: FeatureMap, limits: npt.NDArray[np.int64]
) -> list[ConvolutionLayer]:
    """Describe ``max(x, c) = c + relu(x - c)`` or ``min(x, c) = c - relu(c - x)`` as two 1x1 convolutions.

    Exact, with nothing but additions of a bias and a ReLU, both proven. What lies between is at most 255 and is stored
    less 128. All values are stored ones: scales and zero points are equal.
    """
    sign = 1 if operator.kind == "MAXIMUM" else -1
    target = context.feature(context.output(operator))
    middle = context.fresh(feature.height, feature.width, feature.channels)
    unit = encode_scale(1.0, context.soc)
    layer = identity_layer(context, operator, feature, middle, 1, 0)
    weights = layer.weights * np.int8(sign)
    low, offset = Conversion(unit.multiplier, unit.shift, quantised.INT8_MIN), -quantised.INT8_MIN
    first = replace(layer, weights=weights, biases=-sign * limits, requantise=Requantise(low, relu=True))
    plain = Requantise(Conversion(unit.multiplier, unit.shift, 0))
    biases = limits + sign * offset
    return [first, replace(first, source=middle, target=target, biases=biases, requantise=plain)]
