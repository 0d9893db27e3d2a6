"""The factor between accumulator and output, as the NN cores have it: a leading one, some bits, and a right shift.

The factor is a single-precision number whose mantissa is cut off (facts 4): 15 bits of it in generation 7, all 23 in
generation 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.errors import UnsupportedError

FRACTION_BITS = {7: 15, 8: 23}
"""Bits of the multiplier behind its leading one, by generation."""
_MANTISSA = 23
_MAX_SHIFT = 127
"""Generation 7 has 7 bits of right shift."""


@dataclass(frozen=True, slots=True)
class Scale:
    """``(2**bits + fraction) / 2**shift``."""

    fraction: int
    bits: int
    shift: int

    @property
    def value(self) -> float:
        """The factor that it really is."""
        return float(np.ldexp((1 << self.bits) + self.fraction, -self.shift))


def encode_scale(value: float, generation: int) -> Scale:
    """Return the largest factor not above a positive one.

    Raises:
        UnsupportedError: the hardware has none so large or so small.
    """
    number = np.float32(value)
    word = int(number.view(np.uint32))
    exponent, mantissa = word >> _MANTISSA, word & (1 << _MANTISSA) - 1
    bits = FRACTION_BITS[generation]
    shift = bits + 127 - exponent
    # Generation 8 writes a signed number of 7 bits that is smaller by its 23.
    low, high = (0, _MAX_SHIFT) if generation == 7 else (0, bits + 63)
    if not 0 < exponent < 255 or not low <= shift <= high:
        raise UnsupportedError(f"a factor of {value:.4g} between accumulator and output has no multiplier and shift")
    return Scale(mantissa >> _MANTISSA - bits, bits, shift)
