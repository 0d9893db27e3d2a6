"""One open file of the emulated node: handles, address space, and the ioctls of the ``rocket`` driver.

Every ioctl is a method that returns the changed argument or raises OSError with the kernel's number. What each checks,
and in which order, restates rocket_gem.c and rocket_job.c of Linux 7.2 and the DRM core's drm_gem.c.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from rocketnpu.device import uapi
from rocketnpu.emulator.address_space import LIMIT, AddressSpace
from rocketnpu.emulator.buffers import BufferObject
from rocketnpu.emulator.jobs import CorePool, JobQueue, QueuedJob
from rocketnpu.emulator.wire import Capability, WireJob
from rocketnpu.memory import Memory
from rocketnpu.rockchip.drivers import rocket_uapi

_MMAP_BASE = 1 << 32
"""First offset for mmap; such offsets name buffers and mean nothing else."""
_LONGEST_WAIT = 1e6
"""Seconds; condition variables take no more than some centuries."""
_CAP_PRIME, _CAP_MONOTONIC = 0x5, 0x6
"""The two capabilities that a driver without displays answers (drm_ioctl.c)."""


@dataclass(frozen=True)
class Limits:
    """What the emulated machine has, so that a test can run out of it."""

    address_space: int = LIMIT
    memory: int = 8 << 30
    """Bytes that all buffers of one file may hold; beyond is ENOMEM."""
    job_timeout: float = rocket_uapi.JOB_TIMEOUT


class NodeFile:
    """State behind one open of the node. Safe to be called from several threads."""

    def __init__(self, pool: CorePool, limits: Limits, observe: Callable[[NodeFile, QueuedJob], None]) -> None:
        """Start with no buffer. ``observe`` is told of each finished job, with the file's lock held."""
        self.memory = Memory()
        self.handles: dict[int, BufferObject] = {}
        self._limits, self._observe = limits, observe
        self._space = AddressSpace(limits.address_space)
        self._used = 0
        self._next_offset = _MMAP_BASE
        self._queue = JobQueue(self.memory, pool, limits.job_timeout, self._retire)
        self._pending: set[QueuedJob] = set()
        self._closed = False

    # -- buffers

    def create_bo(self, argument: rocket_uapi.CreateBo) -> rocket_uapi.CreateBo:
        """Allocate; the lowest free handle, the best-fitting address."""
        with self._queue.lock:
            if not argument.size:
                raise OSError(errno.EINVAL, "size 0")
            if self._used + argument.size > self._limits.memory:
                raise OSError(errno.ENOMEM, "out of memory")
            address = self._space.insert(argument.size)
            if address is None:
                raise OSError(errno.ENOSPC, "address space exhausted")
            try:
                buffer = BufferObject(argument.size, address)
            except OSError:
                self._space.remove(address)
                raise OSError(errno.ENOMEM, "out of memory") from None
            self._used += buffer.size
            buffer.offset = self._next_offset
            self._next_offset += buffer.mapped_size
            self.memory.map(address, buffer.array)
            handle = next(number for number in range(1, len(self.handles) + 2) if number not in self.handles)
            self.handles[handle] = buffer
            argument.handle, argument.dma_address, argument.offset = handle, address, buffer.offset
            return argument

    def gem_close(self, argument: uapi.GemClose) -> uapi.GemClose:
        """Drop a handle; the buffer goes when no job lists it any more."""
        with self._queue.lock:
            buffer = self.handles.pop(argument.handle, None)
            if buffer is None:
                raise OSError(errno.EINVAL, "no such handle")
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
            self.memory.unmap(buffer.address)
            self._space.remove(buffer.address)
            self._used -= buffer.size
            buffer.close()

    # -- synchronisation

    def prep_bo(self, argument: rocket_uapi.PrepBo) -> rocket_uapi.PrepBo:
        """Wait for jobs that write the buffer. A job that failed counts as done, without an error."""
        with self._queue.lock:
            if argument.reserved:
                raise OSError(errno.EINVAL, "reserved is not 0")
            buffer = self._lookup(argument.handle)
            fences = [job for job in self._pending if buffer in job.writes]
            left = argument.timeout_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            seconds = max(0.0, min(left / 1e9, _LONGEST_WAIT))
            if not self._queue.changed.wait_for(lambda: all(job.done for job in fences), seconds):
                raise OSError(errno.ETIMEDOUT if left > 0 else errno.EBUSY, "jobs are still running")
            if self._closed:
                raise OSError(errno.ENODEV, "the node is gone")
            return argument

    def would_wait(self, handle: int) -> bool:
        """Say whether PREP_BO has something to wait for."""
        with self._queue.lock:
            buffer = self.handles.get(handle)
            return buffer is not None and any(buffer in job.writes for job in self._pending)

    def fini_bo(self, argument: rocket_uapi.FiniBo) -> rocket_uapi.FiniBo:
        """Nothing to flush in shared memory; only the checks."""
        with self._queue.lock:
            if argument.reserved:
                raise OSError(errno.EINVAL, "reserved is not 0")
            self._lookup(argument.handle)
            return argument

    # -- jobs

    def submit(self, jobs: list[WireJob]) -> list[int]:
        """Queue the jobs that are sound. A bad one never runs, and the program is not told (7.2).

        Returns:
            Error numbers, one a job, for the emulator's own log.
        """
        with self._queue.lock:
            return [self._submit(job) for job in jobs]

    def _submit(self, job: WireJob) -> int:
        if job.error:
            return job.error
        if not job.tasks or any(words == 0 for _, words in job.tasks):
            return errno.EINVAL
        listed = [self.handles.get(handle) for handle in (*job.reads, *job.writes)]
        buffers = [buffer for buffer in listed if buffer is not None]
        if len(buffers) < len(listed):
            return errno.ENOENT
        if len(set(map(id, buffers))) < len(buffers):
            return errno.EALREADY  # drm_gem_lock_reservations
        for buffer in buffers:
            buffer.references += 1
        queued = QueuedJob(job.tasks, tuple(buffers[: len(job.reads)]), tuple(buffers[len(job.reads) :]))
        self._pending.add(queued)
        self._queue.push(queued)
        return 0

    def _retire(self, job: QueuedJob) -> None:
        self._pending.discard(job)
        self._observe(self, job)
        for buffer in (*job.reads, *job.writes):
            self._put(buffer)

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
                self._put(buffer)
            self.handles.clear()
            self._queue.changed.notify_all()
