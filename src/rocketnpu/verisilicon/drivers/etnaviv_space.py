"""The kernel's memory for the streams of submissions that have not run: one for all files of a device.

Restates etnaviv_cmdbuf.c of Linux: 512 KiB in granules of 4 KiB, of which a stream gets a power of two; a submission
waits for room, and is refused where none comes free in time.
"""

from __future__ import annotations

import errno
import threading

SECONDS = 130.0
"""That a submission waits: the kernel's ten, and what a simulated NPU needs more than a real one."""
_GRANULE, _GRANULES = 4096, 128
_TAIL, _ALIGNMENT = 8, 8
"""Bytes that the kernel writes behind a stream, and what it is rounded up to before."""
Room = tuple[int, int]
"""First granule, and how many."""


class CommandSpace:
    """Room for streams. Safe to be called from several threads."""

    def __init__(self) -> None:
        """Start empty."""
        self._taken = bytearray(_GRANULES)
        self._changed = threading.Condition()

    def take(self, size: int) -> Room:
        """Return room for a stream of ``size`` bytes; wait for it.

        Raises:
            OSError: ETIMEDOUT, no room came free in time.
        """
        held = -(-size // _ALIGNMENT) * _ALIGNMENT + _TAIL
        count = 1 << (-(-held // _GRANULE) - 1).bit_length()
        with self._changed:
            while (first := self._find(count)) is None:
                if not self._changed.wait(SECONDS):
                    raise OSError(errno.ETIMEDOUT, "no room for a stream came free")
            self._taken[first : first + count] = b"\1" * count
        return first, count

    def _find(self, count: int) -> int | None:
        places = range(0, _GRANULES - count + 1, count)
        return next((first for first in places if not any(self._taken[first : first + count])), None)

    def give_back(self, room: Room) -> None:
        """Make room."""
        first, count = room
        with self._changed:
            self._taken[first : first + count] = bytes(count)
            self._changed.notify_all()
