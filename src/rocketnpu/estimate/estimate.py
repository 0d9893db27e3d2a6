"""An estimate: each task with the parts of its time, what stands between tasks, and what would change the sum.

Nothing here knows a chip: its family turns command lists into :class:`TimedTask` (:mod:`rocketnpu.family`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Driver = Literal["mainline", "vendor"]


@dataclass(frozen=True)
class Conditions:
    """What is known of the board. None stands for what its kernel driver is known to do."""

    driver: Driver = "mainline"
    clock_mhz: float | None = None
    cores: int = 1
    """Cores that are busy at once, each with an inference of its own."""
    start_us: float | None = None
    """Microseconds from the end of a task to the start of the next."""


@dataclass(frozen=True)
class TimedTask:
    """One task. Times in microseconds, sizes in bytes."""

    operator: int | None
    """Number of the model's operator, None where the stream does not say."""
    label: str
    parts: Mapping[str, float]
    """Time of each part by name. The first, ``load``, comes before the others, which go on at once."""
    busy_us: float
    """From the task's start to its end."""
    start_us: float
    """From the end of the task before it to its own start."""
    hidden_us: float
    """What would be saved at most if loads went on while earlier rows are computed."""
    bound_by: str
    """Name of the part that takes longest."""
    read: int
    written: int
    operations: int
    """Multiply-accumulates that the chip does, padding lanes included."""

    @property
    def us(self) -> float:
        """Its time with its start."""
        return self.start_us + self.busy_us


@dataclass(frozen=True)
class Spread:
    """Measured time / estimated time, at the 10th and the 90th percentile of what the model was not fitted to."""

    low: float
    high: float
    what: str


@dataclass(frozen=True)
class Board:
    """The conditions with every gap filled, and what the chip can do at most under them."""

    driver: Driver
    clock_mhz: float
    cores: int
    host_us: float
    """The host's part of one inference for each part of the model."""
    host_what: str
    peak_operations: float
    """Multiply-accumulates a second of one core."""
    peak_bytes: float
    """Bytes read a second of one core."""


@dataclass(frozen=True)
class CpuOperator:
    """An operator that the NPU does not take."""

    operator: int
    kind: str
    macs: int


@dataclass(frozen=True)
class OperatorTime:
    """What one operator costs."""

    operator: int | None
    kind: str
    tasks: int
    us: float
    share: float
    """Of the time on the NPU, starts included."""
    bound_by: str
    read: int
    written: int


@dataclass(frozen=True)
class Lever:
    """Something that would change the total."""

    name: str
    total_us: float
    gain_us: float
    note: str = ""


@dataclass(frozen=True)
class Estimate:
    """One inference."""

    name: str
    chip: str
    board: Board
    parts: tuple[tuple[TimedTask, ...], ...]
    """Tasks of each part that the NPU runs in one go; of a batch each part comes as often as there are images."""
    cpu: tuple[CpuOperator, ...]
    spread: Spread
    levers: tuple[Lever, ...] = ()

    @property
    def tasks(self) -> tuple[TimedTask, ...]:
        """All tasks in order."""
        return tuple(task for part in self.parts for task in part)

    @property
    def npu_us(self) -> float:
        """Time in which the NPU works."""
        return sum(task.busy_us for task in self.tasks)

    @property
    def starts_us(self) -> float:
        """Time between tasks."""
        return sum(task.start_us for task in self.tasks)

    @property
    def host_us(self) -> float:
        """The host's time around the parts; operators that the CPU runs are not in it."""
        return self.board.host_us * len(self.parts)

    @property
    def total_us(self) -> float:
        """All three."""
        return self.npu_us + self.starts_us + self.host_us

    @property
    def hidden_us(self) -> float:
        """What overlapping of loads with computing could save at most; not in any total."""
        return sum(task.hidden_us for task in self.tasks)

    @property
    def range_us(self) -> tuple[float, float]:
        """Within which the true total lies for eight of ten."""
        fixed = self.starts_us + self.host_us
        return self.npu_us * self.spread.low + fixed, self.npu_us * self.spread.high + fixed

    @property
    def operators(self) -> tuple[OperatorTime, ...]:
        """The tasks' times by operator, in the order of their first tasks."""
        groups: dict[tuple[int, int | None, str], list[TimedTask]] = {}
        for number, part in enumerate(self.parts):
            for task in part:
                kind = task.label.partition(" rows ")[0]
                key = (number, None, kind) if task.operator is None else (0, task.operator, "")
                groups.setdefault(key, []).append(task)
        whole = self.npu_us + self.starts_us
        return tuple(_operator(found, whole) for found in groups.values())


def _operator(tasks: Sequence[TimedTask], whole: float) -> OperatorTime:
    us = sum(task.us for task in tasks)
    parts: dict[str, float] = {}
    for task in tasks:
        for name, value in bounding(task).items():
            parts[name] = parts.get(name, 0.0) + value
    return OperatorTime(
        tasks[0].operator,
        tasks[0].label.partition(" rows ")[0],
        len(tasks),
        us,
        us / whole if whole else 0.0,
        max(parts, key=lambda name: parts[name]),
        sum(task.read for task in tasks),
        sum(task.written for task in tasks),
    )


def bounding(task: TimedTask) -> dict[str, float]:
    """Return what a task's time adds up from: its start, its load, and the slowest of what goes on at once."""
    rest = {name: value for name, value in task.parts.items() if name != "load"}
    slowest = max(rest, key=lambda name: rest[name])
    found = {"start": task.start_us, "load": task.parts.get("load", 0.0), slowest: rest[slowest]}
    return {name: value for name, value in found.items() if value}
