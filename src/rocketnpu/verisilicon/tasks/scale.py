"""The factor between accumulator and output, as the NN cores have it: a leading one, some bits, and a right shift.

The factor is a number whose mantissa has 15 bits in generation 7, and 23 in generation 8 (facts 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rocketnpu.errors import UnsupportedError

FRACTION_BITS = {7: 15, 8: 23}
"""Bits of the multiplier behind its leading one, by generation."""
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
        return math.ldexp((1 << self.bits) + self.fraction, -self.shift)


def encode_scale(value: float, generation: int) -> Scale:
    """Return the factor nearest to a positive one. (The open driver cuts generation 7's mantissa off instead, which
    turns ties of even ratios, such as sums have, into results that are one too small.)

    Raises:
        UnsupportedError: the hardware has none so large or so small.
    """
    bits = FRACTION_BITS[generation]
    # Generation 8 writes a signed number of 7 bits that is smaller by its 23.
    low, high = (0, _MAX_SHIFT) if generation == 7 else (0, bits + 63)
    if 0 < value < math.inf:
        mantissa, exponent = math.frexp(value)
        whole = round(mantissa * (2 << bits))
        if whole == 2 << bits:
            whole, exponent = whole >> 1, exponent + 1
        shift = bits + 1 - exponent
        if low <= shift <= high:
            return Scale(whole - (1 << bits), bits, shift)
    raise UnsupportedError(f"a factor of {value:.4g} between accumulator and output has no multiplier and shift")
