"""Operators that map byte to byte, by the look-up table; PRELU with a slope for each channel.

The argument of the table is ``(x - zero point) * 64``. Entries lie 32 apart, so every byte falls on an entry, which
holds the finished output less its zero point: nothing depends on what the chip does between entries, where sources
disagree (addendum 5.3). The factor is the kernel of the 1x1 convolution that brings the value in, so neither BN nor its
separate shift for negative values takes part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS, limits
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Tensor
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.blocks import dense_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.elementwise import BLOCK
from rocketnpu.rockchip.lowering.identity import identity_layer
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.requantise import CHANNEL_SHIFT, MAX_UNIT_ERROR, encode_scale
from rocketnpu.rockchip.tasks.task import LOOKUP_ENTRIES, LOOKUP_STEP, Lookup

SPREAD = 2 * LOOKUP_STEP
"""Argument of the table for one step of the input: 255 steps to either side of zero then fit the tables' 16384."""
FRACTION = 127
"""Kernel of PRELU: the largest that is a signed byte with zero point 0."""
SLOPE_LIMIT = (1 << 15) - 1
"""Largest multiplier of a record: a signed 16-bit field (addendum 1.2)."""


def byte_table(operator: Operator, source: Tensor, target: Tensor) -> Lookup:
    """Compute the tables of an operator.

    Raises:
        UnsupportedError: the scales are such that the reference refuses them.
    """
    outputs = BYTE_FUNCTIONS[operator.kind](operator, source, target)
    assert source.quantisation is not None
    assert target.quantisation is not None
    low, high = limits(source)
    zero = source.quantisation.zero_point
    # Arguments that no byte gives take the nearest byte's answer.
    reach = LOOKUP_ENTRIES // 2
    bytes_of = np.clip(zero + np.arange(-reach, reach + 1), low, high)
    answers = (outputs - target.quantisation.zero_point)[bytes_of - low]
    # Between two bytes lies one more entry each; it repeats the answer below.
    entries = np.repeat(answers, SPREAD // LOOKUP_STEP)
    below, above = entries[:LOOKUP_ENTRIES], entries[LOOKUP_ENTRIES - 1 :][:LOOKUP_ENTRIES]
    return Lookup(tuple(below.tolist()), tuple(above.tolist()))


def lookup_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe an operator on single bytes as a 1x1 convolution with a look-up table behind it."""
    source, target = context.tensor(operator, 0), context.output(operator)
    zero = quantised.zero_point(source)
    layer = identity_layer(context, operator, context.feature(source), context.feature(target), 1, zero)
    return [
        replace(
            layer,
            weights=layer.weights * np.int8(SPREAD),
            biases=layer.biases * SPREAD,
            lookup=byte_table(operator, source, target),
            rules=(Unproven.LOOKUP, Unproven.FLYING_START),
        )
    ]


def prelu_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe PRELU: a dense 1x1 convolution whose BS stage multiplies negative values by the channel's slope.

    Kernels of 127 give the accumulator seven fraction bits, so that rounding behind the slope stays far below a step.
    They have zero point 0, for the records that bring the slopes carry no feature offset.
    """
    source, target, slopes = context.tensor(operator, 0), context.output(operator), context.tensor(operator, 1)
    feature = context.feature(source)
    zero = quantised.zero_point(source)
    layer = identity_layer(context, operator, feature, context.feature(target), 1, zero)
    stored = quantised.stored(slopes).astype(np.int64).reshape(-1) - quantised.zero_point(slopes)
    reals = np.broadcast_to(stored, (feature.channels,)) * quantised.scale(slopes)
    shift = _slope_shift(float(np.abs(reals).max(initial=0.0)))
    rounded = np.rint(np.ldexp(reals, shift))
    _check_slopes(np.ldexp(rounded, -shift) - reals, quantised.scale(source) / quantised.scale(target))
    factor = encode_scale(quantised.scale(source) / (FRACTION * quantised.scale(target)), context.soc)
    requantise = replace(
        clamped(factor, target, Activation.NONE),
        channel_multipliers=rounded.astype(np.int64),
        slope_shift=shift,
    )
    layer = replace(
        layer,
        weights=layer.weights * np.int8(FRACTION),
        biases=layer.biases * FRACTION,
        requantise=requantise,
        rules=(Unproven.PARAMETRIC_RELU,),
    )
    return dense_blocks(layer, BLOCK)


def _check_slopes(errors: npt.NDArray[np.float64], ratio: float) -> None:
    """Refuse slopes whose rounding shows in the output.

    Args:
        errors: of each slope, as rounded.
        ratio: input steps to output steps.

    Raises:
        UnsupportedError: the largest byte would be off by more than half of what rounding the output leaves.
    """
    worst = float(np.abs(errors).max(initial=0.0)) * 255 * ratio
    if worst > MAX_UNIT_ERROR:
        raise UnsupportedError(f"rounded slopes would be off by up to {worst:.2g} output steps")


def _slope_shift(largest: float) -> int:
    """Choose the shift that keeps the largest slope in its field, 14 wherever it fits as in all programmes known.

    Raises:
        UnsupportedError: a slope is too large for any.
    """
    for shift in range(CHANNEL_SHIFT, -1, -1):
        if round(largest * (1 << shift)) <= SLOPE_LIMIT:
            return shift
    raise UnsupportedError(f"a slope of {largest:.6g}, at most {SLOPE_LIMIT} is possible")
