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
from dataclasses import dataclass

OP_IOCTL, OP_MMAP = 1, 2
REQUEST = struct.Struct("<IIQQ")
"""Operation, ioctl number, mmap offset, mmap length."""
REPLY = struct.Struct("<iI")
"""Error number, zero."""
JOB_HEAD = struct.Struct("<iIII")
"""Error found while copying the job, task count, handles read, handles written."""
TASK = struct.Struct("<II")
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


@dataclass(frozen=True, slots=True)
class WireJob:
    """A job as the program gave it."""

    error: int
    tasks: tuple[tuple[int, int], ...]
    """Address and 64-bit words of each command list."""
    reads: tuple[int, ...]
    writes: tuple[int, ...]


def parse_jobs(data: bytes, count: int) -> list[WireJob]:
    """Read ``count`` jobs.

    Raises:
        ValueError: the data is too short; the shim never sends such, a program that writes to the socket may.
    """
    jobs, place = [], 0
    for _ in range(count):
        try:
            error, tasks, reads, writes = JOB_HEAD.unpack_from(data, place)
            place += JOB_HEAD.size
            if place + tasks * TASK.size + (reads + writes) * 4 > len(data):
                raise ValueError("a job is cut short")
            pairs = tuple(TASK.iter_unpack(data[place : place + tasks * TASK.size]))
            place += tasks * TASK.size
            handles = struct.unpack_from(f"<{reads + writes}I", data, place)
            place += 4 * (reads + writes)
        except struct.error as problem:
            raise ValueError(str(problem)) from None
        jobs.append(WireJob(error, pairs, handles[:reads], handles[reads:]))
    return jobs
