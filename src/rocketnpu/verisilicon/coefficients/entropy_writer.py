"""Writes coefficients of generation 8, as :mod:`rocketnpu.verisilicon.coefficients.entropy` reads them (facts 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rocketnpu.verisilicon.coefficients.entropy import BLOCK, HEADER
from rocketnpu.verisilicon.coefficients.kernels import STREAM_ALIGNMENT, Bytes, Int64, KernelShape, superblocks

SYMBOLS = 8
_VERSION = 0x10
_LENGTHS_AT, _BITS_AT = 20, 28
_CODES = np.array([0, 1, 7, 3, 6, 2, 2, 2], np.uint8)
"""Code of each symbol, three bits; the third bit of the first two is their value's lowest."""
_EXTENSIONS = np.array([0, 0, 0, 0, 0, 1, 2, 0], np.uint8)
"""What follows code 2; the upper bit of symbol 5's is its value's lowest."""
_TAKEN = np.array([1, 1, 0, 0, 0, 1, 0, 0], np.uint8)
"""Bits of the value that code or extension have taken along."""
_END = 4
"""Code of the dummies behind a stream with an odd number of bytes."""
_ROWS_AT_ONCE = 1 << 16


def write_entropy(weights: Bytes, biases: Int64, shape: KernelShape, order: Sequence[int] | None = None) -> bytes:
    """Return a coefficient buffer.

    Args:
        weights: as stored, ``(kernels, channels, rows, columns)``; one channel where kernels are depthwise.
        biases: as stored, one a kernel.
        shape: what the instruction says of them.
        order: bit length for which each of the eight symbols stands; the commonest first where not given.
    """
    net = weights.reshape(shape.kernels, -1) - np.uint8(shape.zero_point)
    data = [_core(net, core, shape) for core in range(shape.used)]
    if order is not None:
        return _buffer(data, biases, order, shape)
    counts = np.bincount(np.concatenate([_lengths(part) for part in data]), minlength=SYMBOLS)
    return _buffer(data, biases, symbol_order(counts), shape)


def symbol_order(counts: npt.NDArray[np.integer]) -> list[int]:
    """Return bit lengths by how often they occur, the commonest first: it gets the shortest code."""
    return [int(length) for length in np.argsort(-counts, kind="stable")]


def _buffer(data: Sequence[Bytes], biases: Int64, order: Sequence[int], shape: KernelShape) -> bytes:
    streams = [_pairs(part, order) for part in data]
    header = np.zeros(HEADER, np.uint8)
    header[0] = _VERSION
    packed = sum(length << 4 * symbol for symbol, length in enumerate(order))
    header[_LENGTHS_AT : _LENGTHS_AT + 4] = np.frombuffer(packed.to_bytes(4, "little"), np.uint8)
    bits = np.array([stream.size for stream in streams], "<u4").view(np.uint8)
    header[_BITS_AT : _BITS_AT + bits.size] = bits
    parts = [header.tobytes()]
    for stream in streams:
        found = np.packbits(stream, bitorder="little").tobytes()
        parts.append(found + bytes(-len(found) % STREAM_ALIGNMENT))
    return b"".join(parts) + biases.astype("<i4").tobytes()


def _core(net: Bytes, core: int, shape: KernelShape) -> Bytes:
    """Return the bytes of one core's stream: the number of its kernels, and their weights."""
    count = shape.kernels // shape.used + (core < shape.kernels % shape.used)
    numbers = _depthwise(core, count, shape) if shape.depthwise else _dense(core, count, shape)
    padded = np.zeros((count, -(-shape.weights // BLOCK) * BLOCK), np.uint8)
    padded[:, : shape.weights] = net[numbers]
    parts, first = [np.array([count & 0xFF, count >> 8], np.uint8)], 0
    for size in superblocks(count, shape.per_core):
        block = padded[first : first + size]
        if not shape.depthwise:
            block = block.reshape(size, -1, BLOCK).transpose(1, 0, 2)
        parts.append(block.ravel())
        first += size
    return np.concatenate(parts)


def _dense(core: int, count: int, shape: KernelShape) -> Int64:
    """Return the channels of one core: in each superblock the cores take theirs one after another."""
    totals = [shape.kernels // shape.used + (other < shape.kernels % shape.used) for other in range(shape.used)]
    found, start = [], 0
    for first in range(0, max(totals), shape.per_core):
        sizes = [max(0, min(total - first, shape.per_core)) for total in totals]
        found.append(start + sum(sizes[:core]) + np.arange(sizes[core]))
        start += sum(sizes)
    return np.concatenate(found)[:count]


def _depthwise(core: int, count: int, shape: KernelShape) -> Int64:
    """Return the channels of one core: each group of channels is dealt out from its last on."""
    found = shape.used - 1 - core + shape.used * np.arange(count)
    rest = shape.kernels % shape.used
    if rest and count > shape.kernels // shape.used:
        found[-1] -= shape.used - rest
    return found


def _lengths(data: Bytes) -> Bytes:
    """Return the bits of each byte's magnitude, its sign apart."""
    return _BIT_LENGTHS[np.where(data >> 7, ~data, data)]


_BIT_LENGTHS = np.array([number.bit_length() for number in range(128)], np.uint8)


def _pairs(data: Bytes, order: Sequence[int]) -> Bytes:
    """Return the bits of a stream, low ones first: step i has codes of pair i, extensions of i - 1, values of i - 2."""
    odd = data.size % 2
    data = np.append(data, np.zeros(odd, np.uint8))
    sign, length = data >> 7, _lengths(data)
    symbols = np.argsort(np.array(order))[length].astype(np.uint8)
    rest = np.where(sign, ~data, data) & ((1 << np.maximum(length, 1) - 1) - 1).astype(np.uint8)
    value, width = sign | rest << 1, np.maximum(length, 1)
    taken = _TAKEN[symbols]
    # The first bit of the value goes with the codes of symbols 0 and 1, and with the extension of symbol 5.
    codes = _CODES[symbols] | np.where(symbols < 2, (value & 1) << 2, 0).astype(np.uint8)
    extensions = _EXTENSIONS[symbols] | np.where(symbols == 5, (value & 1) << 1, 0).astype(np.uint8)
    pairs = data.size // 2
    values = np.zeros((pairs + 2, 6), np.uint8)
    widths = np.zeros((pairs + 2, 6), np.uint8)
    values[:pairs, :2], widths[:, :2] = codes.reshape(-1, 2), 3
    values[pairs:, :2] = _END if odd else 0
    values[1 : pairs + 1, 2:4] = extensions.reshape(-1, 2)
    widths[1 : pairs + 1, 2:4] = 2 * (symbols >= 5).reshape(-1, 2)
    values[2:, 4:] = (value >> taken).reshape(-1, 2)
    widths[2:, 4:] = (width - taken).reshape(-1, 2)
    return np.concatenate(
        [
            _packed(values[row : row + _ROWS_AT_ONCE].ravel(), widths[row : row + _ROWS_AT_ONCE].ravel())
            for row in range(0, pairs + 2, _ROWS_AT_ONCE)
        ]
    )


def _packed(values: Bytes, widths: Bytes) -> Bytes:
    """Return numbers of different widths as bits."""
    ends = np.cumsum(widths, dtype=np.int64)
    owner = np.repeat(np.arange(values.size), widths)
    place = np.arange(owner.size) - (ends - widths)[owner]
    found: Bytes = values[owner] >> place.astype(np.uint8) & np.uint8(1)
    return found
