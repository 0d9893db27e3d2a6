"""Integer arithmetic as rules and their alternatives word it, on whole arrays. Nothing here is the simulator's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def half_even(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, ties to the even neighbour."""
    low: Int64 = values >> shift
    twice = (values - (low << shift)) * 2
    found: Int64 = low + ((twice > 1 << shift) | ((twice == 1 << shift) & (low % 2 == 1)))
    return found


def half_up(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, ties upwards."""
    return values + (1 << shift >> 1) >> shift


def half_away(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, ties away from zero."""
    magnitude: Int64 = np.abs(values) + (1 << shift >> 1) >> shift
    return np.where(values < 0, -magnitude, magnitude)


def floored(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, downwards."""
    return values >> shift


def wrapped(values: Int64, bits: int) -> Int64:
    """Keep the lowest bits, as a signed number."""
    half = 1 << bits - 1
    return ((values + half) & ((1 << bits) - 1)) - half


def windows(values: Int64, size: tuple[int, int], kernel: tuple[int, int], step: tuple[int, int]) -> Int64:
    """Return ``(taps, rows, columns, channels)``: what each tap of a kernel sees, beyond the map zero."""
    rows, columns = size
    reach = (rows + (kernel[0] - 1) * step[0], columns + (kernel[1] - 1) * step[1])
    padded = np.zeros((max(reach[0], values.shape[0]), max(reach[1], values.shape[1]), values.shape[2]), np.int64)
    padded[: values.shape[0], : values.shape[1]] = values
    return np.stack(
        [
            padded[y * step[0] : y * step[0] + rows, x * step[1] : x * step[1] + columns]
            for y in range(kernel[0])
            for x in range(kernel[1])
        ]
    )
