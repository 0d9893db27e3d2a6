"""Coefficients of generation 7: plain bytes or runs of the zero point, with biases and places between them (facts 5).

A buffer is a header of one 32-bit size a core, padded to 64 bytes, and the streams of the cores that have kernels.
A stream is read bit by bit, low bit first: 8 bits width of runs, 16 bits number of kernels, then for each superblock
the weights of its kernels in turn. Behind a kernel's first weight stands its bias, behind its last its output offset.
"""

from __future__ import annotations

import numpy as np

from rocketnpu.verisilicon.coefficients.kernels import (
    MAX_WEIGHTS,
    STREAM_ALIGNMENT,
    Bytes,
    Int64,
    Kernels,
    KernelShape,
    refuse,
    superblocks,
)

POINTWISE_BLOCK = 6
"""Input channels of a 1x1 kernel that lie together (facts 5)."""
LEADING_COLUMNS = 3
"""Columns of a pair of rows that come first (facts 5)."""
MAX_RUN_BITS = 16
"""Widest run that is read: wider ones would not fit the reader's window. The chips have 5 or 8 bits."""
_FEW = 24
"""Weights up to which a segment is read symbol by symbol."""


def weight_order(rows: int, columns: int) -> Int64:
    """Return the memory index of each weight of one channel, in stream order.

    Pairs of rows; in a pair first the leading columns of both, then the others of both (facts 5; the published
    verdicts force it).
    """
    index = np.arange(rows * columns).reshape(rows, columns)
    parts = []
    for row in range(0, rows, 2):
        pair = index[row : row + 2]
        parts += [pair[:, :LEADING_COLUMNS].ravel(), pair[:, LEADING_COLUMNS:].ravel()]
    return np.concatenate(parts)


def read_zero_runs(data: Bytes, shape: KernelShape, *, chunk: int | None = None) -> Kernels:
    """Read a coefficient buffer; ``data`` begins with its header and may be longer than it.

    Args:
        data: bytes of the buffer.
        shape: what the instruction says of its kernels.
        chunk: weights of one kernel that lie together, in memory order: other than what the chip reads, to find out
            what a producer meant. None is the chip's own way.

    Raises:
        SimulationError: the buffer ends early, or contradicts itself or the instruction.
    """
    header = -(-4 * shape.cores // STREAM_ALIGNMENT) * STREAM_ALIGNMENT
    if data.size < header:
        refuse(f"a header of {header} bytes does not fit the {data.size} that are mapped")
    sizes = data[: 4 * shape.cores].view("<u4")[: shape.used].tolist()
    weights, biases, places, runs = [], [], [], []
    start, left = header, shape.kernels
    for core, size in enumerate(sizes):
        if size > data.size - start:
            refuse(f"the stream of core {core} claims {size} bytes, {data.size - start} are mapped")
        reader = _Reader(data[start : start + size], shape, chunk)
        found = reader.kernels(core)
        weights.append(found[0])
        biases.append(found[1])
        places.append(found[2])
        runs.append(reader.run_bits)
        start, left = start + size, left - len(found[1])
    if left > 0:
        refuse(f"the streams hold {shape.kernels - left} kernels, the instruction asks for {shape.kernels}")
    return Kernels(
        np.concatenate(weights), np.concatenate(biases), np.concatenate(places), tuple(runs), tuple(sizes), start
    )


class _Reader:
    """Reads one core's stream."""

    def __init__(self, data: Bytes, shape: KernelShape, chunk: int | None) -> None:
        self._shape = shape
        natural = POINTWISE_BLOCK if shape.is_pointwise else shape.rows * shape.columns
        self._chunk = min(natural if chunk is None else chunk, shape.weights)
        self._in_pairs = chunk is None and not shape.is_pointwise
        self._bits = 8 * data.size
        self._bytes = data.tobytes() + bytes(8)
        self._windows = np.ndarray((data.size + 4,), "<u4", self._bytes, strides=(1,))
        """32 bits at each byte."""
        self._place = 0
        self.run_bits = 0

    def kernels(self, core: int) -> tuple[Bytes, Int64, Int64]:
        """Return weights, biases and places of all its kernels."""
        shape = self._shape
        self.run_bits = self._number(8)
        if self.run_bits > MAX_RUN_BITS:
            refuse(f"core {core}: runs of {self.run_bits} bits; the chips read no more than 8")
        count = self._number(16)
        if count * shape.used > shape.kernels + shape.used * shape.cores:
            refuse(f"core {core}: {count} kernels, where {shape.used} cores share {shape.kernels}")
        if count * shape.weights > MAX_WEIGHTS:
            refuse(f"core {core}: {count} kernels of {shape.weights} weights are more than any job can hold")
        parts = [self._superblock(size) for size in superblocks(count, shape.per_core)]
        if not parts:
            empty = np.zeros(0, np.int64)
            return np.zeros((0, shape.channels, shape.rows, shape.columns), np.uint8), empty, empty
        weights, biases, places = zip(*parts, strict=True)
        return np.concatenate(weights), np.concatenate(biases), np.concatenate(places)

    def _superblock(self, count: int) -> tuple[Bytes, Int64, Int64]:
        """Read the kernels of one superblock."""
        shape = self._shape
        chunk = self._chunk
        first, last = chunk, (shape.weights - 1) % chunk + 1
        found = np.empty(count * shape.weights, np.uint8)
        biases, places = np.empty(count, np.int64), np.empty(count, np.int64)
        done = 0

        def take(size: int) -> None:
            nonlocal done
            self._weights(found[done : done + size])
            done += size

        if shape.weights == chunk:
            for kernel in range(count):
                take(1)
                biases[kernel] = self._signed()
                take(chunk - 1)
                places[kernel] = self._number(32)
        else:
            for kernel in range(count):
                take(1 if kernel == 0 else first)
                biases[kernel] = self._signed()
            middle = first - 1 + count * (shape.weights - first - last)
            for kernel in range(count):
                take(last if kernel else middle + last)
                places[kernel] = self._number(32)
        return self._arranged(found, count, chunk), biases, places

    def _arranged(self, found: Bytes, count: int, chunk: int) -> Bytes:
        """Put weights from stream order into ``(kernels, channels, rows, columns)``."""
        shape = self._shape
        whole = shape.weights // chunk * chunk
        body = found[: count * whole].reshape(-1, count, chunk).transpose(1, 0, 2).reshape(count, whole)
        flat = np.concatenate([body, found[count * whole :].reshape(count, -1)], axis=1)
        if self._in_pairs:
            ordered = np.empty_like(flat).reshape(count, shape.channels, chunk)
            ordered[..., weight_order(shape.rows, shape.columns)] = flat.reshape(ordered.shape)
            flat = ordered
        return flat.reshape(count, shape.channels, shape.rows, shape.columns)

    def _weights(self, out: Bytes) -> None:
        """Fill ``out`` with the weights up to the next 32-bit number."""
        if out.size <= _FEW:
            self._few(out)
        elif self.run_bits == 0:
            values = self._symbols(out.size, 8)
            if values.size < out.size:
                self._ends()
            out[:] = values
            self._place += 8 * out.size
        else:
            self._many(out)

    def _few(self, out: Bytes) -> None:
        """Read symbol by symbol, without leaving this function: there are two short segments to every kernel."""
        place, data, bits = self._place, self._bytes, self.run_bits
        mask, width = (1 << bits) - 1, 8 + bits
        found: list[int] = []
        while len(found) < out.size:
            word = int.from_bytes(data[place >> 3 : (place >> 3) + 4], "little") >> (place & 7)
            if word & mask:
                found += [self._shape.zero_point] * (word & mask)
            found.append(word >> bits & 0xFF)
            place += width
        if place > self._bits:
            self._ends()
        if len(found) > out.size:
            refuse(f"a run ends {len(found) - out.size} weights behind a bias or an output offset")
        out[:] = found
        self._place = place

    def _many(self, out: Bytes) -> None:
        width = 8 + self.run_bits
        out[:] = self._shape.zero_point
        done = 0
        while done < out.size:
            symbols = self._symbols(min(out.size - done, 1 << 16), width)
            ends = done + np.cumsum((symbols & (1 << self.run_bits) - 1) + 1, dtype=np.int64)
            count = int(np.searchsorted(ends, out.size)) + 1
            ends = ends[:count]
            if not ends.size:
                self._ends()
            if ends[-1] > out.size:
                refuse(f"a run ends {ends[-1] - out.size} weights behind a bias or an output offset")
            out[ends - 1] = symbols[:count] >> self.run_bits
            done = int(ends[-1])
            self._place += width * int(ends.size)

    def _symbols(self, count: int, width: int) -> Int64:
        """Return up to ``count`` symbols from here on, fewer where the stream ends."""
        count = max(0, min(count, (self._bits - self._place) // width))
        places = self._place + width * np.arange(count)
        found: Int64 = (self._windows[places >> 3] >> (places & 7) & (1 << width) - 1).astype(np.int64)
        return found

    def _number(self, bits: int) -> int:
        place = self._place
        if place + bits > self._bits:
            self._ends()
        self._place = place + bits
        word = int.from_bytes(self._bytes[place >> 3 : (place >> 3) + 5], "little")
        return word >> (place & 7) & (1 << bits) - 1

    def _signed(self) -> int:
        value = self._number(32)
        return value - (1 << 32) if value >> 31 else value

    def _ends(self) -> None:
        refuse(f"a core's stream of {self._bits // 8} bytes ends before its kernels do")
