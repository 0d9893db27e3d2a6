"""The finished artefact: everything a device needs to run one NPU part of a network, at no address yet.

A program is buffers, command words with holes where addresses belong, jobs of tasks, and the map between the host's
tensors and buffers. Placing it (:mod:`rocketnpu.device.executor`) fills the holes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rocketnpu.graph import DType
from rocketnpu.program.layout import FeatureLayout
from rocketnpu.program.relocations import Relocations


class Role(Enum):
    """What a buffer is for."""

    CONSTANTS = "constants"
    """Weights, biases, tables; written once."""
    COMMANDS = "commands"
    """Command words; written once, after placing."""
    SCRATCH = "scratch"
    """Tensors between operators of the program."""
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, eq=False)
class ProgramBuffer:
    """One buffer. ``data`` is its first content (zero where shorter than ``size``), for constants and commands."""

    name: str
    role: Role
    size: int
    data: bytes = b""


@dataclass(frozen=True)
class ProgramTask:
    """One command list inside the commands buffer."""

    offset: int
    """Bytes from the start of the commands buffer."""
    words: int
    """64-bit words, all of them."""
    kind: int
    """What runs it, in the numbers of the chip's family; opaque to everything between assembly and driver."""
    operator: int
    """Index of the graph's operator that the task works for."""
    label: str
    """One line for people: operator kind, rows, channels."""
    macs: int


@dataclass(frozen=True)
class ProgramJob:
    """Tasks that run in order on one core. Buffers by their number in the program."""

    tasks: tuple[ProgramTask, ...]
    reads: tuple[int, ...]
    """Buffers read that an input or an earlier job fills; where a kernel lets a job reach only what it names, all."""
    writes: tuple[int, ...]
    """Buffers written, disjoint from ``reads``: the same for every job of a program, so that jobs run in order."""
    sentinel: tuple[int, int, int]
    """Buffer, offset and bytes of a place that the last task of the job writes and nothing else does, neither another
    task of the program nor the packing of an input: who fills it with random bytes before a run, and finds any of them
    changed afterwards, knows that this task ran."""


@dataclass(frozen=True)
class Binding:
    """A tensor of the host and where it lies."""

    tensor: int
    """Tensor number in the graph."""
    name: str
    shape: tuple[int, ...]
    dtype: DType
    buffer: int
    """Number of the buffer in the program."""
    layout: FeatureLayout


@dataclass(frozen=True, eq=False)
class Program:
    """One NPU part of a network, compiled."""

    name: str
    chip: str
    """Name of the chip that it is compiled for."""
    buffers: tuple[ProgramBuffer, ...]
    commands: int
    """Number of the commands buffer."""
    relocations: Relocations
    jobs: tuple[ProgramJob, ...]
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    rules: tuple[str, ...] = ()
    """Names of the hardware rules that it relies on (its chip's table of evidence), sorted."""
    notes: tuple[str, ...] = ()
    """What the compiler wants people to know, a line each."""

    @property
    def tasks(self) -> tuple[ProgramTask, ...]:
        """All tasks in the order of their jobs."""
        return tuple(task for job in self.jobs for task in job.tasks)

    def __str__(self) -> str:
        lines = [f"program {self.name} for {self.chip}: {len(self.jobs)} jobs, {len(self.tasks)} tasks"]
        lines += [f"  buffer {i} {b.role.value} {b.name}: {b.size} bytes" for i, b in enumerate(self.buffers)]
        for number, job in enumerate(self.jobs):
            lines.append(f"  job {number}: reads {list(job.reads)} writes {list(job.writes)}")
            lines += [f"    operator {task.operator}: {task.label}" for task in job.tasks]
        return "\n".join(lines)
