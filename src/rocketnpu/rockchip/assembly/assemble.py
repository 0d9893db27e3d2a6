"""Tasks become a program: regions get buffers, lists become words with holes, tasks become jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rocketnpu.graph import DType, Tensor
from rocketnpu.program.constants import REGION as CONSTANTS_REGION
from rocketnpu.program.layout import CellLayout, FeatureLayout, SurfaceLayout
from rocketnpu.program.memory import MemoryPlan, Region, Slot, plan_memory
from rocketnpu.program.program import (
    Binding,
    Program,
    ProgramBuffer,
    ProgramJob,
    ProgramTask,
    Role,
)
from rocketnpu.program.relocations import Relocations
from rocketnpu.rockchip.assembly.sentinel import Sentinel, Writers, sentinels
from rocketnpu.rockchip.emission.dpu import operand_end, written_end
from rocketnpu.rockchip.emission.emit import TRAILER_WORDS, CommandList, chain_words, emit
from rocketnpu.rockchip.lowering.lowering import Lowered
from rocketnpu.rockchip.registers.command import VALUE_MASK, VALUE_SHIFT
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.jobs import STATUS, job_groups, job_notes, opened, status_task
from rocketnpu.rockchip.tasks.task import PoolingTask, Task

CONSTANTS, COMMANDS = 0, 1
"""Numbers of the two buffers that every program has."""
TASK_ALIGNMENT = 64
"""Bytes between starts of command lists, as Mesa aligns them (spec 1.5)."""
Groups = Sequence[Sequence[Task]]
"""Tasks of each job."""


def assemble(lowered: Lowered, name: str, soc: Soc) -> Program:
    """Make a program of tasks.

    Raises:
        UnsupportedError: there is nothing to run.
        RegisterFieldError: a value does not fit its register.
    """
    groups = [opened(group, lowered.constants, soc) for group in job_groups(lowered.tasks, soc)]
    return assembled(lowered, groups, name, soc)


def assembled(
    lowered: Lowered, groups: Sequence[tuple[Task, ...]], name: str, soc: Soc, steps: Sequence[int] = ()
) -> Program:
    """Make a program of jobs.

    Args:
        lowered: what the tasks refer to.
        groups: tasks of each job.
        name: the program's.
        soc: the chip.
        steps: how many jobs run at once, step by step; one after another where not given.

    Raises:
        RegisterFieldError: a value does not fit its register.
    """
    graph = lowered.graph
    groups, plan, marks = _arrange(lowered, list(groups), soc, steps)
    lowered = replace(lowered, tasks=joined(groups))
    slots = {**plan.slots, CONSTANTS_REGION: Slot(CONSTANTS, 0)}
    lists = [emit(task, soc) for task in lowered.tasks]
    tasks, words, relocations = laid_out(lowered.tasks, lists, slots, soc)
    constants = lowered.constants.content()
    commands = words.tobytes()
    buffers = (
        ProgramBuffer("constants", Role.CONSTANTS, len(constants), constants),
        ProgramBuffer("commands", Role.COMMANDS, len(commands), commands),
        *(ProgramBuffer(label, role, size) for label, role, size in plan.roles),
    )
    return Program(
        name,
        soc.name,
        buffers,
        COMMANDS,
        relocations,
        jobs_of(groups, tasks, plan, marks),
        tuple(bound_to(graph.tensors[n], lowered.features[n], slots) for n in graph.inputs),
        tuple(bound_to(graph.tensors[n], lowered.features[n], slots) for n in graph.outputs),
        tuple(sorted({rule for task in lowered.tasks for rule in task.rules})),
        (*lowered.notes, *job_notes(lowered.tasks, soc)),
    )


def _arrange(
    lowered: Lowered, groups: list[tuple[Task, ...]], soc: Soc, steps: Sequence[int]
) -> tuple[list[tuple[Task, ...]], MemoryPlan, list[Sentinel]]:
    """Plan memory, and find each job's sentinel.

    A job whose last task has no place for itself gets a status task. That moves other things in memory, so everything
    is planned again; each round ends one more job with a status task, whose place is nobody else's for certain.
    """
    inputs = [lowered.features[number] for number in lowered.graph.inputs]
    while True:
        plan = planned(replace(lowered, tasks=joined(groups)), soc, spans(groups, steps))
        found = sentinels(groups, Writers.of(joined(groups), inputs, plan, COMMANDS + 1, soc))
        marks = [mark for mark in found if mark is not None]
        if len(marks) == len(groups):
            return groups, plan, marks
        for number, mark in enumerate(found):
            if mark is None:
                last = groups[number][-1]
                groups[number] = (*groups[number], status_task(number, last, lowered.constants, soc))


def joined(groups: Groups) -> tuple[Task, ...]:
    """Return the tasks of all groups in order."""
    return tuple(task for group in groups for task in group)


def spans(groups: Groups, steps: Sequence[int]) -> list[range]:
    """Return the numbers of the tasks that run at once, for each step of several jobs."""
    found, first, job = [], 0, 0
    for count in steps:
        end = first + sum(len(group) for group in groups[job : job + count])
        if count > 1:
            found.append(range(first, end))
        first, job = end, job + count
    return found


def planned(lowered: Lowered, soc: Soc, together: Sequence[range] = ()) -> MemoryPlan:
    """Give everything that tasks touch a place.

    Args:
        lowered: the tasks, in order.
        soc: the chip.
        together: numbers of tasks that run at once: what one of them touches lives as long as all of them.
    """
    graph = lowered.graph
    return plan_memory(
        [_widened(region, together) for region in _regions(lowered, soc)],
        [lowered.features[number].at.region for number in graph.inputs],
        [lowered.features[number].at.region for number in graph.outputs],
        COMMANDS + 1,
    )


def _regions(lowered: Lowered, soc: Soc) -> list[Region]:
    """Find size and life of each region that tasks read or write."""
    sizes: dict[str, int] = {}
    lives: dict[str, tuple[int, int]] = {}

    def touch(feature: FeatureMap, end: int, number: int) -> None:
        name = feature.at.region
        if name == CONSTANTS_REGION:
            return
        sizes[name] = max(sizes.get(name, 0), end)
        first, last = lives.get(name, (number, number))
        lives[name] = (min(first, number), max(last, number))

    last = len(lowered.tasks)
    for graph_input in lowered.graph.inputs:
        feature = lowered.features[graph_input]
        touch(feature, _end(feature), 0)
    for number, task in enumerate(lowered.tasks):
        touch(task.source.feature, _end(task.source.feature), number)
        if isinstance(task, PoolingTask):
            touch(task.target.feature, _end(task.target.feature), number)
            continue
        touch(task.target.feature, written_end(task, soc), number)
        if task.target.at.region.startswith(STATUS):  # nothing may lie there before or after, or it would tell nothing
            touch(task.target.feature, written_end(task, soc), 0)
            touch(task.target.feature, written_end(task, soc), last)
        if task.output.elementwise:
            operand = task.output.elementwise.operand.feature
            touch(operand, operand_end(task, soc), number)
    for graph_output in lowered.graph.outputs:
        feature = lowered.features[graph_output]
        touch(feature, _end(feature), last)
    return [Region(name, size, *lives[name]) for name, size in sizes.items()]


def _widened(region: Region, together: Sequence[range]) -> Region:
    first = next((span[0] for span in together if region.first in span), region.first)
    last = next((span[-1] for span in together if region.last in span), region.last)
    return replace(region, first=first, last=last)


def _end(feature: FeatureMap) -> int:
    return feature.end()


def laid_out(
    tasks: Sequence[Task], lists: Sequence[CommandList], slots: dict[str, Slot], soc: Soc
) -> tuple[list[ProgramTask], np.ndarray[tuple[int], np.dtype[np.uint64]], Relocations]:
    """Lay the lists one behind the other, link each to the next, and note every address."""
    step = TASK_ALIGNMENT // 8
    starts: list[int] = []
    length = 0
    for commands in lists:
        starts.append(length)
        length += -(-len(commands.words) // step) * step
    words = np.zeros(length, "<u8")
    holes: list[tuple[int, int, int]] = []
    made: list[ProgramTask] = []
    for number, (task, commands, start) in enumerate(zip(tasks, lists, starts, strict=True)):
        count = len(commands.words)
        words[start : start + count] = np.array(commands.words, np.uint64)
        if number + 1 < len(lists):
            tail = start + count - TRAILER_WORDS
            words[tail : tail + 2] = np.array(chain_words(len(lists[number + 1].words), soc), np.uint64)
            holes.append((tail, COMMANDS, starts[number + 1] * 8))
        for word, location in commands.addresses.items():
            slot = slots[location.region]
            holes.append((start + word, slot.buffer, slot.offset + location.offset))
        made.append(ProgramTask(start * 8, count, commands.enable_mask, task.operator, task.label, task.macs))
    columns = np.array(holes, np.int64).reshape(-1, 3)
    table = Relocations.uniform(
        (COMMANDS, columns[:, 0] * 8), (columns[:, 1], columns[:, 2]), width=8, shift=VALUE_SHIFT, mask=VALUE_MASK
    )
    return made, words, table


def jobs_of(
    groups: Groups, made: Sequence[ProgramTask], plan: MemoryPlan, marks: Sequence[Sentinel]
) -> tuple[ProgramJob, ...]:
    """Make a job of each group. Later jobs wait for earlier ones by the buffers that both write.

    The mainline kernel attaches a job's fence to the buffers of its write list only, and a job waits for the fences on
    all buffers of both its lists (addendum 9.1). A buffer that is read alone orders nothing: not a later writer behind
    an earlier reader either. So every job lists every buffer that is not a pure input as written, whether or not it
    touches it: each then waits for all before it, and who waits for any output waits for all jobs. Inputs are written
    by the host only; commands and constants never change, so they are in no list.
    """
    read = tuple(COMMANDS + 1 + i for i, (_, role, _) in enumerate(plan.roles) if role is Role.INPUT)
    written = tuple(COMMANDS + 1 + i for i, (_, role, _) in enumerate(plan.roles) if role is not Role.INPUT)
    jobs = []
    first = 0
    for group, sentinel in zip(groups, marks, strict=True):
        jobs.append(ProgramJob(tuple(made[first : first + len(group)]), read, written, sentinel))
        first += len(group)
    return tuple(jobs)


def bound_to(tensor: Tensor, feature: FeatureMap, slots: dict[str, Slot]) -> Binding:
    """Say where a tensor of the host lies."""
    slot = slots[feature.at.region]
    offset = slot.offset + feature.at.offset
    flip = tensor.dtype is DType.UINT8 and not feature.unsigned
    size = feature.height, feature.width, feature.channels
    layout: FeatureLayout = SurfaceLayout(*size, offset, feature.surface_pitch, flip, feature.slot)
    if feature.in_cells:
        layout = CellLayout(2 * size[0], 2 * size[1], size[2] // 4, offset, flip, feature.slot)
    return Binding(tensor.index, tensor.name, tensor.shape, tensor.dtype, slot.buffer, layout)
