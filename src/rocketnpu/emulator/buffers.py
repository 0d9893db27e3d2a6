"""A buffer object of the emulated node: a memfd that the program under test and the simulator both map."""

from __future__ import annotations

import mmap
import os

import numpy as np
import numpy.typing as npt

from rocketnpu.address_space import PAGE


class BufferObject:
    """Zero-filled shared memory at an NPU address. Lives while its handle or a job that lists it does."""

    def __init__(self, size: int, address: int) -> None:
        """Allocate ``size`` bytes, rounded up to pages.

        Raises:
            OSError: no memory or no descriptor.
        """
        self.size, self.address = size, address
        self.mapped_size = -(-size // PAGE) * PAGE
        self.references = 1
        """Of its handle and of jobs."""
        self.named = True
        """Whether a handle stands for it still."""
        self.offset = 0
        """For mmap; set by the file, unique within it."""
        self.descriptor = os.memfd_create("rocketnpu-bo", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, self.mapped_size)
            self._map = mmap.mmap(self.descriptor, self.mapped_size)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.array: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)

    @property
    def in_use(self) -> bool:
        """Whether a job lists it."""
        return self.references > int(self.named)

    def close(self) -> None:
        """Free it. The program's own mappings stay, as memory mappings do."""
        os.close(self.descriptor)
        del self.array
        # Where the simulator still holds a view, the mapping ends with that view.
        try:
            self._map.close()
        except BufferError:
            del self._map
