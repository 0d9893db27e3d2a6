"""One open file of the emulated ``rocket`` driver: address space, and the driver's ioctls.

Every ioctl is a method that returns the changed argument or raises OSError with the kernel's number. What each checks,
and in which order, restates rocket_gem.c and rocket_job.c of Linux 7.2.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from rocketnpu.address_space import AddressSpace
from rocketnpu.emulator import wire
from rocketnpu.emulator.buffers import BufferObject
from rocketnpu.emulator.drm_file import DrmFile, Limits, Note
from rocketnpu.emulator.jobs import CorePool, QueuedJob
from rocketnpu.emulator.wire import Store, WireJob
from rocketnpu.rockchip.drivers import rocket_uapi

_PREP_BO = 0x42
_TOLD = 8
"""Bad jobs of a submission that are told of one by one."""


class NodeFile(DrmFile):
    """State behind one open of the node. Safe to be called from several threads."""

    arguments: ClassVar[Mapping[int, type[ctypes.Structure]]] = {
        0x40: rocket_uapi.CreateBo,
        0x41: rocket_uapi.Submit,
        _PREP_BO: rocket_uapi.PrepBo,
        0x43: rocket_uapi.FiniBo,
    }

    def __init__(self, pool: CorePool, limits: Limits, observe: Callable[[DrmFile, QueuedJob], None]) -> None:
        """Start with no buffer. ``observe`` is told of each finished job, with the file's lock held."""
        super().__init__(pool, limits, observe)
        self._space = AddressSpace(limits.address_space)

    def call(self, argument: Any, payload: Callable[[], bytes], note: Note) -> None:
        """Do one of the driver's ioctls."""
        calls: dict[type, Callable[[Any], object]] = {
            rocket_uapi.CreateBo: self.create_bo,
            rocket_uapi.PrepBo: self.prep_bo,
            rocket_uapi.FiniBo: self.fini_bo,
        }
        if isinstance(argument, rocket_uapi.Submit):
            self._submit_all(argument, payload, note)
        else:
            calls[type(argument)](argument)

    def may_sleep(self, nr: int, store: Store) -> bool:
        """Say whether PREP_BO has something to wait for."""
        if nr != _PREP_BO:
            return False
        argument = rocket_uapi.PrepBo.from_buffer_copy(store.read(ctypes.sizeof(rocket_uapi.PrepBo)))
        with self._queue.lock:
            buffer = self.handles.get(argument.handle)
            return buffer is not None and any(buffer in job.writes for job in self._pending)

    def create_bo(self, argument: rocket_uapi.CreateBo) -> rocket_uapi.CreateBo:
        """Allocate; the lowest free handle, the best-fitting address."""
        with self._queue.lock:
            if argument.size and self._used + argument.size > self._limits.memory:
                raise OSError(errno.ENOMEM, "out of memory")
            address = self._space.insert(argument.size) if argument.size else 0
            if address is None:
                raise OSError(errno.ENOSPC, "address space exhausted")
            try:
                handle, buffer = self._add(argument.size, address)
            except OSError:
                if argument.size:
                    self._space.remove(address)
                raise
            self.memory.map(address, buffer.array)
            argument.handle, argument.dma_address, argument.offset = handle, address, buffer.offset
            return argument

    def _discard(self, buffer: BufferObject) -> None:
        self.memory.unmap(buffer.address)
        self._space.remove(buffer.address)

    def prep_bo(self, argument: rocket_uapi.PrepBo) -> rocket_uapi.PrepBo:
        """Wait for jobs that write the buffer. A job that failed counts as done, without an error."""
        with self._queue.lock:
            if argument.reserved:
                raise OSError(errno.EINVAL, "reserved is not 0")
            buffer = self._lookup(argument.handle)
            self._wait((job for job in self._pending if buffer in job.writes), argument.timeout_ns)
            return argument

    def fini_bo(self, argument: rocket_uapi.FiniBo) -> rocket_uapi.FiniBo:
        """Nothing to flush in shared memory; only the checks."""
        with self._queue.lock:
            if argument.reserved:
                raise OSError(errno.EINVAL, "reserved is not 0")
            self._lookup(argument.handle)
            return argument

    # -- jobs

    def _submit_all(self, argument: rocket_uapi.Submit, payload: Callable[[], bytes], note: Note) -> None:
        if not argument.job_count:
            return
        try:
            errors = self.submit(wire.parse_jobs(payload(), argument.job_count))
        except ValueError as problem:
            raise OSError(errno.EFAULT, str(problem)) from None
        bad = [number for number, error in enumerate(errors) if error]
        for number in bad[:_TOLD]:
            note(f"job {number} of a SUBMIT never runs: {os.strerror(errors[number])}")
        if len(bad) > _TOLD:
            note(f"and {len(bad) - _TOLD} more jobs of it")

    def submit(self, jobs: Iterable[WireJob]) -> list[int]:
        """Queue the jobs that are sound. A bad one never runs, and the program is not told (7.2).

        Returns:
            Error numbers, one a job, for the emulator's own log.
        """
        with self._queue.lock:
            return [self._submit(job) for job in jobs]

    def _submit(self, job: WireJob) -> int:
        if job.error:
            return job.error
        if job.tasks.any_empty:
            return errno.EINVAL
        numbers = np.unique(job.handles)
        if len(numbers) > len(self.handles) or not all(number in self.handles for number in numbers.tolist()):
            return errno.ENOENT
        if len(numbers) < len(job.handles):
            return errno.EALREADY  # drm_gem_lock_reservations
        buffers = [self.handles[handle] for handle in job.handles.tolist()]
        try:
            self._push(QueuedJob(job.tasks, tuple(buffers[: job.reads]), tuple(buffers[job.reads :]), job.size))
        except OSError as error:
            return error.errno or errno.EIO
        return 0
