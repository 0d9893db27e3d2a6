"""Device memory: buffers at 32-bit addresses, and views of them as the units' address generators walk them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import DeviceError, SimulationError

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

ADDRESS_SPACE = 1 << 32
"""Registers hold 32-bit addresses (spec 1.1)."""


class Memory:
    """A sparse address space. Reads and writes go straight to the arrays that were mapped, without copies."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._arrays: list[Bytes] = []
        self.on_unmap: list[Callable[[], None]] = []
        """Called when a buffer has gone: whoever keeps views lets go of them."""

    def map(self, address: int, buffer: Bytes | memoryview | bytearray | bytes) -> None:
        """Make ``buffer`` visible at ``address``. Read-only memory is allowed; writing to it is an error then.

        Raises:
            DeviceError: empty, outside the 32-bit space, or overlapping another mapping.
        """
        array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
        if array.dtype != np.uint8 or array.ndim != 1 or not array.flags.c_contiguous:
            raise DeviceError("only contiguous one-dimensional uint8 arrays can be mapped")
        end = address + array.size
        if not array.size or address < 0 or end > ADDRESS_SPACE:
            raise DeviceError(f"cannot map {array.size} bytes at 0x{address:x}: empty, or outside 32 bits")
        place = bisect_right(self._starts, address)
        before = self._starts[place - 1] + self._arrays[place - 1].size if place else 0
        after = self._starts[place] if place < len(self._starts) else ADDRESS_SPACE
        if before > address or end > after:
            raise DeviceError(f"0x{address:x}..0x{end - 1:x} overlaps memory that is mapped already")
        self._starts.insert(place, address)
        self._arrays.insert(place, array)

    def unmap(self, address: int) -> None:
        """Forget the buffer that starts at ``address``.

        Raises:
            DeviceError: none starts there.
        """
        place = bisect_right(self._starts, address) - 1
        if place < 0 or self._starts[place] != address:
            raise DeviceError(f"no buffer starts at 0x{address:x}")
        del self._starts[place], self._arrays[place]
        for let_go in self.on_unmap:
            let_go()

    def starts_within(self, low: int, high: int) -> list[int]:
        """Return where the buffers start that hold a byte of ``low..high-1``, in order."""
        first = bisect_right(self._starts, low) - 1
        if first < 0 or self._starts[first] + self._arrays[first].size <= low:
            first += 1
        return self._starts[first : bisect_left(self._starts, high)]

    def gap(self, size: int, low: int, high: int) -> int | None:
        """Return the lowest address from ``low`` on where ``size`` bytes are free below ``high``."""
        place = bisect_right(self._starts, low) - 1
        for start, array in zip(self._starts[max(place, 0) :], self._arrays[max(place, 0) :], strict=True):
            if low + size <= start:
                break
            low = max(low, start + array.size)
        return low if low + size <= high else None

    def find(self, low: int, high: int) -> tuple[Bytes, int] | None:
        """Return the array that holds bytes ``low..high-1``, and the offset of ``low`` in it; None if none does."""
        place = bisect_right(self._starts, low) - 1
        if place < 0:
            return None
        start, array = self._starts[place], self._arrays[place]
        return (array, low - start) if high <= start + array.size else None

    def view(
        self,
        address: int,
        shape: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        unit: str,
        register: str,
        dtype: npt.DTypeLike = np.uint8,
        write: bool = False,
    ) -> Array:
        """View memory as an array whose first element lies at ``address``; strides in bytes, of either sign.

        Raises:
            SimulationError: an element lies outside every buffer, or in another one than the first, or in read-only
            memory.
        """
        kind = np.dtype(dtype)
        if strides is None:
            strides = _packed(shape, kind.itemsize)
        reach = [(count - 1) * stride for count, stride in zip(shape, strides, strict=True)]
        low = address + sum(step for step in reach if step < 0)
        high = address + sum(step for step in reach if step > 0) + kind.itemsize
        found = self.find(low, high)
        if found is None:
            raise SimulationError(
                f"{'write' if write else 'read'} of 0x{low:x}..0x{high - 1:x} leaves the mapped buffers "
                f"({self._neighbour(low)})",
                unit=unit,
                register=register,
            )
        array, offset = found
        if write and not array.flags.writeable:
            raise SimulationError(f"write to read-only memory at 0x{low:x}", unit=unit, register=register)
        return np.ndarray(tuple(shape), kind, array, offset + address - low, tuple(strides))

    def _neighbour(self, address: int) -> str:
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return "no buffer begins at or below that address"
        start = self._starts[place]
        return f"the buffer below is 0x{start:x}..0x{start + self._arrays[place].size - 1:x}"


def _packed(shape: Sequence[int], itemsize: int) -> list[int]:
    strides, step = [], itemsize
    for count in reversed(shape):
        strides.append(step)
        step *= count
    return strides[::-1]
