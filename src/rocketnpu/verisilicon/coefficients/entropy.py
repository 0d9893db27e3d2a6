"""Coefficients of generation 8: an entropy code in pairs of bytes, three stages deep, and the biases behind (facts 6).

A buffer is a header of 64 bytes, the streams of the cores that have kernels, each at a multiple of 64 bytes, and one
32-bit bias an output channel. Step i of a stream holds the two 3-bit codes of pair i, the extensions of pair i - 1
and the values of pair i - 2. A code names one of eight symbols; the header gives each symbol a length, the number of
bits of the bytes that it stands for.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

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

HEADER = 64
BLOCK = 9
"""Weights of one kernel that lie together (facts 6)."""
_VERSION = 0x10
"""Byte 0: version 1, no 16-bit weights, no code in front (facts 6)."""
_EXTENSION = 2
"""The code that two more bits extend."""
_CODE_BITS, _EXTENSION_BITS = 3, 2


def _code(code: int) -> tuple[int, int]:
    """Return a 3-bit code's symbol and how many bits of its value it has taken along; -1 for the extension."""
    if code & 3 in (0, 1):
        return code & 3, 1
    return {7: (2, 0), 3: (3, 0), 6: (4, 0), _EXTENSION: (-1, 0)}[code]


def _extended(bits: int) -> tuple[int, int]:
    """Return the symbol of an extension, and how many bits of its value it has taken along."""
    if bits & 1:
        return 5, 1
    return (6, 0) if bits & 2 else (7, 0)


_NO_PAIR = 1 << 2 * _CODE_BITS
"""Stands for the pair before the first."""
_PAIR_EXTENSIONS = np.array(
    [_EXTENSION_BITS * ((pair & 7 == _EXTENSION) + (pair >> 3 == _EXTENSION)) for pair in range(_NO_PAIR)]
)
"""Bits of extension that each pair of codes asks for."""


def read_entropy(data: Bytes, shape: KernelShape) -> Kernels:
    """Read a coefficient buffer; ``data`` begins with its header and may be longer than it.

    Raises:
        SimulationError: the buffer ends early, contradicts itself or the instruction, or uses what is not known.
    """
    lengths, bits = _header(data, shape)
    start = HEADER
    counts = [shape.kernels // shape.used + (core < shape.kernels % shape.used) for core in range(shape.used)]
    weights, places, sizes = [], [], []
    for core, (count, size) in enumerate(zip(counts, bits, strict=True)):
        length = -(-size // 8)
        if length > data.size - start:
            refuse(f"the stream of core {core} claims {size} bits, {8 * (data.size - start)} are mapped")
        found = _core(data[start : start + length], size, count, lengths, shape)
        weights.append(found)
        places.append(_places(core, count, shape))
        sizes.append(length)
        start += -(-length // STREAM_ALIGNMENT) * STREAM_ALIGNMENT
    if data.size < start + 4 * shape.kernels:
        refuse(f"{shape.kernels} biases do not fit the {max(0, data.size - start)} bytes behind the streams")
    order = np.concatenate(places)
    biases = data[start : start + 4 * shape.kernels].view("<i4").astype(np.int64)
    if order.min() < 0 or order.max() >= shape.kernels:
        refuse(f"kernels go to planes {order.min()}..{order.max()}, there are {shape.kernels}")
    end = start + 4 * shape.kernels
    return Kernels(np.concatenate(weights), biases[order], order, (), tuple(sizes), end)


def _header(data: Bytes, shape: KernelShape) -> tuple[tuple[int, ...], list[int]]:
    """Return the symbols' lengths and the bits of each core's stream."""
    if data.size < HEADER:
        refuse(f"a header of {HEADER} bytes does not fit the {data.size} that are mapped")
    if data[0] != _VERSION:
        refuse(f"the header begins with 0x{data[0]:02x}; only 0x{_VERSION:02x} (version 1, bytes) is known")
    if data[1:20].any():
        refuse("the header has a table of runs: not known for this generation")
    if data[24:28].any():
        refuse("the header has an average bias: not known for this generation")
    packed = int.from_bytes(data[20:24].tobytes(), "little")
    lengths = tuple(packed >> 4 * symbol & 15 for symbol in range(8))
    if max(lengths) > 8:
        refuse(f"a symbol of {max(lengths)} bits; bytes have no more than 8")
    return lengths, data[28 : 28 + 4 * shape.cores].view("<u4")[: shape.used].tolist()


def _core(data: Bytes, bits: int, count: int, lengths: tuple[int, ...], shape: KernelShape) -> Bytes:
    """Return the weights of one core, ``(kernels, channels, rows, columns)``."""
    per_kernel = shape.weights
    padded = -(-per_kernel // BLOCK) * BLOCK
    if count * padded > MAX_WEIGHTS:
        refuse(f"{count} kernels of {padded} weights are more than any job can hold")
    values = _decoded(data, bits, 2 + count * padded, lengths)
    said = int(values[0]) | int(values[1]) << 8
    if said != count:
        refuse(f"a core's stream says {said} kernels, its share of {shape.kernels} is {count}")
    parts, start = [], 2
    for size in superblocks(count, shape.per_core):
        part = values[start : start + size * padded]
        if not shape.depthwise:
            part = part.reshape(-1, size, BLOCK).transpose(1, 0, 2)
        parts.append(part.reshape(size, padded)[:, :per_kernel])
        start += size * padded
    found = np.concatenate(parts) + np.uint8(shape.zero_point)
    return found.reshape(count, shape.channels, shape.rows, shape.columns)


def _places(core: int, count: int, shape: KernelShape) -> Int64:
    """Return the output planes of one core's kernels."""
    kernels, used, full = shape.kernels, shape.used, shape.per_core
    number = np.arange(count)
    if shape.depthwise:
        found: Int64 = used - 1 - core + used * number
        rest = kernels % used
        if rest and count > kernels // used:
            found[-1] -= used - rest
        return found
    totals = np.array([kernels // used + (other < kernels % used) for other in range(used)])
    block = number // full
    before = np.clip(totals[:core, None] - block * full, 0, full).sum(axis=0)
    places: Int64 = block * full * used + before + number % full
    return places


def _decoded(data: Bytes, bits: int, count: int, lengths: tuple[int, ...]) -> Bytes:
    """Return the first ``count`` bytes of a stream."""
    pairs = -(-count // 2)
    codes, places = _walk(data, bits, pairs, lengths)
    window = np.ndarray((data.size + 4,), "<u4", data.tobytes() + bytes(8), strides=(1,))

    def take(at: npt.NDArray[np.int64], width: npt.NDArray[np.uint8]) -> Bytes:
        found: Bytes = (window[at >> 3] >> (at & 7).astype(np.uint32)).astype(np.uint8)
        found &= _MASKS[width]
        return found

    both = np.stack([codes & 7, codes >> 3], axis=1)
    extended = both == _EXTENSION
    # Where the extensions of pair i lie: behind the codes of step i + 1.
    behind = places[1 : pairs + 1] + 2 * _CODE_BITS
    at = np.stack([behind, behind + _EXTENSION_BITS * extended[:, 0]], axis=1)
    kinds = both
    kinds[extended] = _CODES + take(at[extended], np.full(int(extended.sum()), _EXTENSION_BITS, np.uint8))
    table = _Values(lengths)
    stored = table.stored[kinds]
    # Values of pair i: behind the codes of step i + 2 and the extensions of pair i + 1.
    following = np.append(codes[1:], np.uint8(0))
    begin = places[2:] + 2 * _CODE_BITS + _PAIR_EXTENSIONS[following]
    raw = take(np.stack([begin, begin + stored[:, 0]], axis=1), stored)
    known = table.signs[kinds]
    sign = np.where(known == _UNKNOWN, raw & 1, known)
    magnitude = table.leading[kinds] | np.where(known == _UNKNOWN, raw >> 1, raw)
    values = magnitude ^ (np.uint8(0) - sign)
    return values.ravel()[:count]


_CODES = 8
_UNKNOWN = 2
_MASKS = np.array([(1 << width) - 1 for width in range(9)], np.uint8)


class _Values:
    """What each code, and behind them each extension, says of its value, for one header's lengths of symbols."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        kinds = [(max(_code(code)[0], 0), _code(code)[1], code >> 2) for code in range(_CODES)]
        kinds += [(*_extended(extension), extension >> 1) for extension in range(4)]
        self.stored = np.array([max(lengths[symbol], 1) - taken for symbol, taken, _ in kinds], np.uint8)
        """Bits of the value that lie apart from the code."""
        self.signs = np.array([sign if taken else _UNKNOWN for _, taken, sign in kinds], np.uint8)
        """Sign, where the code has taken it along."""
        high = [1 << lengths[symbol] - 1 if lengths[symbol] else 0 for symbol, _, _ in kinds]
        self.leading = np.array(high, np.uint8)
        """The magnitude's leading one."""


def _walk(data: Bytes, bits: int, pairs: int, lengths: tuple[int, ...]) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Return the codes of all pairs, and where each step begins, two steps behind the last pair included.

    The only part of the decoder that cannot look at all pairs at once: where a step begins depends on the values of
    the pair two steps before. Everything else is left to arrays.
    """
    unpacked = np.concatenate([np.unpackbits(data, bitorder="little")[:bits], np.zeros(24, np.uint8)])
    windows = np.zeros(bits + 12, np.uint8)
    for bit in range(2 * _CODE_BITS):
        windows |= unpacked[bit : bit + windows.size] << bit
    code_at = windows[:bits].tobytes()
    extensions_at = (windows[2 * _CODE_BITS :] & 15)[:bits].tobytes()
    rows = _step_lengths(lengths)
    places: list[int] = []
    append = places.append
    place = behind = 0
    row = rows[_NO_PAIR]
    try:
        for _ in range(pairs):
            append(place)
            own, values = row[extensions_at[place]]
            row = rows[code_at[place]]
            place += own + behind
            behind = values
        own, values = row[extensions_at[place]]
        places += [place, place + own + behind]
        place = places[-1] + 2 * _CODE_BITS + values
    except IndexError:
        place = bits + 1
    if place > bits:
        refuse(f"a core's stream of {bits} bits ends before its kernels do")
    found = np.array(places, np.int64)
    return windows[found[:pairs]], found


@lru_cache(maxsize=64)
def _step_lengths(lengths: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """Return how many bits a step has of its own codes and the extensions before, and the values that follow later.

    By the codes of the pair before and the four bits that may extend them.
    """
    rows: list[list[tuple[int, int]]] = [[] for _ in range(_NO_PAIR)]
    for pair, extensions in product(range(_NO_PAIR), range(16)):
        left, values = extensions, 0
        for code in (pair & 7, pair >> 3):
            symbol, taken = _code(code)
            if symbol < 0:
                symbol, taken = _extended(left & 3)
                left >>= _EXTENSION_BITS
            values += max(lengths[symbol], 1) - taken
        rows[pair].append((2 * _CODE_BITS + int(_PAIR_EXTENSIONS[pair]), values))
    return [*rows, [(2 * _CODE_BITS, 0)] * 16]
