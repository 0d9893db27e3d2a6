"""The mainline kernel driver ``rocket``: ``/dev/accel/accelN``, Linux 6.18 and newer.

One open file has one address space and its jobs run on one core at a time (addendum 9.1), so a :class:`RocketDevice`
is one core; several cores are several devices (:class:`~rocketnpu.device.group.DeviceGroup`).

The kernel reports no failed job: SUBMIT and PREP_BO return 0 also when a job was dropped or ran into the 500 ms
timeout. Who submits must mark the output beforehand and look afterwards, as :mod:`rocketnpu.device.executor` does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from rocketnpu.device import rocket_uapi as kernel
from rocketnpu.device import uapi
from rocketnpu.device.base import Buffer, DeviceJob, DeviceTask
from rocketnpu.device.calls import Calls, SystemCalls
from rocketnpu.device.check import Words, check_task
from rocketnpu.device.mapping import Mapping
from rocketnpu.device.nodes import find_node
from rocketnpu.errors import DeviceError, DeviceTimeoutError

NODES = tuple(f"/dev/accel/accel{number}" for number in range(8))
"""Where the accel subsystem puts its nodes."""
MAX_SIZE = (1 << 32) - kernel.PAGE
"""Largest buffer: CREATE_BO's size is 32 bits, and the guard page is in the same 4 GiB."""
_FOREVER = (1 << 63) - 1
_CLOSING_TIMEOUT = 5.0
"""Seconds to wait for running jobs when closing; the kernel itself ends each after 0.5."""
_ADVICE = {
    errno.ENOMEM: "the kernel has no memory left",
    errno.ENOSPC: "the 4 GiB of addresses of one open file are used up",
    errno.ENODEV: "the device is gone",
    errno.ETIMEDOUT: "jobs did not finish in time",
    errno.EBUSY: "jobs did not finish in time",
}


@dataclass(eq=False)
class _Owned:
    """A buffer of this device, its memory, and whether a submitted job may still write it."""

    buffer: Buffer
    mapping: Mapping
    busy: bool = False


@dataclass(eq=False)
class _Prepared:
    """A list of jobs as the kernel reads it; the arrays live as long as this object."""

    jobs: tuple[DeviceJob, ...]
    request: kernel.Submit
    writes: tuple[_Owned, ...]
    keep: list[object]


class RocketDevice:
    """A :class:`~rocketnpu.device.base.Device` on the mainline driver. Not thread safe."""

    name = kernel.DRIVER

    def __init__(self, path: str = "", calls: Calls | None = None) -> None:
        """Open the node, by default the first whose driver is called "rocket".

        A page at address 0 is kept as a guard: an address register that was left 0 then hits nothing (addendum 9.1).

        Raises:
            DeviceError: no such node, no permission, or another driver.
        """
        self._calls = calls or SystemCalls()
        self._process = os.getpid()
        self._owned: dict[int, _Owned] = {}
        self._prepared: _Prepared | None = None
        self.path, self._fd = find_node(self._calls, [path] if path else NODES, kernel.DRIVER)
        try:
            self._guard = self.allocate(kernel.PAGE)
        except BaseException:
            self._calls.close(self._fd)
            raise

    # -- memory

    def allocate(self, size: int) -> Buffer:
        """Allocate zero-filled memory; see :class:`~rocketnpu.device.base.Device`."""
        if not 0 < size <= MAX_SIZE:
            raise DeviceError(f"{self.name}: a buffer has 1..{MAX_SIZE} bytes, {size} were asked for")
        made = kernel.CreateBo(size=size)
        self._ioctl(kernel.CREATE_BO, made, f"allocate {size} bytes")
        try:
            mapping = Mapping(self._calls, self._fd, made.offset, size)
        except OSError as error:
            self._ioctl(uapi.GEM_CLOSE, uapi.GemClose(handle=made.handle), "free a buffer")
            raise self._error(error, f"map {size} bytes") from None
        buffer = Buffer(made.handle, made.dma_address, size)
        self._owned[made.handle] = _Owned(buffer, mapping)
        return buffer

    def free(self, buffer: Buffer) -> None:
        """Wait until no job can use it, then give it back.

        Jobs use buffers that they do not list (weights, commands), so all running jobs are waited for.
        """
        owned = self._own(buffer)
        self._settle()
        self._prepared = None
        del self._owned[buffer.handle]
        owned.mapping.release()
        self._ioctl(uapi.GEM_CLOSE, uapi.GemClose(handle=buffer.handle), "free a buffer")

    def map(self, buffer: Buffer) -> memoryview:
        """Return its bytes; see :class:`~rocketnpu.device.base.Device`."""
        return self._own(buffer).mapping.view

    def sync_for_device(self, buffer: Buffer) -> None:
        """Flush the whole buffer (FINI_BO)."""
        self._own(buffer)
        self._ioctl(kernel.FINI_BO, kernel.FiniBo(handle=buffer.handle), "hand a buffer to the device")

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Wait for its writers and invalidate it (PREP_BO, whose deadline is absolute CLOCK_MONOTONIC)."""
        owned = self._own(buffer)
        deadline = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(min(timeout, 1e9) * 1e9)
        request = kernel.PrepBo(handle=buffer.handle, timeout_ns=min(deadline, _FOREVER))
        self._ioctl(kernel.PREP_BO, request, f"wait {timeout:g} s for a buffer")
        owned.busy = False

    # -- jobs

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Check the jobs, at their first submission, and queue them.

        Raises:
            DeviceError: a command list breaks a rule of :mod:`rocketnpu.device.check`, or a buffer is not ours.
        """
        self._alive()
        wanted = tuple(jobs)
        if not wanted:
            return
        if self._prepared is None or self._prepared.jobs != wanted:
            self._prepared = self._prepare(wanted)
        self._ioctl(kernel.SUBMIT, self._prepared.request, f"submit {len(wanted)} jobs")
        for owned in self._prepared.writes:
            owned.busy = True

    def _prepare(self, jobs: tuple[DeviceJob, ...]) -> _Prepared:
        array = (kernel.Job * len(jobs))()
        prepared = _Prepared(jobs, kernel.Submit(), (), [array])
        writes: dict[int, _Owned] = {}
        for number, job in enumerate(jobs):
            if not job.tasks:
                raise DeviceError(f"{self.name}: job {number} has no task")
            for task in job.tasks:
                check_task(task, self.words(task), self.owns, dpu_required=True)
            # A handle in both lists, or twice in one, makes the kernel drop the job silently (addendum 9.1).
            outs = list(dict.fromkeys(self._own(buffer).buffer.handle for buffer in job.writes))
            ins = [h for h in dict.fromkeys(self._own(buffer).buffer.handle for buffer in job.reads) if h not in outs]
            tasks = (kernel.Task * len(job.tasks))(*(kernel.Task(task.address, task.words) for task in job.tasks))
            in_handles, out_handles = (ctypes.c_uint32 * len(ins))(*ins), (ctypes.c_uint32 * len(outs))(*outs)
            prepared.keep += [tasks, in_handles, out_handles]
            array[number] = kernel.Job(
                *(ctypes.addressof(part) for part in (tasks, in_handles, out_handles)),
                *(len(tasks), ctypes.sizeof(kernel.Task), len(ins), len(outs)),
            )
            writes.update((handle, self._owned[handle]) for handle in outs)
        prepared.request = kernel.Submit(ctypes.addressof(array), len(jobs), ctypes.sizeof(kernel.Job), 0)
        prepared.writes = tuple(writes.values())
        return prepared

    def owns(self, address: int, size: int) -> bool:
        """Say whether ``size`` bytes at an NPU address lie inside one of this device's buffers."""
        return self._at(address, size) is not None

    def words(self, task: DeviceTask) -> Words:
        """Return the command words of a task.

        Raises:
            DeviceError: they do not lie inside a buffer of this device.
        """
        owned = self._at(task.address, task.words * 8) if task.words > 0 else None
        if owned is None:
            raise DeviceError(
                f"{self.name}: command list at 0x{task.address:x} ({task.words} words) is not inside one buffer"
            )
        return np.frombuffer(owned.mapping.view, "<u8", task.words, task.address - owned.buffer.address)

    def _at(self, address: int, size: int) -> _Owned | None:
        for owned in self._owned.values():
            if owned.buffer.address <= address and address + size <= owned.buffer.address + owned.buffer.size:
                return owned
        return None

    # -- life

    def close(self) -> None:
        """Wait for running jobs, give every buffer back and close the file.

        In a forked child only the child's descriptor is closed: the buffers belong to the parent's open file.
        """
        if self._fd < 0:
            return
        if self._process == os.getpid():
            try:
                self._settle()
                for handle in self._owned:
                    self._calls.ioctl(self._fd, uapi.GEM_CLOSE, uapi.GemClose(handle=handle))
            except (DeviceError, OSError):
                # An unplugged device: the kernel frees everything with the file.
                self._prepared = None
        for owned in self._owned.values():
            owned.mapping.release()
        self._owned.clear()
        self._prepared = None
        fd, self._fd = self._fd, -1
        self._calls.close(fd)

    def __enter__(self) -> Self:
        """Return the device itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _settle(self) -> None:
        for owned in self._owned.values():
            if owned.busy:
                self.sync_for_cpu(owned.buffer, _CLOSING_TIMEOUT)

    def _own(self, buffer: Buffer) -> _Owned:
        self._alive()
        owned = self._owned.get(buffer.handle)
        if owned is None or owned.buffer is not buffer:
            raise DeviceError(f"{self.name}: {buffer} is not, or no longer, a buffer of this device")
        return owned

    def _alive(self) -> None:
        if self._fd < 0:
            raise DeviceError(f"{self.name}: the device is closed")
        if self._process != os.getpid():
            raise DeviceError(f"{self.name}: opened by process {self._process}; open the device again after a fork")

    def _ioctl(self, number: int, argument: ctypes.Structure, action: str) -> None:
        self._alive()
        while True:
            try:
                self._calls.ioctl(self._fd, number, argument)
            except InterruptedError:
                continue
            except OSError as error:
                raise self._error(error, action) from None
            return

    def _error(self, error: OSError, action: str) -> DeviceError:
        kind = DeviceTimeoutError if error.errno in (errno.ETIMEDOUT, errno.EBUSY) else DeviceError
        reason = _ADVICE.get(error.errno or 0, os.strerror(error.errno or 0))
        return kind(f"{self.name} ({self.path}): cannot {action}: {reason}")
