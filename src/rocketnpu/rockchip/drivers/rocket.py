"""The mainline kernel driver ``rocket``: ``/dev/accel/accelN``, Linux 6.18 and newer.

One open file has one address space and its jobs run on one core at a time (addendum 9.1), so a :class:`RocketDevice`
is one core; several cores are several devices (:class:`~rocketnpu.device.group.DeviceGroup`).

The kernel reports no failed job: SUBMIT and PREP_BO return 0 also when a job was dropped or ran into the 500 ms
timeout. Who submits must mark the output beforehand and look afterwards, as :mod:`rocketnpu.device.executor` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rocketnpu.device import uapi
from rocketnpu.device.base import Buffer, DeviceJob
from rocketnpu.device.calls import Calls
from rocketnpu.device.kernel import MOST_PREPARED, KernelDevice, Owned
from rocketnpu.device.mapping import Mapping
from rocketnpu.errors import DeviceError
from rocketnpu.rockchip.drivers import rocket_uapi as kernel
from rocketnpu.rockchip.drivers.check import check_start, check_task
from rocketnpu.rockchip.drivers.guard import Guard, guard_of
from rocketnpu.rockchip.evidence import Unproven

MAX_SIZE = (1 << 32) - kernel.PAGE
"""Largest buffer: CREATE_BO's size is 32 bits, and the guard page is in the same 4 GiB."""
_LONGEST_WAIT = 1e9
"""Seconds; the deadline is a signed 64-bit number of nanoseconds and must not overflow (addendum 9.1)."""
_REST = 0.02
"""Seconds between the end of the last job and the close of the file."""
_CLOSING_TIMEOUT = 5.0
"""Seconds to wait for running jobs when closing; the kernel itself ends each after 0.5."""


@dataclass(eq=False)
class _Prepared:
    """A list of jobs as the kernel reads it; the arrays live as long as this object."""

    jobs: tuple[DeviceJob, ...]
    request: kernel.Submit
    writes: tuple[Owned, ...]
    keep: list[object]


class RocketDevice(KernelDevice):
    """A :class:`~rocketnpu.device.base.Device` on the mainline driver. Not thread safe."""

    name = kernel.DRIVER
    chip = "rk3588"
    """The only chip that this driver knows (family 2)."""
    nodes: ClassVar[tuple[str, ...]] = tuple(f"/dev/accel/accel{number}" for number in range(8))

    def __init__(self, path: str = "", calls: Calls | None = None) -> None:
        """Open the node, by default the first whose driver is called "rocket".

        A page at address 0 is kept as a guard: an address register that was left 0 then hits nothing (addendum 9.1).

        Raises:
            DeviceError: no such node, no permission, or another driver.
        """
        super().__init__(path, calls)
        self._prepared: list[_Prepared] = []
        self._used = False
        self._guard: Guard | None = None
        try:
            self._guard = guard_of(self._fd, self._calls)
            self.allocate(kernel.PAGE)
        except BaseException:
            self.close()
            raise

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
        self._owned[made.handle] = Owned(buffer, mapping)
        return buffer

    def sync_for_device(self, buffer: Buffer) -> None:
        """Flush the whole buffer (FINI_BO)."""
        self._own(buffer)
        self._ioctl(kernel.FINI_BO, kernel.FiniBo(handle=buffer.handle), "hand a buffer to the device")

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Wait for its writers and invalidate it (PREP_BO, whose deadline is absolute CLOCK_MONOTONIC)."""
        owned = self._own(buffer)
        deadline = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(min(timeout, _LONGEST_WAIT) * 1e9)
        request = kernel.PrepBo(handle=buffer.handle, timeout_ns=deadline)
        self._ioctl(kernel.PREP_BO, request, f"wait {timeout:g} s for a buffer")
        owned.busy = False

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Check the jobs, at their first submission, and queue them.

        Raises:
            DeviceError: a command list breaks a rule of :mod:`rocketnpu.rockchip.drivers.check`, or a buffer is not
                ours.
        """
        self._alive()
        wanted = tuple(jobs)
        if not wanted:
            return
        prepared = next((one for one in self._prepared if one.jobs == wanted), None)
        if prepared is None:
            prepared = self._prepare(wanted)
            self._prepared = [*self._prepared[1 - MOST_PREPARED :], prepared]
        for owned in prepared.writes:
            owned.busy = True
        self._used = True
        self._ioctl(kernel.SUBMIT, prepared.request, f"submit {len(wanted)} jobs")

    def _prepare(self, jobs: tuple[DeviceJob, ...]) -> _Prepared:
        array = (kernel.Job * len(jobs))()
        keep: list[object] = [array]
        writes: dict[int, Owned] = {}
        for number, job in enumerate(jobs):
            if not job.tasks:
                raise DeviceError(f"{self.name}: job {number} has no task")
            for task in job.tasks:
                check_task(task, self.words(task), self.owns, dpu_required=True)
                check_start(task, self.name, self.takes_risks or Unproven.FLYING_START in self.standing.proven)
            # A handle in both lists, or twice in one, makes the kernel drop the job silently (addendum 9.1).
            outs = list(dict.fromkeys(self._own(buffer).buffer.handle for buffer in job.writes))
            ins = [h for h in dict.fromkeys(self._own(buffer).buffer.handle for buffer in job.reads) if h not in outs]
            tasks = (kernel.Task * len(job.tasks))(*(kernel.Task(task.address, task.words) for task in job.tasks))
            in_handles, out_handles = (ctypes.c_uint32 * len(ins))(*ins), (ctypes.c_uint32 * len(outs))(*outs)
            keep += [tasks, in_handles, out_handles]
            array[number] = kernel.Job(
                *(ctypes.addressof(part) for part in (tasks, in_handles, out_handles)),
                *(len(tasks), ctypes.sizeof(kernel.Task), len(ins), len(outs)),
            )
            writes.update((handle, self._owned[handle]) for handle in outs)
        request = kernel.Submit(ctypes.addressof(array), len(jobs), ctypes.sizeof(kernel.Job), 0)
        return _Prepared(jobs, request, tuple(writes.values()), keep)

    def _settle(self) -> None:
        for owned in self._owned.values():
            if owned.busy:
                self.sync_for_cpu(owned.buffer, _CLOSING_TIMEOUT)

    def _forget_jobs(self) -> None:
        self._prepared = []

    def close(self) -> None:
        """Wait for running jobs, rest a little, give everything back and close the file. Twice is allowed.

        A job's end is told before the kernel has released its buffers, and a close in between is a use after free
        there (2 of 20 closes right after a job, 0 of 60 after 5 ms or more; outside 6).
        """
        if self._fd >= 0 and self._process == os.getpid():
            if self._used:
                with contextlib.suppress(DeviceError):
                    self._settle()
                time.sleep(_REST)
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None
        super().close()

    def _release(self, owned: Owned) -> None:
        self._ioctl(uapi.GEM_CLOSE, uapi.GemClose(handle=owned.buffer.handle), "free a buffer")
