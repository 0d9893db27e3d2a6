"""A program in a device's memory: buffers allocated, addresses filled in, jobs as the device gets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.device.base import Buffer, Device, DeviceJob, DeviceTask
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.device.standing import policy_of
from rocketnpu.errors import DeviceError
from rocketnpu.family import family_of
from rocketnpu.program.program import Program, ProgramJob, Role


class Placement(Closing, OneAtATime):
    """A program's memory on a device. Closing it frees the buffers; the device stays the caller's.

    Works from any thread: inferences run one at a time, and closing waits for the one that runs.
    """

    taking_turns = ("run", "close")

    def __init__(self, device: Device, program: Program, *, allow_unproven: bool = False) -> None:
        """Allocate, fill and relocate.

        Args:
            device: where to run; it stays the caller's.
            program: what to run.
            allow_unproven: whether an NPU may run a program that relies on unproven hardware rules; the simulator
                always may.

        Raises:
            DeviceError: the device is another chip, it has no room, or the program relies on unproven rules.
        """
        if program.chip != device.chip:
            raise DeviceError(
                f"{device.name}: program {program.name} is for the chip {program.chip}, this device is a "
                f"{device.chip}; compile the model for it"
            )
        policy = policy_of(device, allow_unproven=allow_unproven)
        if policy.target != "simulator":
            family_of(program.chip).evidence.refuse_unproven(program.rules, device.name, policy)
        self.device, self.program = device, program
        self._buffers: list[Buffer] = []
        try:
            for spec in program.buffers:
                self._buffers.append(device.allocate(spec.size))
            self._maps = [device.map(buffer) for buffer in self._buffers]
            for spec, memory in zip(program.buffers, self._maps, strict=True):
                memory[: len(spec.data)] = spec.data
            program.relocations.apply(self._maps, [buffer.address for buffer in self._buffers])
            for spec, buffer in zip(program.buffers, self._buffers, strict=True):
                if spec.role not in (Role.INPUT, Role.OUTPUT):
                    device.sync_for_device(buffer)
        except BaseException:
            self.close()
            raise
        self.jobs = [self._job(job) for job in program.jobs]
        """Jobs as the device gets them, in the program's order."""

    @property
    def buffers(self) -> Sequence[Buffer]:
        """The program's buffers on the device, in the program's order."""
        return self._buffers

    @property
    def memories(self) -> Sequence[memoryview]:
        """Their bytes."""
        return self._maps

    def core_of(self, job: int) -> int | None:
        """Return the number of the core that runs a job, None where the kernel chooses."""
        core: int | None = getattr(self.device, "core", None)
        return core

    def task_words(self, job: int, task: int) -> npt.NDArray[np.uint64]:
        """Return a task's command words as they are in the device's memory."""
        spec = self.program.jobs[job].tasks[task]
        return np.frombuffer(self._maps[self.program.commands], "<u8", spec.words, spec.offset)

    def fetch(self, address: int, size: int) -> bytes | None:
        """Return bytes that the NPU sees at an address; None where they lie in none of the program's buffers."""
        for buffer, memory in zip(self._buffers, self._maps, strict=True):
            offset = address - buffer.address
            if offset >= 0 and offset + size <= buffer.size:
                return bytes(memory[offset : offset + size])
        return None

    def task_text(self, job: int, task: int) -> str:
        """Return a task's command words, and what they lead to, as text."""
        return family_of(self.program.chip).command_text(self.task_words(job, task), self.fetch)

    def _job(self, job: ProgramJob) -> DeviceJob:
        commands = self._buffers[self.program.commands].address
        return DeviceJob(
            tuple(DeviceTask(commands + task.offset, task.words, task.kind) for task in job.tasks),
            tuple(self._buffers[number] for number in job.reads),
            tuple(self._buffers[number] for number in job.writes),
        )

    def close(self) -> None:
        """Free the buffers. Closing twice is allowed."""
        while self._buffers:
            self.device.free(self._buffers.pop())
