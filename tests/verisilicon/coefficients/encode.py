"""Coefficient buffers written from the description, bit by bit, so that reading them can be tested (facts 5, 6)."""

from __future__ import annotations

import numpy as np


class Bits:
    """A stream of bits, the low ones first."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> place & 1 for place in range(count)]

    def bytes(self, alignment: int) -> bytes:
        padded = self.bits + [0] * (-len(self.bits) % (8 * alignment))
        return np.packbits(np.array(padded, np.uint8), bitorder="little").tobytes()


def blocks(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def row_pairs(rows: int, columns: int) -> list[tuple[int, int]]:
    """Places of one channel's weights in stream order."""
    found = []
    for top in range(0, rows, 2):
        for side in (range(min(3, columns)), range(3, columns)):
            found += [(row, column) for row in range(top, min(top + 2, rows)) for column in side]
    return found


def zero_runs(weights, biases, *, per_core, zero_point, cores, run_bits, plane) -> bytes:
    """Write generation 7; ``weights`` is (kernels, channels, rows, columns)."""
    kernels = len(weights)
    used = min(kernels, cores)
    share = -(-kernels // used)
    streams = []
    for core in range(used):
        out = Bits()
        out.put(run_bits, 8)
        out.put(share, 16)
        for number, block in enumerate(blocks(share, per_core)):
            first = core * len(block) + number * per_core * used
            _superblock(out, [first + i for i in range(len(block))], weights, biases, zero_point, run_bits, plane)
        streams.append(out.bytes(64))
    sizes = np.zeros(-(-4 * cores // 64) * 16, "<u4")
    sizes[: len(streams)] = [len(stream) for stream in streams]
    return sizes.tobytes() + b"".join(streams)


def _superblock(out, numbers, weights, biases, zero_point, run_bits, plane) -> None:
    kernels, channels, rows, columns = weights.shape
    if rows == columns == 1:
        chunks = [[(channel, 0, 0) for channel in block] for block in blocks(channels, 6)]
    else:
        chunks = [[(channel, *place) for place in row_pairs(rows, columns)] for channel in range(channels)]
    run = 0
    written = dict.fromkeys(numbers, 0)
    total = channels * rows * columns

    def flush() -> None:
        nonlocal run
        if run:
            out.put(run - 1, run_bits)
            out.put(zero_point, 8)
            run = 0

    for chunk in chunks:
        for number in numbers:
            for channel, row, column in chunk:
                value = int(weights[number, channel, row, column]) if number < kernels else 7
                if run_bits and value == zero_point and run < 1 << run_bits:
                    run += 1
                else:
                    if run_bits and run == 1 << run_bits:
                        flush()
                    if run_bits:
                        out.put(run, run_bits)
                        run = 0
                    out.put(value, 8)
                written[number] += 1
                if written[number] == 1:
                    flush()
                    out.put(int(biases[number]) & 0xFFFFFFFF if number < kernels else 0, 32)
                if written[number] == total:
                    flush()
                    out.put(number * plane if number < kernels else 0x7FFFFFFF, 32)


CODES = {0: (0, 2), 1: (1, 2), 2: (7, 3), 3: (3, 3), 4: (6, 3)}
EXTENSIONS = {5: (1, 1), 6: (2, 2), 7: (0, 2)}


def _symbol(byte: int, order: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return the bits of a byte's code, extension and value."""
    sign = byte >> 7
    magnitude = byte ^ 0xFF if sign else byte
    length = magnitude.bit_length()
    value = [sign] + [magnitude >> place & 1 for place in range(length - 1)]
    symbol = order.index(length)
    if symbol in CODES:
        code, width = CODES[symbol]
        bits = [code >> place & 1 for place in range(width)]
        return ([*bits, value.pop(0)] if width == 2 else bits), [], value
    code, width = EXTENSIONS[symbol]
    extension = [code >> place & 1 for place in range(width)]
    return [0, 1, 0], extension + ([value.pop(0)] if width == 1 else []), value


def entropy(weights, biases, *, per_core, zero_point, cores, order, depthwise=False) -> bytes:
    """Write generation 8; ``order`` gives each symbol the bit length that it stands for."""
    kernels = len(weights)
    used = min(kernels, cores)
    counts = [kernels // used + (core < kernels % used) for core in range(used)]
    streams = []
    for core, count in enumerate(counts):
        data = [count & 0xFF, count >> 8]
        for number, block in enumerate(blocks(count, per_core)):
            channels = [_channel(core, index, number, counts, per_core, kernels, depthwise) for index in block]
            flat = [((weights[channel].astype(int) - zero_point) & 0xFF).ravel().tolist() for channel in channels]
            flat = [values + [0] * (-len(values) % 9) for values in flat]
            if depthwise:
                data += [value for values in flat for value in values]
            else:
                data += [v for start in range(0, len(flat[0]), 9) for values in flat for v in values[start : start + 9]]
        streams.append(_pairs(data, order))
    header = bytearray(64)
    header[0] = 0x10
    header[20:24] = sum(length << 4 * symbol for symbol, length in enumerate(order)).to_bytes(4, "little")
    for core, stream in enumerate(streams):
        header[28 + 4 * core : 32 + 4 * core] = len(stream.bits).to_bytes(4, "little")
    return bytes(header) + b"".join(stream.bytes(64) for stream in streams) + np.array(biases, "<i4").tobytes()


def _channel(core, index, number, counts, per_core, kernels, depthwise) -> int:
    used = len(counts)
    if depthwise:
        channel = used - 1 - core + used * index
        rest = kernels % used
        return channel - (used - rest if rest and index == kernels // used else 0)
    before = sum(min(max(count - number * per_core, 0), per_core) for count in counts[:core])
    return number * per_core * used + before + index - number * per_core


def _pairs(data: list[int], order: list[int]) -> Bits:
    odd = len(data) % 2
    symbols = [_symbol(byte, order) for byte in data + [0] * odd]
    pairs = [symbols[place : place + 2] for place in range(0, len(symbols), 2)]
    dummy = [0, 0, 1 - odd]
    out = Bits()
    for step in range(len(pairs) + 2):
        for symbol in pairs[step] if step < len(pairs) else ():
            out.bits += symbol[0]
        if step >= len(pairs):
            out.bits += dummy * 2
        for symbol in pairs[step - 1] if 0 <= step - 1 < len(pairs) else ():
            out.bits += symbol[1]
        for symbol in pairs[step - 2] if 0 <= step - 2 < len(pairs) else ():
            out.bits += symbol[2]
    return out
