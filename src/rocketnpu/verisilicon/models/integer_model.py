"""The integer model of the chip: what a task must give, in plain numbers, without tiles, coefficients or instructions.

It shares a task's numbers with the compiler, and nothing with the simulator: equal bytes mean that packing, fields,
addresses and the simulator's arithmetic all agree. Rounding is half away from zero: assumed (rule ``rounding``).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from rocketnpu.verisilicon.tasks.task import Convolution, Lookup, Move, MoveKind

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
BYTES = 256
_LARGE = 1 << 53


def convolution_output(task: Convolution, source: Bytes) -> Bytes:
    """Compute a convolution.

    Args:
        task: the task.
        source: its image, ``(channels, rows, columns)``.

    Returns:
        What it writes, ``(kernels, rows, columns)``.
    """
    sums = _sums(task, source.astype(np.int64) - task.border) + task.biases[:, None, None]
    scale = task.scale
    product = sums * ((1 << scale.bits) + scale.fraction)
    if int(np.abs(sums).max(initial=0)) * (2 << scale.bits) >= 1 << 62 or scale.shift >= 62:
        product = sums.astype(object) * ((1 << scale.bits) + scale.fraction)
    half = 1 << scale.shift >> 1
    found = np.sign(product) * ((np.abs(product) + half) // (1 << scale.shift)) + task.out_zero_point
    result: Bytes = np.clip(found, task.out_zero_point if task.relu else 0, BYTES - 1).astype(np.uint8)
    return result


def _sums(task: Convolution, centred: Int64) -> Int64:
    """Sum products over the windows, tap by tap."""
    kernels, _, rows, columns = task.weights.shape
    net = task.weights.astype(np.int16) - np.int16(task.zero_point)
    height, width = task.target.height, task.target.width
    extent = [(size - 1) * task.step + taps for size, taps in ((height, rows), (width, columns))]
    whole = [
        max(e, front + size) for e, front, size in zip(extent, (task.top, task.left), centred.shape[1:], strict=True)
    ]
    padded = np.zeros((len(centred), *whole), np.float64)
    padded[:, task.top : task.top + centred.shape[1], task.left : task.left + centred.shape[2]] = centred
    total = np.zeros((kernels, height, width), np.float64)
    assert BYTES * BYTES * int(np.prod(task.weights.shape[1:])) < _LARGE
    for row in range(rows):
        for column in range(columns):
            taps = net[:, :, row, column].astype(np.float64)
            if not taps.any():
                continue
            view = padded[:, row : row + extent[0] - rows + 1, column : column + extent[1] - columns + 1]
            view = view[:, :: task.step, :: task.step]
            if task.depthwise:
                total += view * taps[:, :, None]
            else:
                total += np.tensordot(taps, view, axes=1)
    exact: Int64 = total.astype(np.int64)
    return exact


def move_output(
    task: Move, source: Bytes, table: npt.NDArray[np.uint32] | None = None, before: Bytes | None = None
) -> Bytes:
    """Compute a move.

    Args:
        task: the task.
        source: what it reads, in the shape of its source.
        table: words of the look-up table, where there is one.
        before: what lies at its target before, in the target's shape; only placing reads it.

    Returns:
        What it writes, in the order of memory, in the shape of its target.
    """
    target = task.target
    if task.kind is MoveKind.LOOKUP:
        assert table is not None
        assert task.lookup is not None
        return byte_function(task.lookup, table)[source]
    if task.kind is MoveKind.PLACE:
        assert before is not None
        found = before.copy()
        found[:, task.top : task.top + source.shape[1], task.left : task.left + source.shape[2]] = source
        return found
    if task.kind is MoveKind.TO_PIXELS:
        return source.transpose(1, 2, 0).reshape(target.channels, target.height, target.width)
    if task.kind is MoveKind.TO_PLANES:
        pixels = source.reshape(target.height, target.width, target.channels)
        return pixels.transpose(2, 0, 1)
    if task.kind is MoveKind.QUARTER:
        padded = _framed(source, task, 2 * target.height, 2 * target.width)
        found = np.empty((target.channels, target.height, target.width), np.uint8)
        for number in range(4):
            found[number::4] = padded[:, number >> 1 :: 2, number & 1 :: 2]
        return found
    return _framed(source, task, target.height, target.width)


def _framed(source: Bytes, task: Move, height: int, width: int) -> Bytes:
    """Return a map of some size with the source in it, or a part of the source."""
    rows, columns = np.arange(height) - task.top, np.arange(width) - task.left
    inside = ((rows >= 0) & (rows < source.shape[1]))[:, None] & (columns >= 0) & (columns < source.shape[2])
    taken = source[:, np.clip(rows, 0, source.shape[1] - 1)][:, :, np.clip(columns, 0, source.shape[2] - 1)]
    return np.where(inside, taken, np.uint8(task.fill))


def byte_function(lookup: Lookup, table: npt.NDArray[np.uint32]) -> Bytes:
    """Return what a look-up makes of each byte, in exact fractions."""
    found = np.empty(BYTES, np.uint8)
    for byte in range(BYTES):
        exact = _between(byte - lookup.in_zero_point, table)
        size = math.floor(abs(exact) + Fraction(1, 2))
        found[byte] = min(max((size if exact >= 0 else -size) + lookup.out_zero_point, 0), BYTES - 1)
    return found


def _between(number: int, table: npt.NDArray[np.uint32]) -> Fraction:
    """Return the straight line between two entries at a number: sixteen entries to each power of two."""
    if number == 0:
        return _real(int(table[0]))
    power = abs(number).bit_length() - 1
    steps = Fraction(abs(number) - (1 << power)) * 16 / (1 << power)
    entry = 512 * (number < 0) + 16 * (15 + power) + int(steps)
    low, high = _real(int(table[entry])), _real(int(table[entry + 1]))
    return low + (high - low) * (steps - int(steps))


def _real(word: int) -> Fraction:
    """Return the value of a 21-bit float: sign, five bits of exponent, fifteen of mantissa."""
    exponent = word >> 15 & 31
    if not exponent:
        return Fraction(0)
    size = Fraction((1 << 15) + (word & 0x7FFF), 1 << 15) * Fraction(2) ** (exponent - 15)
    return -size if word >> 20 & 1 else size
