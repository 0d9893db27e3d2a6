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
from rocketnpu.evidence import Unproven
from rocketnpu.graph import Operator, Tensor
from rocketnpu.graph.operators import Activation, Arithmetic
from rocketnpu.soc import Soc
from rocketnpu.tasks import quantised
from rocketnpu.tasks.blocks import dense_blocks
from rocketnpu.tasks.context import Context
from rocketnpu.tasks.convolution import ConvolutionLayer
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.lower_convolution import clamped
from rocketnpu.tasks.requantise import encode_scale
from rocketnpu.tasks.task import Combine, Elementwise, Rows

FINE = 255
"""Kernel value that gives the accumulator eight fraction bits: stored 127 with zero point -128 (spec 5.2)."""
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
    stored, kernel_zero = {1: (1, 0), FINE: (127, -128), -FINE: (-128, 127)}[value]
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


def elementwise_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an element-wise operator of two feature maps as dense layers with an EW operand."""
    if any(context.tensor(operator, position).is_constant for position in (0, 1)):
        return constant_layers(context, operator)
    combine = COMBINE[operator.kind]
    pair = _pair(context, operator)
    output = context.output(operator)
    activation = operator.attributes.activation if isinstance(operator.attributes, Arithmetic) else Activation.NONE
    host_scale, guest_scale = quantised.scale(pair.host), quantised.scale(pair.guest)
    fine = combine is Combine.ADD
    value = FINE * pair.host_sign if fine else 1
    if combine is Combine.MULTIPLY:
        factor = host_scale * guest_scale / quantised.scale(output)
    else:
        factor = host_scale / (abs(value) * quantised.scale(output))
    layer = identity_layer(
        context,
        operator,
        context.feature(pair.host),
        context.feature(output),
        value,
        quantised.zero_point(pair.host),
    )
    guest = operand(
        context.feature(pair.guest),
        -quantised.zero_point(pair.guest),
        pair.guest_sign * FINE * guest_scale / host_scale if fine else 1.0,
        combine,
        context.soc,
    )
    requantise = clamped(encode_scale(factor, context.soc), output, activation)
    if requantise.lift and combine is not Combine.ADD:
        raise UnsupportedError(f"{activation.value} behind {operator.kind} clamps elsewhere than at the zero point")
    layer = replace(layer, requantise=requantise, addend=guest, rules=RULES[combine])
    return dense_blocks(layer, BLOCK)


def _pair(context: Context, operator: Operator) -> Pair:
    """Choose the host: the operand with the larger scale, so that the other is rounded to fine units."""
    first, second = context.tensor(operator, 0), context.tensor(operator, 1)
    sign = -1 if operator.kind == "SUB" else 1
    if operator.kind in ("ADD", "SUB") and quantised.scale(second) > quantised.scale(first):
        return Pair(second, first, sign, 1)
    return Pair(first, second, 1, sign)


def operand(feature: FeatureMap, offset: int, factor: float, combine: Combine, soc: Soc) -> Elementwise:
    """Describe an EW operand: ``(stored + offset) * factor`` in accumulator units.

    Raises:
        UnsupportedError: the factor cannot be expressed.
    """
    rows = Rows(feature, 0, feature.height)
    if factor == 1.0:
        return Elementwise(combine, rows, offset, 1, 0)
    scale = encode_scale(abs(factor), soc)
    multiplier = scale.multiplier if factor > 0 else -scale.multiplier
    return Elementwise(combine, rows, offset, multiplier, scale.shift)


def constant_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an operator with one constant for each channel, or one for all: a depthwise 1x1 convolution.

    A constant summand becomes the bias, a constant factor the kernel: both proven, and finer than the EW stage.

    Raises:
        UnsupportedError: the constant varies over the map, or the operator has no such form.
    """
    first, second = context.tensor(operator, 0), context.tensor(operator, 1)
    swapped = first.is_constant
    variable, constant = (second, first) if swapped else (first, second)
    feature, output = context.feature(variable), context.output(operator)
    values = quantised.stored(constant).astype(np.int64) - quantised.zero_point(constant)
    if values.size not in (1, feature.channels) or (values.size > 1 and constant.shape[-1] != feature.channels):
        raise UnsupportedError(f"the constant of shape {constant.shape} varies over the map")
    values = np.broadcast_to(values.reshape(-1), (feature.channels,))
    if operator.kind in ("ADD", "SUB"):
        return [_constant_sum(context, operator, feature, values * quantised.scale(constant), swapped)]
    if operator.kind != "MUL":
        raise UnsupportedError(f"{operator.kind} with a constant")
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
    factor = quantised.scale(variable) / (FINE * quantised.scale(output))
    return replace(
        layer,
        biases=layer.biases + extra.astype(np.int64),
        requantise=clamped(encode_scale(factor, context.soc), output, attributes.activation),
    )
