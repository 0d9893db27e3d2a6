"""A recording's operations against the reference's tensors, each given the reference's own inputs.

What a producer's driver makes of an operation is right if its output is within a step of the reference kernels'. In
a recording of a whole network nothing was executed, so intermediate buffers are empty, and later submissions derive
from garbage: tensors that the model does not get from outside are filled in from the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.graph import Graph
from rocketnpu.inspect.compare import Difference, difference
from rocketnpu.program.layout import SurfaceLayout
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.recording import RecordedOperation, RecordedTask, Recording
from rocketnpu.rockchip.streams.replay import Machine, Place, is_own, locate
from rocketnpu.rockchip.streams.stream_memory import Bytes, OutsideError

Array = npt.NDArray[Any]


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
        for index, operation in enumerate(recording.operations(submission)):
            tasks = [task for job in operation.jobs for task in submission.jobs[job].tasks]
            outcome = _run(recording, graph, machine, index, operation, list(enumerate(tasks, done)), tolerance)
            done += len(tasks)
            if outcome is not None:
                yield outcome


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
    place = (machine.number, index, wanted.output)
    machine.begin()
    try:
        _feed(recording, machine, wanted, lists[0][1])
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
        # The last operation's sum is the model's output; of others it is not known.
        last = recording.operations(recording.submissions[-1])[-1] == operation
        return _Wanted(source, None, recording.outputs[0].index) if last and len(recording.outputs) == 1 else None
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
        layout, memory = _layout(machine, address, values)
        layout.pack(np.ascontiguousarray(values), memory)


def _layout(machine: Machine, address: int, values: Array) -> tuple[SurfaceLayout, Bytes]:
    """Return how a tensor lies at an address, surfaces back to back, and the buffer that it lies in.

    Mesa takes every tensor for UINT8, so all are shifted by 128.

    Raises:
        OutsideError: it lies in no buffer.
    """
    height, width, channels = _shape(values)
    for buffer in machine.submission.buffers:
        pitch = height * width * RK3588.slot
        layout = SurfaceLayout(height, width, channels, address - buffer.address, pitch, True, RK3588.slot)
        if layout.offset >= 0 and layout.end <= buffer.size:
            return layout, machine.arrays[buffer.handle]
    raise OutsideError(f"a tensor of shape {values.shape} at 0x{address:x} is in no buffer")


def _shape(values: Array) -> tuple[int, int, int]:
    shape = (1,) * (4 - values.ndim) + values.shape
    return shape[1], shape[2], shape[3]


def _read(machine: Machine, registers: TaskRegisters, reference: Array) -> Array:
    """Return the output buffer as the reference's tensor."""
    layout, memory = _layout(machine, registers["DPU.DST_BASE_ADDR.DST_BASE_ADDR"], reference)
    found = np.empty_like(reference)
    layout.unpack(memory, found)
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
    order = np.lexsort((wrong[:, 1], wrong[:, 0], wrong[:, 1] // RK3588.slot))
    pixel, channel = (int(value) for value in wrong[order[0]])
    base = lists[0][1]["DPU.DST_BASE_ADDR.DST_BASE_ADDR"]
    address = base + (channel // RK3588.slot * height * width + pixel) * RK3588.slot
    task, surface, row, column = locate(lists, address) or (lists[0][0], channel // RK3588.slot, *divmod(pixel, width))
    values = (int(one[pixel, channel]), int(other[pixel, channel]))
    return Place(submission, task, surface, row, column, channel, *values)
