"""Stages become a program for each core and the copies between them, or one program where cores share memory.

Which cells of memory a core holds is followed task by task: whoever writes a cell has it, and all others have not.
Before a stage each core is brought what its tasks read and it does not hold, from a core that does. In shared memory
nothing is brought, and no core may write what another reads or writes in the same stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import REGION as CONSTANTS_REGION
from rocketnpu.program.memory import MemoryPlan, Slot
from rocketnpu.program.program import Program, ProgramBuffer, Role
from rocketnpu.program.split import UNIT, Copy, SharedProgram, SplitProgram, Step
from rocketnpu.rockchip.assembly.assemble import (
    COMMANDS,
    CONSTANTS,
    assembled,
    bound_to,
    jobs_of,
    joined,
    laid_out,
    planned,
    spans,
)
from rocketnpu.rockchip.assembly.sentinel import Sentinel, Writers, sentinels
from rocketnpu.rockchip.assembly.splitting import Stages
from rocketnpu.rockchip.emission.dpu import written_surfaces
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.lowering.lowering import Lowered
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap, is_packed
from rocketnpu.rockchip.tasks.jobs import SPARE, job_notes, opened, status_task, with_fetches, with_loaders
from rocketnpu.rockchip.tasks.task import PoolingTask, Rows, Task

Held = npt.NDArray[np.bool_]
Groups = list[list[tuple[Task, ...]]]
"""Tasks of each core in each stage; empty where it waits."""


def assemble_split(stages: Stages, name: str, soc: Soc) -> SplitProgram:
    """Make a program for each core.

    Raises:
        RegisterFieldError: a value does not fit its register.
    """
    groups = _groups(stages)
    cores = len(groups[0])
    lowered = stages.lowered
    while True:
        lowered = replace(lowered, tasks=joined([group for stage in groups for group in stage]))
        plan = planned(lowered, soc)
        carrier = _Carrier(cores, plan, soc)
        steps = carrier.follow(groups, lowered)
        marks = [_marks(groups, core, lowered, plan, carrier, soc) for core in range(cores)]
        if all(mark is not None for found in marks for mark in found.values()):
            break
        for core, found in enumerate(marks):
            for stage in (stage for stage, mark in found.items() if mark is None):
                number = stage * cores + core
                status = status_task(number, groups[stage][core][-1], lowered.constants, soc)
                groups[stage][core] = (*groups[stage][core], status)
    programs = tuple(
        _program([stage[core] for stage in groups], marks[core], lowered, plan, f"{name} (core {core} of {cores})", soc)
        for core in range(cores)
    )
    return SplitProgram(programs, tuple(_numbered(steps, groups)), carrier.gather(lowered))


def assemble_shared(stages: Stages, name: str, soc: Soc) -> SharedProgram:
    """Make one program for cores that share memory.

    Raises:
        UnsupportedError: a core would write what another reads or writes at the same time.
        RegisterFieldError: a value does not fit its register.
    """
    constants = stages.lowered.constants
    groups = [[opened(group, constants, soc) if group else () for group in stage] for stage in _groups(stages)]
    jobs = [group for stage in groups for group in stage if group]
    lowered = replace(stages.lowered, tasks=joined(jobs))
    busy = [sum(bool(group) for group in stage) for stage in groups]
    carrier = _Carrier(len(groups[0]), planned(lowered, soc, spans(jobs, busy)), soc)
    for number, stage in enumerate(groups):
        if not carrier.is_apart(stage):
            raise UnsupportedError(f"{name}: cores would write over each other's maps in step {number}")
    numbers = iter(range(len(jobs)))
    steps = tuple(tuple(next(numbers) if group else None for group in stage) for stage in groups)
    return SharedProgram(assembled(lowered, jobs, name, soc, busy), steps)


def _groups(stages: Stages) -> Groups:
    """Return what each core runs in each stage, with what must run before."""
    cores = max(len(shares) for shares in stages.stages)
    return [
        [tuple(with_fetches(with_loaders(share))) for share in shares] + [()] * (cores - len(shares))
        for shares in stages.stages
    ]


def _numbered(steps: Sequence[tuple[Copy, ...]], groups: Groups) -> Iterable[Step]:
    """Give the jobs of each core numbers in the order of stages."""
    counts = [0] * len(groups[0])
    for copies, stage in zip(steps, groups, strict=True):
        jobs: list[int | None] = []
        for core, group in enumerate(stage):
            jobs.append(counts[core] if group else None)
            counts[core] += bool(group)
        yield Step(copies, tuple(jobs))


def _program(
    groups: Sequence[tuple[Task, ...]],
    marks: dict[int, Sentinel | None],
    lowered: Lowered,
    plan: MemoryPlan,
    name: str,
    soc: Soc,
) -> Program:
    mine = [group for group in groups if group]
    tasks = joined(mine)
    slots = {**plan.slots, CONSTANTS_REGION: Slot(CONSTANTS, 0)}
    made, words, table = laid_out(tasks, [emit(task, soc) for task in tasks], slots, soc)
    constants, commands = lowered.constants.content(), words.tobytes() or bytes(UNIT)
    graph = lowered.graph
    return Program(
        name,
        soc.name,
        (
            ProgramBuffer("constants", Role.CONSTANTS, max(len(constants), UNIT), constants),
            ProgramBuffer("commands", Role.COMMANDS, len(commands), commands),
            *(ProgramBuffer(label, role, size) for label, role, size in plan.roles),
        ),
        COMMANDS,
        table,
        jobs_of(mine, made, plan, [mark for mark in marks.values() if mark is not None]),
        tuple(bound_to(graph.tensors[n], lowered.features[n], slots) for n in graph.inputs),
        tuple(bound_to(graph.tensors[n], lowered.features[n], slots) for n in graph.outputs),
        tuple(sorted({rule for task in lowered.tasks for rule in task.rules})),
        (*lowered.notes, *job_notes(tasks, soc)),
    )


def _marks(
    groups: Groups, core: int, lowered: Lowered, plan: MemoryPlan, carrier: _Carrier, soc: Soc
) -> dict[int, Sentinel | None]:
    """Find the sentinel of each job of a core: nothing else may write there, not the CPU between cores either."""
    mine = {stage: shares[core] for stage, shares in enumerate(groups) if shares[core]}
    inputs = [lowered.features[number] for number in lowered.graph.inputs]
    writers = Writers.of(joined(list(mine.values())), inputs, plan, COMMANDS + 1, soc)
    for buffer, cells in carrier.received[core].items():
        writers.counts[buffer][cells] += 1
    return dict(zip(mine, sentinels(list(mine.values()), writers), strict=True))


class _Carrier:
    """Knows which cells each core holds, and collects what must be carried."""

    def __init__(self, cores: int, plan: MemoryPlan, soc: Soc) -> None:
        self.plan, self.soc, self.cores = plan, soc, cores
        sizes = {COMMANDS + 1 + number: -(-size // UNIT) for number, (_, _, size) in enumerate(plan.roles)}
        self.held: list[dict[int, Held]] = [
            {buffer: np.zeros(size, np.bool_) for buffer, size in sizes.items()} for _ in range(cores)
        ]
        self.received: list[dict[int, Held]] = [
            {buffer: np.zeros(size, np.bool_) for buffer, size in sizes.items()} for _ in range(cores)
        ]

    def follow(self, groups: Groups, lowered: Lowered) -> list[tuple[Copy, ...]]:
        """Go through all stages; return what is carried before each."""
        for number in lowered.graph.inputs:
            feature = lowered.features[number]
            self._mark(self.held[0], Rows(feature, 0, feature.height), feature.surfaces)
        found = []
        for stage in groups:
            copies: list[Copy] = []
            for core, tasks in enumerate(stage):
                copies += self._bring(core, self._needed(tasks))
            found.append(tuple(copies))
            for core, tasks in enumerate(stage):
                for task in tasks:
                    self._write(core, task)
        return found

    def is_apart(self, stage: Sequence[tuple[Task, ...]]) -> bool:
        """Say whether no core writes in a stage what another reads or writes; spare places do not count."""
        written, touched = [], []
        for tasks in stage:
            made = self._nothing()
            for task in tasks:
                if task.target.at.region not in SPARE:
                    self._mark(made, task.target, self._written(task))
            needed = self._needed(tasks)
            written.append(made)
            touched.append({buffer: cells | needed[buffer] for buffer, cells in made.items()})
        return not any(
            (cells & other[buffer]).any()
            for core, made in enumerate(written)
            for number, other in enumerate(touched)
            if number != core
            for buffer, cells in made.items()
        )

    def gather(self, lowered: Lowered) -> tuple[Copy, ...]:
        """Return what the first core lacks of the outputs."""
        needed = self._nothing()
        for number in lowered.graph.outputs:
            feature = lowered.features[number]
            self._mark(needed, Rows(feature, 0, feature.height), feature.surfaces)
        return tuple(self._bring(0, needed))

    def _nothing(self) -> dict[int, Held]:
        return {buffer: np.zeros_like(cells) for buffer, cells in self.held[0].items()}

    def _needed(self, tasks: Sequence[Task]) -> dict[int, Held]:
        """Find what tasks read that none of them wrote before."""
        needed, made = self._nothing(), self._nothing()
        for task in tasks:
            for rows in _read(task):
                if rows.feature.at.region != CONSTANTS_REGION:
                    read = self._nothing()
                    self._mark(read, rows, rows.feature.surfaces)
                    for buffer, cells in read.items():
                        needed[buffer] |= cells & ~made[buffer]
            self._mark(made, task.target, self._written(task))
        return needed

    def _written(self, task: Task) -> int:
        return task.target.feature.surfaces if isinstance(task, PoolingTask) else written_surfaces(task, self.soc)

    def _bring(self, core: int, needed: dict[int, Held]) -> list[Copy]:
        """Find from where a core gets what it needs and does not hold."""
        copies = []
        for buffer, cells in needed.items():
            missing = cells & ~self.held[core][buffer]
            for other in range(self.cores):
                taken = missing & self.held[other][buffer]
                if other != core and taken.any():
                    copies.append(Copy(other, core, buffer, np.flatnonzero(taken)))
                    self.held[core][buffer] |= taken
                    self.received[core][buffer] |= taken
                    missing = missing & ~taken
        return copies

    def _write(self, core: int, task: Task) -> None:
        written = self._nothing()
        self._mark(written, task.target, self._written(task))
        for buffer, cells in written.items():
            for other in range(self.cores):
                if other == core:
                    self.held[other][buffer] |= cells
                else:
                    self.held[other][buffer] &= ~cells

    def _mark(self, cells: dict[int, Held], rows: Rows, surfaces: int) -> None:
        """Mark the cells of some rows."""
        place, feature = self.plan.slots[rows.feature.at.region], rows.feature
        flat = cells[place.buffer]
        first = place.offset + rows.at.offset
        if is_packed(feature, self.soc):
            flat[first // UNIT : -(-(first + rows.count * feature.line_bytes) // UNIT)] = True
            return
        _strided(flat[first // UNIT :], feature, rows.count, surfaces)[...] = True


def _strided(flat: Held, feature: FeatureMap, rows: int, surfaces: int) -> Held:
    pitch, line = feature.surface_pitch // UNIT, feature.line_bytes // UNIT
    last = (surfaces - 1) * pitch + (rows - 1) * line + feature.width
    if last > flat.size:
        raise ValueError(f"{feature} leaves its buffer by {last - flat.size} cells")
    return np.lib.stride_tricks.as_strided(flat, (surfaces, rows, feature.width), (pitch, line, 1))


def _read(task: Task) -> list[Rows]:
    """Return what a task reads of maps."""
    found = [task.source]
    if not isinstance(task, PoolingTask) and task.output.elementwise is not None:
        found.append(task.output.elementwise.operand)
    return found
