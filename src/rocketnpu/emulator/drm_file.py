"""One open file of an emulated node, whatever the driver: handles, mappings, and the DRM core's part of the ioctls.

Every ioctl is a method that returns the changed argument or raises OSError with the kernel's number. What each checks
restates the DRM core's drm_gem.c and drm_ioctl.c.
"""

from __future__ import annotations

import abc
import ctypes
import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rocketnpu.address_space import LIMIT
from rocketnpu.device import uapi
from rocketnpu.emulator.buffers import BufferObject
from rocketnpu.emulator.jobs import CorePool, JobQueue, QueuedJob
from rocketnpu.emulator.wire import Capability, Store
from rocketnpu.memory import Memory

JOB_TIMEOUT = 0.5
"""Seconds after which both kernel drivers give a job up (JOB_TIMEOUT_MS in rocket_job.c; etnaviv_sched.c)."""
PRIME_HANDLE_TO_FD = 0x2D
_MMAP_BASE = 1 << 32
"""First offset for mmap; such offsets name buffers and mean nothing else."""
_LONGEST_WAIT = 1e6
"""Seconds; condition variables take no more than some centuries."""
_CAP_PRIME, _CAP_MONOTONIC = 0x5, 0x6
"""The two capabilities that a driver without displays answers (drm_ioctl.c)."""
_CORE_ARGUMENTS: dict[int, type[ctypes.Structure]] = {0x09: uapi.GemClose, 0x0C: Capability}
"""Ioctls of the DRM core that the emulator answers, by number; the shim answers VERSION."""
Note = Callable[[str], None]
"""Told a line of what the kernel tells nobody."""


@dataclass(frozen=True)
class Limits:
    """What the emulated machine has, so that a test can run out of it."""

    address_space: int = LIMIT
    memory: int = 8 << 30
    """Bytes that all buffers of one file may hold; beyond is ENOMEM."""
    queued: int = 256 << 20
    """Bytes that the jobs of one file may hold which have not run; beyond is ENOMEM."""
    job_timeout: float = JOB_TIMEOUT


class DrmFile(abc.ABC):
    """State behind one open of the node. Safe to be called from several threads."""

    def __init__(self, pool: CorePool, limits: Limits, observe: Callable[[DrmFile, QueuedJob], None]) -> None:
        """Start with no buffer. ``observe`` is told of each finished job, with the file's lock held."""
        self.memory = Memory()
        self.handles: dict[int, BufferObject] = {}
        self._limits, self._observe = limits, observe
        self._used = self._queued = 0
        self._lowest = 1
        """No lower handle is free."""
        self._next_offset = _MMAP_BASE
        self._queue = JobQueue(self.memory, pool, limits.job_timeout, self._retire)
        self._pending: set[QueuedJob] = set()
        self._closed = False

    arguments: ClassVar[Mapping[int, type[ctypes.Structure]]]
    """What each of the driver's own ioctls takes, by its number."""

    def ioctl(self, nr: int, size: int, store: Store, note: Note) -> int | None:
        """Do an ioctl whose argument is in ``store``; return a descriptor to pass on, or None.

        Args:
            nr: number of the ioctl.
            size: bytes of the argument as the program gave them.
            store: the argument, and behind it whatever the shim copied with it.
            note: told of what the program is not told.

        Raises:
            OSError: the kernel refuses.
        """
        if nr == PRIME_HANDLE_TO_FD:
            return self.export(int.from_bytes(store.read(4), "little"))
        kind = _CORE_ARGUMENTS.get(nr) or self.arguments.get(nr)
        if kind is None:
            raise OSError(errno.EINVAL, "no such ioctl")
        argument = kind.from_buffer_copy(store.read(ctypes.sizeof(kind)))
        if isinstance(argument, uapi.GemClose):
            self.gem_close(argument)
        elif isinstance(argument, Capability):
            self.get_cap(argument)
        else:
            self.call(argument, lambda: store.rest(max(ctypes.sizeof(kind), size)), note)
        store.write(bytes(argument))
        return None

    @abc.abstractmethod
    def call(self, argument: Any, payload: Callable[[], bytes], note: Note) -> None:
        """Do one of the driver's own ioctls, and change its argument; ``payload`` is what the shim copied behind it.

        Raises:
            OSError: the kernel refuses.
        """

    @abc.abstractmethod
    def may_sleep(self, nr: int, store: Store) -> bool:
        """Say whether an ioctl has to wait for a job."""

    def _discard(self, buffer: BufferObject) -> None:  # noqa: B027 - a driver that maps nothing has nothing to do
        """Take a buffer that nobody uses any more out of the device's address space."""

    # -- buffers

    def _add(self, size: int, address: int) -> tuple[int, BufferObject]:
        """Allocate; return the lowest free handle and the buffer. The lock is held by the caller."""
        if not size:
            raise OSError(errno.EINVAL, "size 0")
        if self._used + size > self._limits.memory:
            raise OSError(errno.ENOMEM, "out of memory")
        try:
            buffer = BufferObject(size, address)
        except OSError:
            raise OSError(errno.ENOMEM, "out of memory") from None
        self._used += buffer.size
        buffer.offset = self._next_offset
        self._next_offset += buffer.mapped_size
        while self._lowest in self.handles:
            self._lowest += 1
        self.handles[self._lowest] = buffer
        return self._lowest, buffer

    def gem_close(self, argument: uapi.GemClose) -> uapi.GemClose:
        """Drop a handle; the buffer goes when no job lists it any more."""
        with self._queue.lock:
            buffer = self.handles.pop(argument.handle, None)
            if buffer is None:
                raise OSError(errno.EINVAL, "no such handle")
            self._lowest = min(self._lowest, argument.handle)
            buffer.named = False
            self._put(buffer)
            return argument

    def find_mapping(self, offset: int, length: int) -> int:
        """Return a new descriptor of the buffer that mmap names: its exact start, no longer than it (drm_gem_mmap)."""
        with self._queue.lock:
            for buffer in self.handles.values():
                if buffer.offset == offset and 0 < length <= buffer.mapped_size:
                    return os.dup(buffer.descriptor)
        raise OSError(errno.EINVAL, "no buffer there")

    def _lookup(self, handle: int) -> BufferObject:
        buffer = self.handles.get(handle)
        if buffer is None:
            raise OSError(errno.ENOENT, "no such handle")
        return buffer

    def _put(self, buffer: BufferObject) -> None:
        buffer.references -= 1
        if not buffer.references:
            self._discard(buffer)
            self._used -= buffer.size
            buffer.close()

    # -- jobs

    def _push(self, job: QueuedJob) -> None:
        """Queue a job that holds its buffers until it is done. The lock is held by the caller.

        Raises:
            OSError: ENOMEM, too much waits already, or nobody can run it.
        """
        if self._queued + job.size > self._limits.queued:
            raise OSError(errno.ENOMEM, "too many jobs wait")
        self._queue.push(job)  # it begins when the caller gives the lock back
        self._queued += job.size
        for buffer in (*job.reads, *job.writes):
            buffer.references += 1
        self._pending.add(job)

    def _retire(self, job: QueuedJob) -> None:
        self._pending.discard(job)
        self._queued -= job.size
        self._observe(self, job)
        for buffer in (*job.reads, *job.writes):
            self._put(buffer)

    def _wait(self, fences: Iterable[QueuedJob], deadline: int) -> None:
        """Wait for jobs until a time of the monotonic clock, in nanoseconds. A job that failed counts as done.

        Raises:
            OSError: ETIMEDOUT, EBUSY if the time had passed already, or ENODEV if the node went away.
        """
        waited = list(fences)
        left = deadline - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        seconds = max(0.0, min(left / 1e9, _LONGEST_WAIT))
        if not self._queue.changed.wait_for(lambda: all(job.done for job in waited), seconds):
            raise OSError(errno.ETIMEDOUT if left > 0 else errno.EBUSY, "jobs are still running")
        if self._closed:
            raise OSError(errno.ENODEV, "the node is gone")

    # -- the DRM core

    def get_cap(self, argument: Capability) -> Capability:
        """Answer the capabilities of a driver without displays."""
        values = {_CAP_PRIME: 3, _CAP_MONOTONIC: 1}
        if argument.capability not in values:
            raise OSError(errno.EOPNOTSUPP, "no such capability")
        argument.value = values[argument.capability]
        return argument

    def export(self, handle: int) -> int:
        """Return a new descriptor of the buffer (PRIME_HANDLE_TO_FD)."""
        with self._queue.lock:
            return os.dup(self._lookup(handle).descriptor)

    def close(self) -> None:
        """Drop waiting jobs, wait for the running one, free everything."""
        with self._queue.lock:
            self._closed = True
        self._queue.stop()
        with self._queue.lock:
            for buffer in self.handles.values():
                buffer.named = False
                self._put(buffer)
            self.handles.clear()
            self._queue.changed.notify_all()
