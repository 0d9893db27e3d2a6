"""A recording's operations against the reference's tensors, each given the reference's own inputs.

What a producer's driver makes of an operation is right if its output is within a step of the reference kernels'. In
a recording of a whole network nothing was executed, so intermediate buffers are empty, and later submissions derive
from garbage: tensors that the model does not get from outside are filled in from the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.graph import Graph
from rocketnpu.inspect.compare import Difference, difference
from rocketnpu.inspect.recording import RecordedOperation, RecordedTask, Recording, Submission
from rocketnpu.inspect.replay import Machine, Place, is_own, locate
from rocketnpu.inspect.stream_memory import LANES, OutsideError
from rocketnpu.inspect.task_registers import TaskRegisters
from rocketnpu.soc import ATOM

Array = npt.NDArray[Any]
FLIP = np.uint8(0x80)


@dataclass(frozen=True)
class OperationOutcome:
    """One operation against the reference."""

    submission: int
    operation: int
    tensor: int
    """Number of the output tensor in the model."""
    difference: Difference | None
    """None where the simulator refused a task."""
    first: Place | None
    """The first byte that is off by more than the tolerance."""
    about: str = ""


@dataclass(frozen=True)
class _Wanted:
    """What an operation reads and makes, as tensors of the model."""

    source: int
    addend: int | None
    output: int


def replay_operations(
    recording: Recording, graph: Graph | None = None, tolerance: int = 1
) -> Iterator[OperationOutcome]:
    """Run each operation whose output the reference has.

    Args:
        recording: if it does not say which jobs make an operation, all of a submission do.
        graph: the recorded model, which tells what a fused addition adds.
        tolerance: differences up to this are in order.
    """
    for number, submission in enumerate(recording.submissions):
        machine = Machine(submission, number, strict=is_own(recording))
        done = 0
        for index, operation in enumerate(_operations(recording, submission)):
            tasks = [task for job in operation.jobs for task in submission.jobs[job].tasks]
            outcome = _run(recording, graph, machine, index, operation, list(enumerate(tasks, done)), tolerance)
            done += len(tasks)
            if outcome is not None:
                yield outcome


def _operations(recording: Recording, submission: Submission) -> Sequence[RecordedOperation]:
    if submission.operations:
        return submission.operations
    ends = (tuple(tensor.index for tensor in side) for side in (recording.inputs, recording.outputs))
    return (RecordedOperation("model", tuple(range(len(submission.jobs))), *ends),)


def _run(
    recording: Recording,
    graph: Graph | None,
    machine: Machine,
    index: int,
    operation: RecordedOperation,
    tasks: list[tuple[int, RecordedTask]],
    tolerance: int,
) -> OperationOutcome | None:
    if not tasks or not operation.inputs or not operation.outputs:
        return None
    lists = [(number, machine.registers(task)) for number, task in tasks]
    wanted = _tensors(recording, graph, operation, lists[0][1])
    if wanted is None or wanted.output not in recording.reference:
        return None
    _feed(recording, machine, wanted, lists[0][1])
    place = (machine.number, index, wanted.output)
    machine.begin()
    try:
        for number, task in tasks:
            machine.run(task, number)
        found = _read(machine, lists[0][1], recording.reference[wanted.output])
    except (SimulationError, OutsideError) as error:
        return OperationOutcome(*place, None, None, str(error))
    reference = recording.reference[wanted.output]
    first = _first_beyond(lists, found, reference, machine.number, tolerance)
    return OperationOutcome(*place, difference(found, reference, None), first)


def _tensors(
    recording: Recording, graph: Graph | None, operation: RecordedOperation, registers: TaskRegisters
) -> _Wanted | None:
    source, output = operation.inputs[0], operation.outputs[0]
    if registers["DPU.EW_CFG.EW_BYPASS"]:
        return _Wanted(source, None, output)
    if graph is None or output not in graph.consumers:
        # The sum is the last tensor of a model of one operation; of others it is not known.
        return _Wanted(source, None, recording.outputs[0].index) if len(recording.outputs) == 1 else None
    adders = [reader for reader in graph.consumers[output] if reader.kind == "ADD"]
    if len(adders) != 1:
        return None
    other = next((n for n in adders[0].inputs if n != output), output)
    return _Wanted(source, other, adders[0].outputs[0])


def _feed(recording: Recording, machine: Machine, wanted: _Wanted, registers: TaskRegisters) -> None:
    """Fill in what earlier operations would have made."""
    given = {tensor.index for tensor in recording.inputs} if machine.number == 0 else set()
    places = {wanted.source: registers["CNA.FEATURE_DATA_ADDR.FEATURE_BASE_ADDR"]}
    if wanted.addend is not None:
        places[wanted.addend] = registers["DPU_RDMA.RDMA_SRC_BASE_ADDR.SRC_BASE_ADDR"]
    for tensor, address in places.items():
        values = recording.reference.get(tensor)
        if tensor in given or values is None or registers["CNA.CONV_CON1.NONALIGN_DMA"]:
            continue
        _store(machine, address, values)


def _shape(values: Array) -> tuple[int, int, int]:
    shape = (1,) * (4 - values.ndim) + values.shape
    return shape[1], shape[2], shape[3]


def _slots(base: int, shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Return addresses of a tensor's bytes, ``(surfaces, pixels, 16)``, surfaces back to back."""
    height, width, channels = shape
    count = -(-channels // ATOM) * height * width
    return base + np.arange(count * ATOM).reshape(-1, height * width, ATOM)


def _store(machine: Machine, address: int, values: Array) -> None:
    height, width, channels = _shape(values)
    surfaces = -(-channels // ATOM)
    padded = np.zeros((height * width, surfaces * ATOM), np.uint8)
    padded[:, :channels] = values.view(np.uint8).reshape(height * width, channels) ^ FLIP
    image = padded.reshape(-1, surfaces, ATOM).transpose(1, 0, 2).reshape(-1)
    for buffer in machine.submission.buffers:
        start = address - buffer.address
        if start >= 0 and start + image.size <= buffer.size:
            machine.arrays[buffer.handle][start : start + image.size] = image


def _read(machine: Machine, registers: TaskRegisters, reference: Array) -> Array:
    """Return the output buffer as the reference's tensor."""
    shape = _shape(reference)
    raw = machine.buffers.take(_slots(registers["DPU.DST_BASE_ADDR.DST_BASE_ADDR"], shape))
    pixels = raw.transpose(1, 0, 2).reshape(shape[0] * shape[1], -1)[:, : shape[2]] ^ FLIP
    found: Array = np.ascontiguousarray(pixels).view(reference.dtype).reshape(reference.shape)
    return found


def _first_beyond(
    lists: list[tuple[int, TaskRegisters]], found: Array, reference: Array, submission: int, tolerance: int
) -> Place | None:
    """Return the first byte in memory order that is off by more than the tolerance, by the task that wrote it."""
    height, width, channels = _shape(reference)
    one, other = (values.astype(np.int64).reshape(height * width, channels) for values in (found, reference))
    wrong = np.argwhere(np.abs(one - other) > tolerance)
    if not len(wrong):
        return None
    order = np.lexsort((wrong[:, 1], wrong[:, 0], wrong[:, 1] // ATOM))
    pixel, channel = (int(value) for value in wrong[order[0]])
    base = lists[0][1]["DPU.DST_BASE_ADDR.DST_BASE_ADDR"]
    address = int(_slots(base, (height, width, channels))[channel // ATOM, pixel, LANES[0]])
    task, surface, row, column = locate(lists, address) or (lists[0][0], channel // ATOM, *divmod(pixel, width))
    values = (int(one[pixel, channel]), int(other[pixel, channel]))
    return Place(submission, task, surface, row, column, channel, *values)
