"""Look-up tables of the tensor processors: 1,024 words of a 21-bit float, read between two entries (facts 7).

A number's entry is its sign, its exponent and the upper four bits of its mantissa, so that whole numbers up to 31 have
entries of their own, and larger ones share an entry with their neighbours: between two entries the line is straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

ENTRIES = 1024
BYTES = 256
_BITS, _MANTISSA, _BIAS = 21, 15, 15
_LOW = 11
Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ByteTable:
    """A table, the zero points around it, and what comes out."""

    entries: Floats
    in_zero_point: int
    out_zero_point: int
    outputs: Int64
    """Of each of the 256 bytes."""
    error: int
    """The largest distance from what was wanted."""

    def content(self) -> bytes:
        """Return the table as it lies in memory."""
        return encode(self.entries).astype("<u4").tobytes()


def encode(values: Floats) -> npt.NDArray[np.uint32]:
    """Return the nearest 21-bit floats; what is too small becomes 0."""
    mantissa, exponent = np.frexp(np.abs(values))
    whole = np.rint(mantissa * (2 << _MANTISSA)).astype(np.int64)
    carried = whole >> _MANTISSA + 1
    whole, exponent = np.where(carried, whole >> 1, whole), exponent + carried
    field = exponent - 1 + _BIAS
    bits = (np.clip(field, 0, 30) << _MANTISSA) | whole & (1 << _MANTISSA) - 1
    sign = (values < 0).astype(np.int64) << _BITS - 1
    return np.where((field < 1) | (whole == 0), 0, bits | sign).astype(np.uint32)


def decode(words: npt.NDArray[np.uint32]) -> Floats:
    """Return the values of 21-bit floats."""
    exponent, mantissa = words >> _MANTISSA & 31, words & (1 << _MANTISSA) - 1
    size = np.ldexp(1 + mantissa / (1 << _MANTISSA), exponent.astype(np.int64) - _BIAS)
    return np.where(exponent == 0, 0.0, np.where(words >> _BITS - 1, -size, size))


@lru_cache(maxsize=1)
def _places() -> tuple[Int64, Floats]:
    """Return for the numbers from -255 to 255 the entry of each, and how far it is to the next."""
    bits = encode(np.arange(1 - BYTES, BYTES).astype(np.float64)).astype(np.int64)
    return bits >> _LOW, (bits & (1 << _LOW) - 1) / (1 << _LOW)


def fit(wanted: Int64, reals: Floats | None = None, *, centres: Sequence[int] = range(BYTES)) -> ByteTable:
    """Find the table and zero point that come closest to a function of bytes.

    Args:
        wanted: what each of the 256 stored bytes is to become, 0 to 255.
        reals: the same before it was rounded and clamped, where known.
        centres: zero points of the input that may be chosen; the first of the best is taken.
    """
    values = wanted.astype(np.float64) if reals is None else reals
    return _fitted(wanted.astype(np.int64).tobytes(), values.tobytes(), tuple(centres))


@lru_cache(maxsize=64)
def _fitted(wanted_bytes: bytes, values_bytes: bytes, centres: tuple[int, ...]) -> ByteTable:
    """As :func:`fit`; an operator is judged several times before it is compiled."""
    wanted, values = np.frombuffer(wanted_bytes, np.int64), np.frombuffer(values_bytes, np.float64)
    best: ByteTable | None = None
    for centre in centres:
        found = _at(wanted, values, centre)
        if best is None or (found.error, _misses(found, wanted)) < (best.error, _misses(best, wanted)):
            best = found
        if best.error == 0:
            break
    assert best is not None
    return best


def _misses(table: ByteTable, wanted: Int64) -> int:
    return int((table.outputs != wanted).sum())


def _at(wanted: Int64, values: Floats, centre: int) -> ByteTable:
    """Make the table for one zero point of the input: entries go through the function where a byte falls on one."""
    zero = int(wanted[centre])
    entry, rest = _places()
    window = slice(BYTES - 1 - centre, 2 * BYTES - 1 - centre)
    entry, rest = entry[window], rest[window]
    entries = np.full(ENTRIES, np.nan)
    exact = rest == 0
    entries[entry[exact]] = values[exact] - zero
    entries = _continued(entries, entry, rest, values - zero)
    entries = decode(encode(entries))
    found = entries[entry] + (entries[np.minimum(entry + 1, ENTRIES - 1)] - entries[entry]) * rest
    rounded = np.trunc(found + np.copysign(0.5, found)).astype(np.int64)
    outputs = np.clip(rounded + zero, 0, BYTES - 1)
    return ByteTable(entries, centre, zero, outputs, int(np.abs(outputs - wanted).max()))


def _continued(entries: Floats, entry: Int64, rest: Floats, values: Floats) -> Floats:
    """Fill the entry behind the last byte of either sign so that the line goes through that byte; others hold 0."""
    for half in (0, ENTRIES // 2):
        used = np.flatnonzero((entry >= half) & (entry < half + ENTRIES // 2))
        if not used.size:
            continue
        last = used[np.argmax(entry[used] + rest[used])]
        low = entries[entry[last]]
        if rest[last] and not np.isnan(low):
            entries[entry[last] + 1] = low + (values[last] - low) / rest[last]
    return np.nan_to_num(entries)
