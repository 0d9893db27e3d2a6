"""Look-up tables of the TP cores: 1,024 words of a 21-bit float, read between two entries (facts 7).

The float has a sign, five bits of exponent with bias 15 and fifteen of mantissa. The upper ten bits of a value choose
an entry, the lower eleven go to the next.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.verisilicon.coefficients.kernels import Bytes, Int64
from rocketnpu.verisilicon.simulator.tp_config import TpConfig

ENTRIES = 1024
_BITS, _MANTISSA, _EXPONENT_BIAS = 21, 15, 15
_LOW = 11
"""Bits of a value that go between two entries."""
Float64 = npt.NDArray[np.float64]


def from_fp21(words: npt.NDArray[np.uint32]) -> Float64:
    """Return the values of 21-bit floats; bits above are ignored.

    Exponent 0 is read as zero, exponent 31 as any other (*assumed*: no known table has either but for zero).
    """
    exponent = words >> _MANTISSA & 31
    mantissa = (words & (1 << _MANTISSA) - 1).astype(np.float64)
    size = np.ldexp(1 + mantissa / (1 << _MANTISSA), exponent.astype(np.int64) - _EXPONENT_BIAS)
    sign = np.where(words >> _BITS - 1 & 1, -1.0, 1.0)
    return np.where(exponent == 0, 0.0, sign * size)


def to_fp21(values: Int64) -> Int64:
    """Return whole numbers below 2**16 as 21-bit floats, which hold them exactly."""
    mantissa, exponent = np.frexp(np.abs(values).astype(np.float64))
    bits = ((exponent + _EXPONENT_BIAS - 1) << _MANTISSA) + ((2 * mantissa - 1) * (1 << _MANTISSA)).astype(np.int64)
    found: Int64 = np.where(values == 0, 0, bits) | (values < 0).astype(np.int64) << _BITS - 1
    return found


def looked_up(values: Int64, table: npt.NDArray[np.uint32]) -> Float64:
    """Return what a table of :data:`ENTRIES` words makes of whole numbers.

    Behind the last entry of either sign that entry is used again (*assumed*: no byte reaches it).
    """
    bits = to_fp21(values)
    entry, rest = bits >> _LOW, bits & (1 << _LOW) - 1
    entries = from_fp21(table)
    half = ENTRIES // 2
    following = np.where(entry % half == half - 1, entry, entry + 1)
    low, high = entries[entry], entries[following]
    found: Float64 = low + (high - low) * rest / (1 << _LOW)
    return found


def byte_function(config: TpConfig, table: npt.NDArray[np.uint32] | None) -> Bytes:
    """Return what the job makes of each of the 256 bytes.

    Rounding is half away from zero and the result is clamped to a byte: both **assumed**.
    """
    values = np.arange(256) - config.in_zero_point
    found = values.astype(np.float64) if table is None else looked_up(values, table)
    scaled = found * (1 + config.multiplier / (1 << 15)) * 2.0**-config.postshift
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + config.out_zero_point
    result: Bytes = np.clip(rounded, 0, 255).astype(np.uint8)
    return result
