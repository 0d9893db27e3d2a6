"""One inference on several cores: each core's program placed on a device of its own, and the CPU between them; or one
program in memory that all cores share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from rocketnpu.device.base import Device, SharesMemory
from rocketnpu.device.executor import TIMEOUT, PlacedProgram
from rocketnpu.device.one_at_a_time import turn_of
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.program.split import UNIT, Copy, SharedProgram, SplitProgram, Step

_CELL = np.dtype(f"V{UNIT}")


class PlacedSplit(PlacedProgram):
    """A split program in the memory of several devices; inputs and outputs are the first one's.

    It is used as a program on one device is: from any thread, one inference at a time.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        split: SplitProgram,
        *,
        allow_unproven: bool = False,
        bundle_folder: Path | None = None,
    ) -> None:
        """Place each core's program; ``devices`` stay the caller's.

        Raises:
            DeviceError: there are fewer devices than cores, or as
                :class:`~rocketnpu.device.executor.PlacedProgram`.
        """
        if len(devices) < len(split.programs):
            raise DeviceError(
                f"{split.name} is split over {len(split.programs)} cores, {len(devices)} are open: ask for more cores"
            )
        super().__init__(devices[0], split.programs[0], allow_unproven=allow_unproven, bundle_folder=bundle_folder)
        self.split = split
        with ExitStack() as opened:
            opened.callback(super().close)
            others = [
                opened.enter_context(
                    PlacedProgram(device, program, allow_unproven=allow_unproven, bundle_folder=bundle_folder)
                )
                for device, program in zip(devices[1:], split.programs[1:], strict=False)
            ]
            self.cores: tuple[PlacedProgram, ...] = (self, *others)
            self._threads = opened.enter_context(ThreadPoolExecutor(len(self.cores)))
            self._opened = opened.pop_all()
        self._cells = [
            [np.frombuffer(memory, _CELL, len(memory) // UNIT) for memory in placed.memories] for placed in self.cores
        ]

    def _compute(self, fill: Callable[[], None]) -> None:
        """Go through the steps. Cores that share layers write whole slots: no pattern is too short to be certain.

        Raises:
            JobFailedError: a core's job did not run to its end; the error names the core.
        """
        fill()
        patterns = [placed.mark() for placed in self.cores]
        for step in self.split.steps:
            for copy in step.copies:
                self._carry(copy)
            self._run_step(step, patterns)
        for copy in self.split.results:
            self._carry(copy)

    def _carry(self, copy: Copy) -> None:
        self._cells[copy.target][copy.buffer][copy.cells] = self._cells[copy.source][copy.buffer][copy.cells]

    def _run_step(self, step: Step, patterns: Sequence[Sequence[bytes]]) -> None:
        """Start all cores, wait for all, and raise what the first of them has to complain of."""
        busy = [(core, job) for core, job in enumerate(step.jobs) if job is not None]
        if len(busy) == 1:
            ((core, job),) = busy
            self._run_job(core, job, patterns[core][job])
            return
        waiting = [self._threads.submit(self._run_job, core, job, patterns[core][job]) for core, job in busy]
        failed = [error for error in [one.exception() for one in waiting] if error is not None]
        if failed:
            raise failed[0]

    def _run_job(self, core: int, job: int, pattern: bytes) -> None:
        placed = self.cores[core]
        touched = (*placed.jobs[job].reads, *placed.jobs[job].writes)
        refused: DeviceTimeoutError | None = None
        with turn_of(placed.device):
            for buffer in touched:
                placed.device.sync_for_device(buffer)
            try:
                placed.device.submit([placed.jobs[job]])
            except DeviceTimeoutError as error:  # a driver that does report failed jobs
                refused = error
            for buffer in touched:
                placed.device.sync_for_cpu(buffer, TIMEOUT)
            placed.check(job, pattern, refused)
        if refused:
            raise refused

    def close(self) -> None:
        """Free the buffers of all cores. Closing twice is allowed."""
        self._cells = []
        self._opened.close()


class PlacedShared(PlacedProgram):
    """A program in memory that several cores share: one copy of everything, and nothing carried between steps.

    It is used as a program on one core is: from any thread, one inference at a time.
    """

    def __init__(
        self,
        device: Device,
        shared: SharedProgram,
        *,
        allow_unproven: bool = False,
        bundle_folder: Path | None = None,
    ) -> None:
        """Place it; ``device`` stays the caller's.

        Raises:
            DeviceError: the device's cores share no memory or are too few, or as
                :class:`~rocketnpu.device.executor.PlacedProgram`.
        """
        if not isinstance(device, SharesMemory) or device.shared_cores < shared.cores:
            raise DeviceError(
                f"{device.name}: {shared.program.name} is for {shared.cores} cores that share memory, which this "
                "device does not have: compile it for cores with memory of their own"
            )
        self._sharing: SharesMemory = device
        super().__init__(device, shared.program, allow_unproven=allow_unproven, bundle_folder=bundle_folder)
        self._steps = [[None if job is None else self.jobs[job] for job in step] for step in shared.steps]
        self._cores = {job: core for step in shared.steps for core, job in enumerate(step) if job is not None}

    def core_of(self, job: int) -> int:
        """Return the number of the core that runs a job."""
        return self._cores[job]

    def _submit(self) -> None:
        self._sharing.submit_together(self._steps)
