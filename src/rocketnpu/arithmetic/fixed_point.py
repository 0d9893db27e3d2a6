"""LiteRT's fixed-point arithmetic, which its reference kernels of byte operators are made of.

Written after the published definition of gemmlowp's primitives: a real factor becomes a 31-bit multiplier and a power
of two, applied with a rounding doubling high multiplication and then a rounding shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Factor:
    """``multiplier / 2**31 * 2**exponent``, the multiplier with 31 significant bits."""

    multiplier: int
    exponent: int

    @classmethod
    def of(cls, value: float) -> Factor:
        """Find the nearest factor; 0 for 0 and for what is too small to matter."""
        if value == 0.0:
            return cls(0, 0)
        mantissa, exponent = math.frexp(value)
        multiplier = math.floor(mantissa * (1 << 31) + 0.5) if mantissa > 0 else -math.floor(0.5 - mantissa * (1 << 31))
        if abs(multiplier) == 1 << 31:
            multiplier, exponent = multiplier // 2, exponent + 1
        return cls(0, 0) if exponent < -31 else cls(multiplier, exponent)

    @property
    def short(self) -> int:
        """The multiplier with 15 bits, as 16-bit kernels use it."""
        limit = (1 << 31) - (1 << 15)
        return (1 << 15) - 1 if self.multiplier >= limit else (self.multiplier + (1 << 15)) >> 16

    def apply(self, values: Int64) -> Int64:
        """Multiply integers, rounding twice."""
        left, right = max(self.exponent, 0), max(-self.exponent, 0)
        return rounding_divide(high_multiply(values << left, self.multiplier, 32), right)


def high_multiply(values: Int64, factor: int, bits: int) -> Int64:
    """Return ``round(values * factor / 2**(bits - 1))``, half away from zero, saturated to ``bits``."""
    product = values * factor
    nudge = np.where(product >= 0, 1 << (bits - 2), 1 - (1 << (bits - 2)))
    total = product + nudge
    return saturated(np.sign(total) * (np.abs(total) >> (bits - 1)), bits)


def rounding_divide(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, half away from zero."""
    mask = (1 << shift) - 1
    threshold = (mask >> 1) + (values < 0)
    return (values >> shift) + ((values & mask) > threshold)


def saturated(values: Int64, bits: int) -> Int64:
    """Saturate to signed integers of so many bits."""
    return np.clip(values, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
