"""A program placed on a device: buffers allocated, addresses filled in, ready to run again and again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.device.base import Buffer, Device, DeviceJob, DeviceTask
from rocketnpu.device.failure import describe_failure
from rocketnpu.errors import DeviceTimeoutError, InputError
from rocketnpu.family import family_of
from rocketnpu.program.program import Binding, Program, ProgramJob, Role

Array = npt.NDArray[np.generic]
SIMULATOR = "simulator"
"""Name of the device that runs anything: nothing can break there."""
TIMEOUT = 30.0
"""Seconds to wait for a program. The kernel's own limit of 500 ms a job strikes far earlier on an NPU."""


class PlacedProgram(Closing):
    """A program in a device's memory. Not thread safe: one inference at a time.

    Closing it frees its buffers; the device stays the caller's.
    """

    def __init__(
        self, device: Device, program: Program, *, allow_unproven: bool = False, bundle_folder: Path | None = None
    ) -> None:
        """Allocate, fill and relocate.

        Args:
            device: where to run; it stays the caller's.
            program: what to run.
            allow_unproven: whether an NPU may run a program that relies on unproven hardware rules; the simulator
                always may.
            bundle_folder: where failure bundles are written; the system's folder for temporary files by default.

        Raises:
            DeviceError: the device has no room, or the program relies on unproven rules.
        """
        if not allow_unproven and device.name != SIMULATOR:
            family_of(program.chip).evidence.refuse_unproven(program.rules, device.name)
        self.device, self.program, self.bundle_folder = device, program, bundle_folder
        self._buffers: list[Buffer] = []
        try:
            for spec in program.buffers:
                self._buffers.append(device.allocate(spec.size))
            self._maps = [device.map(buffer) for buffer in self._buffers]
            for spec, memory in zip(program.buffers, self._maps, strict=True):
                memory[: len(spec.data)] = spec.data
            self._relocate()
            for spec, buffer in zip(program.buffers, self._buffers, strict=True):
                if spec.role not in (Role.INPUT, Role.OUTPUT):
                    device.sync_for_device(buffer)
        except BaseException:
            self.close()
            raise
        self.jobs = [self._job(job) for job in program.jobs]
        """Jobs as the device gets them, in the program's order."""
        self._inputs = list(dict.fromkeys(binding.buffer for binding in program.inputs))
        self._marked = list(dict.fromkeys(job.sentinel[0] for job in program.jobs))
        self._results = list(dict.fromkeys(binding.buffer for binding in program.outputs))

    @property
    def buffers(self) -> Sequence[Buffer]:
        """The program's buffers on the device, in the program's order."""
        return self._buffers

    @property
    def memories(self) -> Sequence[memoryview]:
        """Their bytes."""
        return self._maps

    def task_words(self, job: int, task: int) -> npt.NDArray[np.uint64]:
        """Return a task's command words as they are in the device's memory."""
        spec = self.program.jobs[job].tasks[task]
        return np.frombuffer(self._maps[self.program.commands], "<u8", spec.words, spec.offset)

    def _relocate(self) -> None:
        table = self.program.relocations
        words = np.frombuffer(self._maps[self.program.commands], "<u8")
        addresses = np.array([buffer.address for buffer in self._buffers], np.int64)
        values = (addresses[table.buffers] + table.addends).astype(np.uint64)
        words[table.words] |= values << np.uint64(16)

    def _job(self, job: ProgramJob) -> DeviceJob:
        commands = self._buffers[self.program.commands].address
        return DeviceJob(
            tuple(DeviceTask(commands + task.offset, task.words, task.enable_mask) for task in job.tasks),
            tuple(self._buffers[number] for number in job.reads),
            tuple(self._buffers[number] for number in job.writes),
        )

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array] | None = None) -> list[Array]:
        """Run one inference.

        Args:
            inputs: one array for each of the program's inputs, of its shape and element type.
            outputs: arrays to fill, C-contiguous; made where not given.

        Returns:
            One array for each of the program's outputs.

        Raises:
            InputError: an array does not fit its tensor.
            JobFailedError: a job did not run to its end; the next run may work again.
            DeviceError: the device failed otherwise.
        """
        program, device = self.program, self.device
        if len(inputs) != len(program.inputs):
            raise InputError(f"{program.name} has {len(program.inputs)} inputs, {len(inputs)} arrays were given")
        for binding, array in zip(program.inputs, inputs, strict=True):
            checked = _fitting(binding, array)
            binding.layout.pack(np.ascontiguousarray(checked), self._maps[binding.buffer])
        patterns = [self._mark(job) for job in program.jobs]
        for number in dict.fromkeys((*self._inputs, *self._marked)):
            device.sync_for_device(self._buffers[number])
        self._execute(patterns)
        results = list(outputs) if outputs is not None else [_empty(binding) for binding in program.outputs]
        for binding, result in zip(program.outputs, results, strict=True):
            binding.layout.unpack(self._maps[binding.buffer], _fitting(binding, result))
        return results

    def _mark(self, job: ProgramJob) -> bytes:
        """Fill what the job's last task must write with a pattern: the mainline kernel reports no failed job."""
        number, offset, size = job.sentinel
        pattern = os.urandom(size)
        self._maps[number][offset : offset + size] = pattern
        return pattern

    def _execute(self, patterns: Sequence[bytes]) -> None:
        """Submit, wait, and look whether every job wrote over its pattern."""
        refused: DeviceTimeoutError | None = None
        try:
            self.device.submit(self.jobs)
        except DeviceTimeoutError as error:  # a driver that does report failed jobs
            refused = error
        for number in dict.fromkeys((*self._marked, *self._results)):
            self.device.sync_for_cpu(self._buffers[number], TIMEOUT)
        for index, (job, pattern) in enumerate(zip(self.program.jobs, patterns, strict=True)):
            number, offset, size = job.sentinel
            if self._maps[number][offset : offset + size] == pattern:
                raise describe_failure(self, index) from refused
        if refused:
            raise refused

    def close(self) -> None:
        """Free the buffers. Closing twice is allowed."""
        while self._buffers:
            self.device.free(self._buffers.pop())


def run(device: Device, program: Program, inputs: Sequence[Array], *, allow_unproven: bool = False) -> list[Array]:
    """Place a program, run it once, and free it again."""
    with PlacedProgram(device, program, allow_unproven=allow_unproven) as placed:
        return placed.run(inputs)


def _empty(binding: Binding) -> Array:
    return np.empty(binding.shape, binding.dtype.value)


def _fitting(binding: Binding, array: Array) -> Array:
    if array.shape != binding.shape or array.dtype != np.dtype(binding.dtype.value):
        raise InputError(
            f"tensor {binding.name!r} is {binding.dtype.value} of shape {binding.shape}, "
            f"given was {array.dtype} of shape {array.shape}"
        )
    return array
