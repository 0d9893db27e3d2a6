"""The simulated NPU as a device: buffers are NumPy arrays, jobs run at once on one simulated core.

It behaves as the mainline driver does: every task is started on its own (links in the lists are not followed),
addresses lie in a 32-bit space, and page 0 stays unmapped so that a register left at 0 is noticed.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from rocketnpu.closing import Closing
from rocketnpu.device.base import METHODS, Buffer, DeviceJob
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.errors import DeviceError
from rocketnpu.family import family_of
from rocketnpu.memory import ADDRESS_SPACE, Bytes
from rocketnpu.policy import DEFAULT_CHIP

PAGE = 4096
"""Alignment of buffers, and size of the guard page at address 0."""
THREADS = "ROCKETNPU_SIMULATOR_THREADS"
MOST_THREADS = 64


class SimulatorDevice(Closing, OneAtATime):
    """A :class:`~rocketnpu.device.base.Device` that needs no NPU and no rights.

    Works from any thread: its methods run one at a time.

    Args:
        chip: name of the chip to simulate.
        strict: refuse what silicon would compute wrongly; otherwise its output is spoiled, and the report says why.
        compiled: whether compiled code may compute, where there is a C compiler; the bytes are the same.
        threads: how many threads that code may use; what the environment variable :data:`THREADS` says where not given,
            else one.

    Raises:
        DeviceError: the variable is no number of threads.
    """

    name = "simulator"
    taking_turns = METHODS

    def __init__(
        self, *, chip: str = DEFAULT_CHIP, strict: bool = True, compiled: bool = True, threads: int | None = None
    ) -> None:
        self.chip = chip
        self.reports: list[Any] = []
        """Reports of the tasks of the last submission."""
        self._npu = family_of(chip).simulator(
            strict=strict, compiled=compiled, threads=_threads() if threads is None else threads
        )
        self._memory = self._npu.memory
        self._arrays: dict[int, tuple[Buffer, Bytes]] = {}
        self._extents: list[tuple[int, int]] = [(0, PAGE)]
        self._next_handle = 1
        self._closed = False

    def allocate(self, size: int) -> Buffer:
        """Allocate ``size`` zero bytes at the lowest free page.

        Raises:
            DeviceError: the device is closed, the size is not positive, or the address space is full.
        """
        self._check_open()
        if size <= 0:
            raise DeviceError(f"cannot allocate {size} bytes")
        length = -(-size // PAGE) * PAGE
        address = self._free_address(length)
        buffer = Buffer(self._next_handle, address, size)
        # A driver backs whole pages; here the end is exact, so that a program which reads too far is noticed.
        array: Bytes = np.zeros(size, np.uint8)
        self._memory.map(address, array)
        self._extents.insert(bisect_right(self._extents, (address, 0)), (address, address + length))
        self._arrays[buffer.handle] = (buffer, array)
        self._next_handle += 1
        return buffer

    def _free_address(self, length: int) -> int:
        for index, (_, end) in enumerate(self._extents):
            limit = self._extents[index + 1][0] if index + 1 < len(self._extents) else ADDRESS_SPACE
            if limit - end >= length:
                return end
        raise DeviceError(f"no {length} bytes in a row are free in the 32-bit address space")

    def free(self, buffer: Buffer) -> None:
        """Give a buffer back.

        Raises:
            DeviceError: the buffer is not (or no longer) this device's.
        """
        self._array(buffer)
        self._memory.unmap(buffer.address)
        del self._arrays[buffer.handle]
        self._extents = [extent for extent in self._extents if extent[0] != buffer.address]

    def map(self, buffer: Buffer) -> memoryview:
        """Return the buffer's bytes, writable; the same memory at each call.

        Raises:
            DeviceError: the buffer is not (or no longer) this device's.
        """
        return self._array(buffer).data

    def sync_for_device(self, buffer: Buffer) -> None:
        """Check the buffer; simulator and caller see the same memory.

        Raises:
            DeviceError: the buffer is not (or no longer) this device's.
        """
        self._array(buffer)

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Run the jobs to their end.

        Raises:
            DeviceError: the device is closed, a job has no task, or it names a foreign buffer.
            SimulationError: a task does what the hardware does not define; tasks are counted over the submission.
        """
        self._check_open()
        for job in jobs:
            if not job.tasks:
                raise DeviceError("a job without tasks")
            for buffer in (*job.reads, *job.writes):
                self._array(buffer)
        self.reports = []
        for job in jobs:
            self._npu.begin_job()
            for task in job.tasks:
                self.reports.append(self._npu.run_task(task.address, task.words, task=len(self.reports)))

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Check the buffer; submitted jobs have ended already, so ``timeout`` never expires.

        Raises:
            DeviceError: the buffer is not (or no longer) this device's.
        """
        del timeout
        self._array(buffer)

    def close(self) -> None:
        """Free everything. Closing twice is allowed."""
        for buffer, _ in list(self._arrays.values()):
            self.free(buffer)
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceError("the simulator device is closed")

    def _array(self, buffer: Buffer) -> Bytes:
        found = self._arrays.get(buffer.handle)
        if found is None or found[0] != buffer:
            raise DeviceError(f"buffer {buffer.handle} is not (or no longer) one of this device's")
        return found[1]


def _threads() -> int:
    text = os.environ.get(THREADS) or "1"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_THREADS):
        raise DeviceError(
            f"environment variable {THREADS} is {text!r:.40}: the simulator uses 1 to {MOST_THREADS} threads"
        )
    return int(text)
