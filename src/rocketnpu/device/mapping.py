"""Memory of a kernel driver in this process, which outlives its buffer for as long as somebody looks at it."""

from __future__ import annotations

import ctypes
import weakref

from rocketnpu.device.calls import Calls


class Mapping:
    """A mapped buffer. ``view`` is its bytes.

    The mapping ends when the last memoryview or array made from ``view`` is gone, so that a forgotten array reads old
    bytes, and never memory that is not there.
    """

    def __init__(self, calls: Calls, fd: int, offset: int, size: int) -> None:
        """Map ``size`` bytes at the driver's ``offset``.

        Raises:
            OSError: the kernel refuses.
        """
        address = calls.map(fd, offset, size)
        storage = (ctypes.c_uint8 * size).from_address(address)
        self._end = weakref.finalize(storage, calls.unmap, address, size)
        # The kernel ends all mappings at exit, while arrays may still be in use by other exit handlers.
        self._end.atexit = False
        self.view = memoryview(storage).cast("B")

    @property
    def alive(self) -> bool:
        """Whether the memory is still mapped."""
        return self._end.alive

    def release(self) -> None:
        """Let go of it; it is unmapped now if nobody else looks at it."""
        view, self.view = self.view, memoryview(b"")
        try:
            view.release()
        except BufferError:
            return
