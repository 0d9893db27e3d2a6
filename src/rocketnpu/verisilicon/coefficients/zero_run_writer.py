"""Writes coefficients of generation 7, as :mod:`rocketnpu.verisilicon.coefficients.zero_runs` reads them (facts 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rocketnpu.verisilicon.coefficients.kernels import (
    STREAM_ALIGNMENT,
    Bytes,
    Int64,
    KernelShape,
    superblocks,
)
from rocketnpu.verisilicon.coefficients.zero_runs import POINTWISE_BLOCK, weight_order

SURPLUS_PLACE = 0xFFFFFFFF
"""Output offset of a kernel that is none: far behind every tensor."""
_BYTE, _WORD = 8, 32
_BLOCK = _WORD
"""Bits in which the sizes of streams are compared, as the open driver does (facts 5)."""
_HEAD = 3 * _BYTE
"""Bits of a stream's head: the width of runs, and the number of kernels."""
Bits = npt.NDArray[np.uint8]


def write_zero_runs(weights: Bytes, biases: Int64, places: Int64, shape: KernelShape, run_bits: Sequence[int]) -> bytes:
    """Return a coefficient buffer, the smallest of those with one of some widths of runs.

    Args:
        weights: as stored, ``(kernels, channels, rows, columns)``. Cores have equal shares, so the last one may have
            more kernels than there are: those may be given too, and are zero points otherwise.
        biases: as stored, one a kernel.
        places: byte offset of each kernel's output plane.
        shape: what the instruction says of them.
        run_bits: widths of runs that may be chosen; 0 is plain bytes.
    """
    share = -(-shape.kernels // shape.used)
    weights, biases, places = _filled_up(weights, biases, places, share * shape.used, shape.zero_point)
    cores = [_Core(core, share, weights, (biases, places), shape) for core in range(shape.used)]
    blocks = {width: -(-sum(core.bits(width) for core in cores) // _BLOCK) for width in run_bits}
    width = min(blocks, key=lambda width: (blocks[width], width))
    streams = [core.stream(width, share) for core in cores]
    header = np.zeros(-(-4 * shape.cores // STREAM_ALIGNMENT) * STREAM_ALIGNMENT // 4, "<u4")
    header[: len(streams)] = [len(stream) for stream in streams]
    return header.tobytes() + b"".join(streams)


def _filled_up(weights: Bytes, biases: Int64, places: Int64, count: int, zero_point: int) -> tuple[Bytes, Int64, Int64]:
    """Return kernels with surplus ones behind."""
    more = count - len(weights)
    if more <= 0:
        return weights, biases, places
    kernels = np.full((more, *weights.shape[1:]), zero_point, np.uint8)
    beyond = np.full(more, SURPLUS_PLACE, np.int64)
    return np.concatenate([weights, kernels]), np.append(biases, np.zeros(more, np.int64)), np.append(places, beyond)


class _Core:
    """What one core reads: weights in the order of the stream, and where words stand between them."""

    def __init__(self, core: int, share: int, weights: Bytes, words: tuple[Int64, Int64], shape: KernelShape) -> None:
        self._zero_point = shape.zero_point
        parts, ends, kinds, values = [], [], [], []
        first = done = 0
        for size in superblocks(share, shape.per_core):
            numbers = first + core * size + np.arange(size)
            first += shape.per_core * shape.used
            parts.append(_in_order(weights[numbers], shape))
            found, order = _cuts(size, shape, last=done + size * shape.weights == share * shape.weights)
            ends.append(done + found)
            kinds.append(order >= 0)
            values.append(np.concatenate([words[0][numbers], words[1][numbers]])[order])
            done += size * shape.weights
        self._weights = np.concatenate(parts)
        self._ends, self._has_word = np.concatenate(ends), np.concatenate(kinds)
        self._words = np.concatenate(values)[self._has_word] & 0xFFFFFFFF

    def bits(self, width: int) -> int:
        """Return the stream's bits with runs of a width."""
        symbols = self._weights.size if not width else int(self._counts(width)[0].sum())
        return _HEAD + (_BYTE + width) * symbols + _WORD * self._words.size

    def stream(self, width: int, share: int) -> bytes:
        """Return the stream."""
        symbols, before = self._symbols(width)
        length = _BYTE + width
        found = np.zeros(_HEAD + symbols.size * length + self._words.size * _WORD, np.uint8)
        found[:_HEAD] = _bits(np.array([width | share << _BYTE]), _HEAD).ravel()
        shifts = np.searchsorted(before, np.arange(symbols.size), side="right") * _WORD
        starts = _HEAD + np.arange(symbols.size) * length + shifts
        found[starts[:, None] + np.arange(length)] = _bits(symbols, length)
        starts = _HEAD + before * length + np.arange(before.size) * _WORD
        found[starts[:, None] + np.arange(_WORD)] = _bits(self._words, _WORD)
        packed = np.packbits(found, bitorder="little")
        return packed.tobytes() + bytes(-packed.size % STREAM_ALIGNMENT)

    def _counts(self, width: int) -> tuple[Int64, Int64, Int64, Int64]:
        """Return how many symbols each event needs, its gap, its weight's place, and which events are ends.

        An event is a weight that is no zero point, or an end of a segment; its gap are the zero points before it.
        """
        places = np.flatnonzero(self._weights != self._zero_point)
        at = np.concatenate([places, self._ends])
        is_end = np.repeat([0, 1], [places.size, self._ends.size])
        # A weight at an end's place lies behind it; ends at one place keep their order.
        order = np.lexsort((1 - is_end, at))
        at, is_end = at[order], is_end[order]
        gaps = at - np.append(0, (at + 1 - is_end)[:-1])
        counts = (gaps >> width) + np.where(is_end, gaps % (1 << width) > 0, 1)
        return counts, gaps, at, is_end

    def _symbols(self, width: int) -> tuple[Int64, Int64]:
        """Return all symbols, a run in the low bits and a byte above, and how many stand before each word."""
        if not width:
            return self._weights.astype(np.int64), self._ends[self._has_word]
        counts, gaps, at, is_end = self._counts(width)
        longest, filler = 1 << width, self._zero_point << width
        found = np.full(int(counts.sum()), filler | longest - 1, np.int64)
        last = np.cumsum(counts) - 1
        rest = gaps % longest
        valued = is_end == 0
        found[last[valued]] = self._weights[at[valued]].astype(np.int64) << width | rest[valued]
        tails = (is_end == 1) & (rest > 0)
        found[last[tails]] = filler | rest[tails] - 1
        before = (last + 1)[is_end == 1][self._has_word]
        return found, before


def _in_order(chosen: Bytes, shape: KernelShape) -> Bytes:
    """Return a superblock's weights in the order of the stream."""
    count, chunk = len(chosen), _chunk(shape)
    if shape.is_pointwise:
        flat = chosen.reshape(count, -1)
    else:
        order = weight_order(shape.rows, shape.columns)
        flat = chosen.reshape(count, shape.channels, -1)[..., order].reshape(count, -1)
    whole = shape.weights // chunk * chunk
    body = flat[:, :whole].reshape(count, -1, chunk).transpose(1, 0, 2)
    return np.concatenate([body.ravel(), flat[:, whole:].ravel()])


def _chunk(shape: KernelShape) -> int:
    """Return how many weights of a kernel lie together."""
    return min(POINTWISE_BLOCK if shape.is_pointwise else shape.rows * shape.columns, shape.weights)


def _cuts(count: int, shape: KernelShape, *, last: bool) -> tuple[Int64, Int64]:
    """Return where runs end in a superblock, and the word that stands there: a bias, behind them the places; -1: none.

    A bias follows its kernel's first weight, a place its last. In the last superblock runs also end where an input
    channel does: nothing is known to need that, but all recorded streams have it.
    """
    chunk, total = _chunk(shape), count * shape.weights
    rest = shape.weights % chunk or chunk
    firsts = np.arange(count) * chunk + 1
    lasts = total - np.arange(count - 1, -1, -1) * rest
    blocks = np.arange(count * chunk, total + 1, count * chunk)[: None if last else 0]
    ends = np.concatenate([firsts, lasts, blocks])
    words = np.concatenate([np.arange(2 * count), np.full(blocks.size, -1)])
    order = np.argsort(ends, kind="stable")
    return ends[order], words[order]


def _bits(values: Int64, width: int) -> Bits:
    """Return numbers as rows of bits, low ones first."""
    found: Bits = (values[:, None] >> np.arange(width) & 1).astype(np.uint8)
    return found
