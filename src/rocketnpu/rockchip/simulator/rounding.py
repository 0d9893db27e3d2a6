"""Rounding and saturation of the integer data path.

Every stage rounds half to even when its selector is 0: the manual's words are "carry only when the integer part is
odd" (TRM), 194 recorded ties of an RV1103 agree and exclude three other rules (addendum 2.2). Selector 1 rounds half
away from zero (RV1103, 12,288 bytes; addendum 2.2).

Values between stages are integers of at most 32 bits and multipliers have 16, so a product has at most 47 bits and is
exact in float64; scaling by a power of two is exact as well, and ``rint`` rounds half to even. Float64 therefore *is*
the integer arithmetic here, at the speed of the vector units.
"""

from __future__ import annotations

import math

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Array, Float64, Int64

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT8_MIN, INT8_MAX = -128, 127


def factor(multiplier: int, shift: int) -> float:
    """Return ``multiplier / 2**shift``, exact for 16-bit multipliers; 0.0 where the shift leaves nothing."""
    return math.ldexp(float(multiplier), -shift)


def round_in_place(values: Float64, *, half_away: bool = False) -> None:
    """Round to integers, half to even or half away from zero."""
    if not half_away:
        np.rint(values, out=values)
        return
    magnitude = np.floor(np.abs(values) + 0.5)
    np.copysign(magnitude, values, out=values)


def scale_in_place(values: Float64, scale: float, *, half_away: bool = False) -> None:
    """Multiply integers by ``factor(multiplier, shift)`` and round."""
    if scale == 1.0:
        return
    np.multiply(values, scale, out=values)
    round_in_place(values, half_away=half_away)


def clip_in_place(values: Array, low: int, high: int) -> None:
    """Saturate to ``low..high``."""
    np.clip(values, low, high, out=values)


def shift_half_even(values: Int64, shift: int) -> Int64:
    """Shift right by ``shift`` bits, half to even (spec 5.8). Exact for all of int64 that leaves room for one carry."""
    if shift == 0:
        return values
    if shift > 62:
        return np.zeros_like(values)
    half = (1 << (shift - 1)) - 1
    return (values + half + ((values >> shift) & 1)) >> shift


def shift_half_away(values: Int64, shift: int) -> Int64:
    """Shift right by ``shift`` bits, half away from zero."""
    if shift == 0:
        return values
    if shift > 62:
        return np.zeros_like(values)
    magnitude: Int64 = (np.abs(values) + (1 << (shift - 1))) >> shift
    return np.where(values < 0, -magnitude, magnitude)
