"""Tasks become a program: regions get buffers, instructions and streams one buffer, tasks jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Tensor
from rocketnpu.program.constants import REGION, Location
from rocketnpu.program.layout import PlaneLayout
from rocketnpu.program.memory import MemoryPlan, Region, Slot, plan_memory
from rocketnpu.program.program import Binding, Program, ProgramBuffer, ProgramJob, ProgramTask, Role
from rocketnpu.program.relocations import Relocations
from rocketnpu.verisilicon.assembly.sentinel import CERTAIN_BYTES, Written, sentinel
from rocketnpu.verisilicon.emission.emit import KINDS, emit, stream
from rocketnpu.verisilicon.emission.words import Hole, Instruction
from rocketnpu.verisilicon.lowering.lowering import Lowered
from rocketnpu.verisilicon.registers.instruction import WORD
from rocketnpu.verisilicon.registers.states import INSTRUCTION_ALIGNMENT
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.task import Move, MoveKind, Planes, Task

CONSTANTS, COMMANDS = 0, 1
"""Numbers of the two buffers that every program has."""
STATUS = "status"
KEPT_APART = 64 << 20
"""Bytes up to which no scratch memory is used twice: then each task leaves a place of its own, and a failure names its
operator."""
_STREAM_ALIGNMENT = 8


def assemble(lowered: Lowered, name: str, soc: Soc) -> Program:
    """Make a program of tasks.

    Raises:
        UnsupportedError: a bias does not fit its 32 bits.
        RegisterFieldError: a value does not fit its field.
    """
    lowered = _closed(lowered)
    tasks = lowered.tasks
    instructions = [emit(task, lowered.constants, soc) for task in tasks]
    plan = _planned(lowered)
    slots: Mapping[str, Slot] = {**plan.slots, REGION: Slot(CONSTANTS, 0)}
    commands, made, relocations = _laid_out(tasks, instructions, slots)
    constants = lowered.constants.content()
    graph = lowered.graph
    return Program(
        name,
        soc.name,
        (
            ProgramBuffer("constants", Role.CONSTANTS, len(constants), constants),
            ProgramBuffer("commands", Role.COMMANDS, len(commands), commands),
            *(ProgramBuffer(label, role, size) for label, role, size in plan.roles),
        ),
        COMMANDS,
        relocations,
        _jobs(lowered, made, plan),
        tuple(_bound(graph.tensors[number], lowered.features[number], slots) for number in graph.inputs),
        tuple(_bound(graph.tensors[number], lowered.features[number], slots) for number in graph.outputs),
        tuple(sorted({rule for task in tasks for rule in task.rules})),
    )


def _closed(lowered: Lowered) -> Lowered:
    """Return the tasks with one behind them that copies a few constant bytes, where the last writes too few to tell.

    Raises:
        UnsupportedError: there is nothing to run.
    """
    if not lowered.tasks:
        name = lowered.graph.name
        raise UnsupportedError(f"{name} computes nothing: its outputs are its inputs, seen in another shape")
    last = lowered.tasks[-1]
    if last.target.size >= CERTAIN_BYTES and not _is_scattered(last):
        return lowered
    source = Planes(lowered.constants.add(bytes(range(1, CERTAIN_BYTES + 1))), 1, 1, CERTAIN_BYTES)
    target = replace(source, at=Location(STATUS))
    status = Move(MoveKind.PAD, source, target, "a sign that the job has run", last.operator)
    return replace(lowered, tasks=(*lowered.tasks, status))


def _is_scattered(task: Task) -> bool:
    """Say whether a task writes only parts of the bytes between its first and its last."""
    return isinstance(task, Move) and task.kind is MoveKind.PLACE


def _planned(lowered: Lowered) -> MemoryPlan:
    """Give everything that tasks touch a place."""
    graph, features = lowered.graph, lowered.features
    sizes: dict[str, int] = {}
    lives: dict[str, tuple[int, int]] = {}
    last = len(lowered.tasks)

    def touch(planes: Planes, number: int) -> None:
        name = planes.at.region
        if name != REGION:
            sizes[name] = max(sizes.get(name, 0), planes.end)
            first, final = lives.get(name, (number, number))
            lives[name] = (min(first, number), max(final, number))

    for number in graph.inputs:
        touch(features[number], 0)
    for number, task in enumerate(lowered.tasks):
        touch(task.source, number)
        touch(task.target, number)
    for number in graph.outputs:
        touch(features[number], last)
    apart = sum(sizes.values()) <= KEPT_APART
    regions = [Region(name, size, *((0, last) if apart else lives[name])) for name, size in sizes.items()]
    return plan_memory(
        regions,
        [features[number].at.region for number in graph.inputs],
        [features[number].at.region for number in graph.outputs],
        COMMANDS + 1,
    )


def _laid_out(
    tasks: Sequence[Task], instructions: Sequence[Instruction], slots: Mapping[str, Slot]
) -> tuple[bytes, list[ProgramTask], Relocations]:
    """Lay instructions and behind them streams one after another, and note every address."""
    holes: list[tuple[int, Hole]] = []
    content = bytearray()
    starts = []
    for instruction in instructions:
        starts.append(len(content))
        holes += [(len(content) + WORD * word, hole) for word, hole in instruction.holes.items()]
        content += instruction.words.astype("<u4").tobytes()
        content += bytes(-len(content) % INSTRUCTION_ALIGNMENT)
    made = []
    for task, instruction, start in zip(tasks, instructions, starts, strict=True):
        words, place = stream(instruction.unit)
        holes.append((len(content) + WORD * place, Hole(Location("", start))))
        size = len(words) * WORD // _STREAM_ALIGNMENT
        kind = KINDS[instruction.unit]
        made.append(ProgramTask(len(content), size, kind, task.operator, task.label, task.macs))
        content += np.array(words, "<u4").tobytes()
    return bytes(content), made, _relocations(holes, {**slots, "": Slot(COMMANDS, 0)})


def _relocations(holes: Sequence[tuple[int, Hole]], slots: Mapping[str, Slot]) -> Relocations:
    places = [slots[hole.at.region] for _, hole in holes]
    count = len(holes)
    return Relocations(
        targets=np.full(count, COMMANDS, np.int64),
        offsets=np.array([at for at, _ in holes], np.int64),
        buffers=np.array([slot.buffer for slot in places], np.int64),
        addends=np.array([s.offset + hole.at.offset for s, (_, hole) in zip(places, holes, strict=True)], np.int64),
        widths=np.full(count, WORD, np.int64),
        shifts=np.array([-hole.shift for _, hole in holes], np.int64),
        masks=np.array([hole.mask for _, hole in holes], np.uint64),
    )


def _jobs(lowered: Lowered, made: Sequence[ProgramTask], plan: MemoryPlan) -> tuple[ProgramJob, ...]:
    """Form jobs: each ends with a task that leaves bytes of its own, so that a failure is narrowed down to its tasks.

    All of them are one submission (facts 2), so their order needs no buffers; lists say what must be at hand.
    """
    graph = lowered.graph
    written = [_range(task.target, plan) for task in lowered.tasks]
    packed = [_range(lowered.features[number], plan) for number in graph.inputs]
    inputs = tuple(COMMANDS + 1 + n for n, (_, role, _) in enumerate(plan.roles) if role is Role.INPUT)
    outputs = tuple(COMMANDS + 1 + n for n, (_, role, _) in enumerate(plan.roles) if role is not Role.INPUT)
    reads = (CONSTANTS, COMMANDS, *inputs)
    jobs, first = [], 0
    for number in range(len(made)):
        mark = None if _is_scattered(lowered.tasks[number]) else sentinel(number, [*written, *packed])
        if mark is not None:
            jobs.append(ProgramJob(tuple(made[first : number + 1]), reads, outputs, mark))
            first = number + 1
    assert first == len(made), "the last task writes a place of its own"
    return tuple(jobs)


def _range(planes: Planes, plan: MemoryPlan) -> Written:
    slot = plan.slots[planes.at.region]
    return Written(slot.buffer, slot.offset + planes.at.offset, slot.offset + planes.end)


def _bound(tensor: Tensor, planes: Planes, slots: Mapping[str, Slot]) -> Binding:
    """Say where a tensor of the host lies."""
    slot = slots[planes.at.region]
    flip = tensor.dtype is DType.INT8
    layout = PlaneLayout(planes.height, planes.width, planes.channels, slot.offset + planes.at.offset, flip)
    return Binding(tensor.index, tensor.name, tensor.shape, tensor.dtype, slot.buffer, layout)
