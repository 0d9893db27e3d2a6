"""The command lists of one operator, recorded or compiled, with the memory that they refer to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.policy import Policy
from rocketnpu.rockchip.assembly.assemble import assemble
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.recording import RecordedOperation, Submission
from rocketnpu.rockchip.streams.stream_memory import Buffers, Bytes


@dataclass(frozen=True, eq=False)
class Stream:
    """The command lists of one operator, with the memory they refer to."""

    tasks: tuple[TaskRegisters, ...]
    memory: Buffers

    @property
    def cut(self) -> list[tuple[int, int, int]]:
        """Input rows, output rows and padding above of each task."""
        return [
            (
                task["CNA.DATA_SIZE0.DATAIN_HEIGHT"],
                task["DPU.DATA_CUBE_HEIGHT.HEIGHT"],
                task["CNA.PAD_CON0.PAD_TOP"],
            )
            for task in self.tasks
        ]

    def weights(self) -> Bytes:
        """Return the packed kernels of the first task."""
        first = self.tasks[0]
        return self.memory.span(first["CNA.DCOMP_ADDR0.DECOMPRESS_ADDR0"], first["CNA.WEIGHT_SIZE0.WEIGHT_BYTES"])

    def biases(self) -> Bytes:
        """Return the first task's biases, as many as there are real channels."""
        first = self.tasks[0]
        count = first["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
        return self.memory.span(first["DPU_RDMA.RDMA_BS_BASE_ADDR.BS_BASE_ADDR"], 4 * count)


def recorded_stream(submission: Submission, operation: RecordedOperation) -> Stream:
    """Return the lists of a recorded operation."""
    memory = Buffers({buffer.address: buffer.content() for buffer in submission.buffers})
    tasks = [task for job in operation.jobs for task in submission.jobs[job].tasks]
    lists = (memory.span(task.address, 8 * task.words).view("<u8").tolist() for task in tasks)
    return Stream(tuple(TaskRegisters(words) for words in lists), memory)


class CompiledStream:
    """Our stream for some operators, placed on a simulator so that its addresses are real; None where refused."""

    def __init__(self, graph: Graph, operators: Sequence[Operator]) -> None:
        self._device = SimulatorDevice()
        self._placed: PlacedProgram | None = None
        with contextlib.suppress(UnsupportedError):
            # Nobody else folds layers, so there would be nothing to compare.
            lowered = lower(graph.subgraph(operators, "compared"), RK3588, Policy(), folds=False)
            if lowered.tasks:
                self._placed = PlacedProgram(self._device, assemble(lowered, "compared", RK3588))

    def __enter__(self) -> Stream | None:
        """Return the stream."""
        placed = self._placed
        if placed is None:
            return None
        lists = [
            placed.task_words(job, task).tolist()
            for job, tasks in enumerate(placed.program.jobs)
            for task in range(len(tasks.tasks))
        ]
        arrays = {
            buffer.address: np.frombuffer(memory, np.uint8)
            for buffer, memory in zip(placed.buffers, placed.memories, strict=True)
        }
        return Stream(tuple(TaskRegisters(words) for words in lists), Buffers(arrays))

    def __exit__(self, *_: object) -> None:
        """Free the simulator's memory."""
        self._device.close()
