"""Array types of the simulator, and scratch memory that its units share.

Fresh large arrays cost more in page faults than the arithmetic done in them, so units borrow from one
:class:`Scratch` a core. A name has one user at a time; taking it again ends the earlier loan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

SLOT = np.dtype(np.complex128)
"""A dtype as wide as a pixel slot (16 bytes): copying slots moves whole units instead of single channels."""


class Scratch:
    """Named, growing work areas."""

    def __init__(self) -> None:
        self._areas: dict[str, Bytes] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Borrow an uninitialised contiguous array; the previous loan under this name ends."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        area = self._areas.get(name)
        if area is None or area.size < size:
            area = self._areas[name] = np.empty(size, np.uint8)
        return area[:size].view(kind).reshape(shape)


def slots(channels_last: Array) -> Array:
    """View ``[..., 16 * n]`` bytes, channels contiguous, as ``[..., n]`` pixel slots."""
    return channels_last.view(SLOT)
