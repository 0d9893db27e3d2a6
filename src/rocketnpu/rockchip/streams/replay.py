"""Run a recording on the simulator: its buffers at its addresses, its jobs, its tasks; and look at every byte.

Each task's output is held against the integer model of what its list says
(:mod:`rocketnpu.rockchip.streams.stream_model`), and each operation's, where the recording has the reference's
tensors, against those (:mod:`rocketnpu.rockchip.streams.replay_reference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.models.integer_model import Int8
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.simulator import Memory, Npu, TaskReport
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.recording import RecordedJob, RecordedTask, Recording, Submission
from rocketnpu.rockchip.streams.stream_memory import Buffers, OutsideError, target_slots, target_values
from rocketnpu.rockchip.streams.stream_model import UndescribedError, task_output

Bytes = npt.NDArray[np.uint8]
OWN = "rocketnpu"
"""How the producer of recordings begins that this package's runtime wrote."""


class Verdict(Enum):
    """What became of a task."""

    EQUAL = "equal"
    DIFFERENT = "DIFFERENT"
    DEFECTIVE = "defective"
    """The list computes something wrong on silicon; the simulator said why and spoiled the output on purpose."""
    UNDESCRIBED = "not described"
    """The integer model does not cover it."""
    REFUSED = "REFUSED"
    """The simulator does not run it."""


@dataclass(frozen=True)
class Place:
    """One byte of a task's output."""

    submission: int
    task: int
    """Number within the submission."""
    surface: int
    row: int
    column: int
    channel: int
    found: int
    wanted: int

    def __str__(self) -> str:
        return (
            f"submission {self.submission} task {self.task}, surface {self.surface}, row {self.row}, "
            f"column {self.column}, channel {self.channel}: {self.found} instead of {self.wanted}"
        )


@dataclass(frozen=True)
class TaskOutcome:
    """One task."""

    submission: int
    job: int
    task: int
    units: tuple[str, ...]
    macs: int
    words: int
    verdict: Verdict
    about: str = ""
    """Why it is defective, not described or refused; the first differing byte."""
    first: Place | None = None
    remarks: tuple[str, ...] = ()


@dataclass
class Machine:
    """A submission's buffers, a simulated core on them, and what each task did."""

    submission: Submission
    number: int
    strict: bool
    arrays: dict[int, Bytes] = field(init=False)
    """Contents by handle, written by the simulator."""

    def __post_init__(self) -> None:
        """Map the buffers."""
        self.arrays = {buffer.handle: buffer.content() for buffer in self.submission.buffers}
        memory = Memory()
        for buffer in self.submission.buffers:
            memory.map(buffer.address, self.arrays[buffer.handle])
        self.buffers = Buffers({buffer.address: self.arrays[buffer.handle] for buffer in self.submission.buffers})
        self._npu = Npu(memory, strict=self.strict)

    def registers(self, task: RecordedTask) -> TaskRegisters:
        """Read a task's command list."""
        return TaskRegisters(self.buffers.span(task.address, task.words * 8).view("<u8").tolist())

    def begin(self) -> None:
        """Start another job."""
        self._npu.begin_job()

    def run(self, task: RecordedTask, number: int) -> TaskReport:
        """Run one task.

        Raises:
            SimulationError: it does what the hardware does not define.
        """
        return self._npu.run_task(task.address, task.words, task=number)


def is_own(recording: Recording) -> bool:
    """Say whether this package's runtime wrote a recording: then its lists must be sound."""
    return recording.producer.startswith(OWN)


def replay_tasks(recording: Recording) -> list[TaskOutcome]:
    """Run every submission from its recorded buffers and hold each task against the integer model.

    A submission ends where the simulator refuses a task.
    """
    outcomes: list[TaskOutcome] = []
    for number, submission in enumerate(recording.submissions):
        machine = Machine(submission, number, strict=is_own(recording))
        outcomes += _run_jobs(machine, submission.jobs)
    return outcomes


def _run_jobs(machine: Machine, jobs: Sequence[RecordedJob]) -> list[TaskOutcome]:
    outcomes: list[TaskOutcome] = []
    for number, job in enumerate(jobs):
        machine.begin()
        for task in job.tasks:
            outcomes.append(_run_task(machine, number, task, len(outcomes)))
            if outcomes[-1].verdict is Verdict.REFUSED:
                return outcomes
    return outcomes


def _run_task(machine: Machine, job: int, task: RecordedTask, number: int) -> TaskOutcome:
    registers = machine.registers(task)
    wanted: Int8 | None = None
    about = ""
    try:
        wanted = task_output(registers, machine.buffers)
    except UndescribedError as error:
        about = str(error)
    start = (machine.number, job, number, registers.units)
    try:
        report = machine.run(task, number)
    except SimulationError as error:
        return TaskOutcome(*start, 0, task.words, Verdict.REFUSED, str(error))
    done = (*start, report.macs, task.words)
    if wanted is None:
        verdict = Verdict.DEFECTIVE if report.defects else Verdict.UNDESCRIBED
        return TaskOutcome(*done, verdict, "; ".join(report.defects) or about, remarks=report.remarks)
    try:
        found = target_values(registers, machine.buffers)
    except OutsideError as error:
        return TaskOutcome(*done, Verdict.DIFFERENT, f"its output: {error}", remarks=report.remarks)
    if report.defects:
        wanted = _spoiled_alike(found, wanted)
    first = first_difference(found, wanted, machine.number, number)
    if first is not None:
        return TaskOutcome(*done, Verdict.DIFFERENT, str(first), first, report.remarks)
    if report.defects:
        return TaskOutcome(*done, Verdict.DEFECTIVE, "; ".join(report.defects), remarks=report.remarks)
    return TaskOutcome(*done, Verdict.EQUAL, remarks=report.remarks)


def _spoiled_alike(found: Int8, wanted: Int8) -> Int8:
    """Return the model's output spoiled as the simulator does it: every byte changed in the same bits."""
    change = found.view(np.uint8).flat[0] ^ wanted.view(np.uint8).flat[0]
    return (wanted.view(np.uint8) ^ change).view(np.int8) if change else wanted


def first_difference(found: Int8, wanted: Int8, submission: int, task: int) -> Place | None:
    """Return the first byte that differs, surface by surface as they lie in memory, or None."""
    wrong = np.argwhere(found != wanted)
    if not len(wrong):
        return None
    surfaces = wrong[:, 2] // RK3588.slot
    order = np.lexsort((wrong[:, 2], wrong[:, 1], wrong[:, 0], surfaces))
    row, column, channel = (int(value) for value in wrong[order[0]])
    values = (int(found[row, column, channel]), int(wanted[row, column, channel]))
    return Place(submission, task, channel // RK3588.slot, row, column, channel, *values)


def locate(tasks: Sequence[tuple[int, TaskRegisters]], address: int) -> tuple[int, int, int, int] | None:
    """Find which task writes the slot at an address: its number, and surface, row and column of its output."""
    for number, registers in tasks:
        at = np.argwhere(target_slots(registers) == address)
        if len(at):
            surface, row, column = (int(value) for value in at[0])
            return number, surface, row, column
    return None
