"""The guest's physical memory, which QEMU shares by descriptor with the process that plays a device."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class NoMemoryError(LookupError):
    """A physical address that is no RAM of the guest."""


@dataclass(frozen=True)
class Place:
    """Where a physical address lies: a file and an offset in it."""

    descriptor: int
    offset: int


@dataclass(frozen=True)
class _Range:
    start: int
    end: int
    place: Place
    mapping: mmap.mmap


class GuestMemory:
    """Ranges of RAM as QEMU announces and revokes them. Not thread safe; a reader must not outlive a revocation."""

    def __init__(self) -> None:
        """Start with no RAM."""
        self._ranges: list[_Range] = []

    def add(self, start: int, size: int, descriptor: int, offset: int) -> None:
        """Take ``size`` bytes of a file at ``offset`` as RAM at ``start``. The descriptor is duplicated.

        Raises:
            OSError: it cannot be mapped.
        """
        mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        self._ranges.append(_Range(start, start + size, Place(os.dup(descriptor), offset), mapping))

    def remove(self, start: int, size: int) -> None:
        """Forget the ranges inside ``start..start+size-1``."""
        gone = [found for found in self._ranges if start <= found.start and found.end <= start + size]
        self._ranges = [found for found in self._ranges if found not in gone]
        for found in gone:
            os.close(found.place.descriptor)
            del found  # an array that is still held keeps the mapping itself

    def close(self) -> None:
        """Forget all."""
        self.remove(0, 1 << 64)

    def words(self, address: int, count: int) -> npt.NDArray[np.uint32]:
        """Return ``count`` 32-bit words of RAM, shared, not copied.

        Raises:
            NoMemoryError: not all of them are RAM.
        """
        found = self._find(address, 4 * count)
        return np.frombuffer(found.mapping, "<u4", count, address - found.start)

    def place(self, address: int, size: int) -> Place:
        """Return where ``size`` bytes of RAM lie.

        Raises:
            NoMemoryError: not all of them are RAM.
        """
        found = self._find(address, size)
        return Place(found.place.descriptor, found.place.offset + address - found.start)

    def _find(self, address: int, size: int) -> _Range:
        for found in self._ranges:
            if found.start <= address and address + size <= found.end:
                return found
        raise NoMemoryError(f"the guest has no RAM at 0x{address:x}..0x{address + size - 1:x}")
