"""Places in a program's buffers that carry an address, and how each is filled when the program is placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import DeviceError

Int64 = npt.NDArray[np.int64]
DTYPES = {4: "<u4", 8: "<u8"}
"""NumPy's type of a little-endian word, by its bytes."""


@dataclass(frozen=True, eq=False)
class Relocations:
    """A table of places, as columns of one length.

    The word of ``widths[i]`` bytes at byte ``offsets[i]`` of buffer ``targets[i]`` gets, in the bits of ``masks[i]``,
    the value ``address(buffers[i]) + addends[i]``, shifted left by ``shifts[i]``, or right where that is negative.
    """

    targets: Int64
    offsets: Int64
    buffers: Int64
    addends: Int64
    widths: Int64
    shifts: Int64
    masks: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def uniform(
        cls, places: tuple[int, Int64], values: tuple[Int64, Int64], *, width: int, shift: int, mask: int
    ) -> Relocations:
        """Make a table of words of one kind in one buffer.

        Args:
            places: the buffer that is filled, and bytes from its start.
            values: buffers whose addresses are filled in, and what is added to each.
            width: bytes of a word.
            shift: how far left its value goes.
            mask: the bits that it fills.
        """
        target, offsets = places
        count = len(offsets)
        return cls(
            np.full(count, target, np.int64),
            offsets,
            *values,
            np.full(count, width, np.int64),
            np.full(count, shift, np.int64),
            np.full(count, mask, np.uint64),
        )

    def apply(self, memories: Sequence[memoryview | npt.NDArray[np.uint8]], addresses: Sequence[int]) -> None:
        """Fill every place.

        Args:
            memories: each buffer's bytes, writable.
            addresses: each buffer's address as the NPU sees it.

        Raises:
            DeviceError: an address does not fit the bits that it is to fill.
        """
        values = np.array(addresses, np.int64)[self.buffers] + self.addends
        kinds = np.stack([self.targets, self.widths, self.shifts, self.masks.view(np.int64)])
        for target, width, shift, mask in np.unique(kinds, axis=1).T:
            chosen = np.flatnonzero((kinds == np.array([[target], [width], [shift], [mask]])).all(axis=0))
            bits = np.uint64(int(mask) & (1 << 64) - 1)
            filled = _shifted(values[chosen], int(shift))
            if np.any(filled & ~bits) or (shift < 0 and np.any(values[chosen] & (1 << -int(shift)) - 1)):
                raise DeviceError(f"an address does not fit a command word: 0x{int(values[chosen].max()):x}")
            words = np.frombuffer(memories[target], DTYPES[int(width)])
            places = self.offsets[chosen] // width
            words[places] = (words[places] & ~bits.astype(words.dtype)) | filled.astype(words.dtype)

    def columns(self) -> Int64:
        """Return the table as one array of 64-bit integers, a row for each column, in the order of the fields."""
        return np.stack([getattr(self, field.name).view(np.int64) for field in fields(self)])

    @classmethod
    def from_columns(cls, columns: Int64) -> Relocations:
        """Make a table of what :meth:`columns` returns."""
        targets, offsets, buffers, addends, widths, shifts, masks = columns
        return cls(targets, offsets, buffers, addends, widths, shifts, masks.view(np.uint64))


def _shifted(values: Int64, shift: int) -> npt.NDArray[np.uint64]:
    moved = values << shift if shift >= 0 else values >> -shift
    return moved.astype(np.uint64)
