"""Messages between the shim (``shim/shim.c``) and the emulator, in both directions; host byte order.

A request is one message of a SOCK_SEQPACKET connection with one or two descriptors: the socket for the reply, and for
an ioctl a memfd that holds the argument (as long as the larger of its encoded and its declared size). What a SUBMIT
points to follows it there: for ``rocket`` the jobs, each as a :class:`WireJob` with its tasks and handles, for
``etnaviv`` the arrays of buffers, relocations and counters, and the stream.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

OP_IOCTL, OP_MMAP = 1, 2
REQUEST = struct.Struct("<IIQQ")
"""Operation, ioctl number, mmap offset, mmap length."""
REPLY = struct.Struct("<iI")
"""Error number, zero."""
JOB_HEAD = struct.Struct("<iIII")
"""Error found while copying the job, task count, handles read, handles written."""
TASK = struct.Struct("<II")
_JOB_BYTES = 1 << 10
PAYLOAD_LIMIT = 65 << 20
"""Bytes of an argument; the shim refuses more with ENOMEM."""


class Store:
    """The memfd that carries an ioctl's argument in both directions."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, offset: int = 0) -> bytes:
        """Read; a store that is too short or no memfd at all reads as zeros."""
        try:
            return os.pread(self._descriptor, size, offset).ljust(size, b"\0")
        except OSError:
            return bytes(size)

    def rest(self, start: int) -> bytes:
        """Read everything behind ``start``, up to :data:`PAYLOAD_LIMIT`."""
        length = min(os.fstat(self._descriptor).st_size, PAYLOAD_LIMIT)
        return self.read(max(0, length - start), start)

    def write(self, data: bytes) -> None:
        """Write the changed argument back."""
        os.pwrite(self._descriptor, data, 0)


class Capability(ctypes.Structure):
    """DRM_IOCTL_GET_CAP."""

    _fields_ = (("capability", ctypes.c_uint64), ("value", ctypes.c_uint64))


class Tasks(Sequence[tuple[int, int]]):
    """Address and 64-bit words of each command list, kept as the bytes that a program may send millions of."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // TASK.size

    @overload
    def __getitem__(self, place: int) -> tuple[int, int]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, int]]: ...

    def __getitem__(self, place: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        """Return a task, or several."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        address, words = TASK.unpack_from(self._data, range(len(self))[place] * TASK.size)
        return address, words

    @property
    def any_empty(self) -> bool:
        """Whether a list has no words, or there is no list."""
        return not np.frombuffer(self._data, "<u4")[1::2].all() or not self._data


@dataclass(frozen=True, slots=True)
class WireJob:
    """A job as the program gave it."""

    error: int
    tasks: Tasks
    handles: npt.NDArray[np.uint32]
    """Of buffers that it reads, then of those that it writes."""
    reads: int
    """How many it reads."""

    @property
    def size(self) -> int:
        """Bytes of memory that it takes: those of its lists, and about as much as a job without any."""
        return len(self.tasks) * TASK.size + 4 * len(self.handles) + _JOB_BYTES


def parse_jobs(data: bytes, count: int) -> Iterator[WireJob]:
    """Read ``count`` jobs, one after another.

    Raises:
        ValueError: the data is too short; the shim never sends such, a program that writes to the socket may.
    """
    place = 0
    for _ in range(count):
        try:
            error, tasks, reads, writes = JOB_HEAD.unpack_from(data, place)
        except struct.error as problem:
            raise ValueError(str(problem)) from None
        place += JOB_HEAD.size
        behind = place + tasks * TASK.size
        end = behind + (reads + writes) * 4
        if end > len(data):
            raise ValueError("a job is cut short")
        yield WireJob(error, Tasks(data[place:behind]), np.frombuffer(data[behind:end], "<u4"), reads)
        place = end
