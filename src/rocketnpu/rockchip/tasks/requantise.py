"""From scales to the integers of the output converter and the per-channel multipliers. No table of special values.

The converter computes ``saturate(round(v * m / 2**n) + offset)`` with a 15-bit ``m`` (spec 5.7); LiteRT uses 31 bits,
so a step of difference now and then is expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import Soc

MAX_SHIFT = 47
"""Largest output shift used: a 32-bit value times a 15-bit multiplier has no bits beyond. (The field has 12 bits.)"""
CHANNEL_SHIFT = 14
"""Shift behind the per-channel multiplier in every vendor programme and board report (addendum 1.4)."""
CHANNEL_ONE = 1 << CHANNEL_SHIFT
"""Multiplier of the channel with the largest scale (addendum 1.3)."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A positive real factor as ``multiplier / 2**shift``."""

    multiplier: int
    shift: int

    @property
    def value(self) -> float:
        """The factor that is really applied."""
        return math.ldexp(self.multiplier, -self.shift)


def encode_scale(factor: float, soc: Soc) -> Scale:
    """Find the nearest 15-bit multiplier and shift for a factor.

    Raises:
        UnsupportedError: the factor is zero, not finite, or outside what multiplier and shift can express.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise UnsupportedError(f"the output factor is {factor}, it must be a positive number")
    low, high = 1 << (soc.multiplier_bits - 1), 1 << soc.multiplier_bits
    shift = soc.multiplier_bits - math.frexp(factor)[1]
    multiplier = round(math.ldexp(factor, shift))
    if multiplier == high:
        multiplier, shift = low, shift - 1
    if not 0 <= shift <= MAX_SHIFT:
        raise UnsupportedError(f"the output factor {factor:.6g} needs a shift of {shift}, possible are 0..{MAX_SHIFT}")
    return Scale(multiplier, shift)


MAX_UNIT_ERROR = 0.2
"""Output steps by which rounding an operand or a constant to the accumulator's units may be off."""


def is_fine(scale: Scale) -> bool:
    """Say whether half a unit of the accumulator is at most :data:`MAX_UNIT_ERROR` output steps."""
    return scale.value / 2 <= MAX_UNIT_ERROR


def check_unit(scale: Scale) -> None:
    """Refuse a factor where the accumulator is too coarse for something to be added to it.

    Raises:
        UnsupportedError: half a unit of the accumulator is more than :data:`MAX_UNIT_ERROR` output steps.
    """
    if not is_fine(scale):
        raise UnsupportedError(
            f"a unit of the accumulator is {scale.value:.3g} output steps, too coarse for an addition"
        )


def ceiling_for(steps: int, scale: Scale) -> int | None:
    """Find an accumulator value that converts to exactly ``steps`` output steps above the offset.

    Clamping the accumulator there is then the same as clamping the output, for conversion is monotone. None where no
    accumulator value converts to ``steps``.
    """
    middle = round(math.ldexp(steps, scale.shift) / scale.multiplier)
    for candidate in (middle, middle - 1, middle + 1):
        if candidate >= 0 and round_half_even(candidate * scale.multiplier, scale.shift) == steps:
            return candidate
    return None


def round_half_even(value: int, shift: int) -> int:
    """Divide by ``2**shift``, rounding to nearest and ties to even, as the converter does (spec 5.8)."""
    if shift == 0:
        return value
    return (value + (1 << (shift - 1)) - 1 + (value >> shift & 1)) >> shift


@dataclass(frozen=True, eq=False)
class ChannelScales:
    """A factor for each output channel: ``multipliers[c] / 2**14`` in BS, then one common factor."""

    multipliers: npt.NDArray[np.int64]
    common: Scale


def encode_channels(factors: npt.NDArray[np.float64], soc: Soc) -> ChannelScales:
    """Split per-channel factors into a 14-bit multiplier each and a common factor.

    The common factor is encoded first, the multipliers then absorb its rounding.

    Raises:
        UnsupportedError: a factor is not a positive number, or the largest cannot be encoded.
    """
    if not np.all(np.isfinite(factors)) or np.any(factors <= 0):
        raise UnsupportedError("an output factor of some channel is not a positive number")
    common = encode_scale(float(factors.max()), soc)
    ratios = factors / common.value
    multipliers = np.clip(np.rint(ratios * CHANNEL_ONE), 1, None).astype(np.int64)
    return ChannelScales(multipliers, common)
