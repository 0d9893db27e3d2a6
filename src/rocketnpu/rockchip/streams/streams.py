"""Our command stream beside a recorded one of the same model, register by register.

Operators are compared one by one. Where both are cut into the same tasks, every register of every task is compared,
addresses as distances from the operator's first task; else the registers that do not depend on the cut, in the first
and the last task, and addresses with where the rows before end. Packed weights and biases are compared too. Each
difference belongs to a class of :mod:`rocketnpu.rockchip.streams.stream_differences`, or is unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rocketnpu.graph import Graph, Operator
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.recording import RecordedOperation, Recording, Submission
from rocketnpu.rockchip.streams.stream_differences import explain
from rocketnpu.rockchip.streams.stream_pair import CompiledStream, Stream, recorded_stream
from rocketnpu.rockchip.streams.stream_reasons import BIASES, REFUSED, TILING, WEIGHTS, Situation
from rocketnpu.rockchip.streams.word_checks import ADDRESSES

LINKS = ("PC.BASE_ADDRESS", "PC.REGISTER_AMOUNTS")
"""They say which list follows, which depends on what is chained."""
TILED = frozenset(
    {
        "CNA.CBUF_CON0",
        "CNA.DATA_SIZE0",
        "CNA.DATA_SIZE3",
        "CNA.FC_DATA_SIZE0",
        "CNA.PAD_CON0",
        "CORE.DATAOUT_SIZE_0",
        "DPU.DATA_CUBE_HEIGHT",
        "DPU.WDMA_SIZE_1",
        "DPU_RDMA.RDMA_DATA_CUBE_HEIGHT",
        "DPU_RDMA.RDMA_SURF_NOTCH",
        "DPU_RDMA.RDMA_EW_SURF_NOTCH",
    }
)
"""Registers that depend on how an operator is cut into tasks."""


@dataclass(frozen=True)
class Finding:
    """One difference."""

    operator: int
    task: int | None
    """None for what concerns the whole operator."""
    register: str
    ours: int
    theirs: int
    explained_by: str
    """Name of the class that it belongs to; empty if it belongs to none."""

    def __str__(self) -> str:
        where = f"operator {self.operator}" + ("" if self.task is None else f" task {self.task}")
        why = self.explained_by or "UNEXPLAINED"
        return (
            f"{where}, {self.register}: ours 0x{self.ours & 0xFFFFFFFF:x}, theirs 0x{self.theirs & 0xFFFFFFFF:x}: {why}"
        )


@dataclass(frozen=True)
class StreamComparison:
    """All differences of one recording."""

    operators: int
    """Operators compared."""
    registers: int
    """Register values compared."""
    equal_bytes: int
    """Bytes of packed weights and biases that are equal."""
    findings: tuple[Finding, ...]

    @property
    def unexplained(self) -> tuple[Finding, ...]:
        """Differences that belong to no class."""
        return tuple(finding for finding in self.findings if not finding.explained_by)


def compare_streams(recording: Recording, graph: Graph) -> StreamComparison:
    """Compare the streams of every recorded operation with what we compile for the same operators.

    Operations of a foreign driver that are none of the graph's are left out, as those whose tensors it renamed.
    """
    total = _Total()
    for submission in recording.submissions:
        for operation in recording.operations(submission):
            if operation.outputs and operation.outputs[0] in graph.producers:
                total.add(graph, submission, operation)
    return total.done()


class _Total:
    """Collects what comparing operators finds."""

    def __init__(self) -> None:
        self.operators = self.registers = self.equal_bytes = 0
        self.findings: list[Finding] = []

    def done(self) -> StreamComparison:
        return StreamComparison(self.operators, self.registers, self.equal_bytes, tuple(self.findings))

    def add(self, graph: Graph, submission: Submission, operation: RecordedOperation) -> None:
        theirs = recorded_stream(submission, operation)
        operators = _operators(graph, operation, theirs)
        with CompiledStream(graph, operators) as ours:
            self.operators += 1
            pair = _Pair(graph, operators[0], ours, theirs, self.findings)
            if ours is None:
                pair.note(None, REFUSED, 0, len(theirs.tasks))
                return
            self.registers += pair.compare()
            self.equal_bytes += pair.compare_constants()


def _operators(graph: Graph, operation: RecordedOperation, theirs: Stream) -> list[Operator]:
    """Return the graph's operators that an operation stands for: a convolution, perhaps the addition behind it."""
    found = [graph.producers[operation.outputs[0]]]
    if not theirs.tasks[0]["DPU.EW_CFG.EW_BYPASS"]:
        found += [reader for reader in graph.consumers[operation.outputs[0]] if reader.kind == "ADD"]
    return found


@dataclass(frozen=True, eq=False)
class _Pair:
    """One operator's two streams."""

    graph: Graph
    operator: Operator
    ours: Stream | None
    theirs: Stream
    findings: list[Finding]

    @property
    def _both(self) -> tuple[Stream, Stream]:
        assert self.ours is not None
        return self.ours, self.theirs

    def note(self, task: int | None, register: str, ours: int, theirs: int) -> None:
        """Keep a difference, with the class that explains it."""
        situation = Situation(register, ours, theirs, task or 0, self.graph, self.operator, self.ours, self.theirs)
        self.findings.append(Finding(self.operator.index, task, register, ours, theirs, explain(situation)))

    def compare(self) -> int:
        """Compare registers; return how many."""
        ours, theirs = self._both
        if ours.cut == theirs.cut:
            return sum(self._compare_tasks(number, number, frozenset()) for number in range(len(ours.tasks)))
        self.note(None, TILING, len(ours.tasks), len(theirs.tasks))
        for task, name, found, wanted in _misplaced(ours):
            self.note(task, name, found, wanted)
        for task, name, found, wanted in _misplaced(theirs):
            self.note(min(task, len(ours.tasks) - 1), name, wanted, found)
        return self._compare_tasks(0, 0, TILED) + self._compare_tasks(len(ours.tasks) - 1, len(theirs.tasks) - 1, TILED)

    def _compare_tasks(self, one: int, other: int, left_out: frozenset[str]) -> int:
        ours, theirs = self._both
        first, second = ours.tasks[one], theirs.tasks[other]
        names = sorted((set(first.values) | set(second.values)) - left_out - {*ADDRESSES, *LINKS})
        for name in names:
            if first.raw(name) != second.raw(name) or (name in first.values) != (name in second.values):
                self.note(one, name, first.raw(name), second.raw(name))
        count = len(names)
        if not left_out:
            for name, here, there in self._distances(first, second):
                count += 1
                if here != there:
                    self.note(one, name, here, there)
        return count

    def _distances(self, first: TaskRegisters, second: TaskRegisters) -> Iterator[tuple[str, int, int]]:
        """Yield each address as distance from the same one in the operator's first task."""
        ours, theirs = self._both
        for name in sorted(ADDRESSES):
            yield name, first.raw(name) - ours.tasks[0].raw(name), second.raw(name) - theirs.tasks[0].raw(name)

    def compare_constants(self) -> int:
        """Compare packed weights and biases; return how many bytes are equal."""
        ours, theirs = self._both
        equal = 0
        for name, here, there in (
            (WEIGHTS, ours.weights(), theirs.weights()),
            (BIASES, ours.biases(), theirs.biases()),
        ):
            if here.size == there.size:
                same = int(np.count_nonzero(here == there))
                equal += same
                if same == here.size:
                    continue
            self.note(None, name, here.size, there.size)
        return equal


def _misplaced(stream: Stream) -> Iterator[tuple[int, str, int, int]]:
    """Yield tasks that do not read and write where the rows before them end: task, register, found, wanted."""
    first, made = stream.tasks[0], 0
    for number, task in enumerate(stream.tasks):
        start = max(made * task["CNA.CONV_CON3.CONV_Y_STRIDE"] - first["CNA.PAD_CON0.PAD_TOP"], 0)
        wanted = {
            "CNA.FEATURE_DATA_ADDR": start * task["CNA.DATA_SIZE0.DATAIN_WIDTH"] * RK3588.slot,
            "DPU.DST_BASE_ADDR": made * (task["DPU.DATA_CUBE_WIDTH.WIDTH"] + 1) * RK3588.slot,
        }
        for name, distance in wanted.items():
            if task.raw(name) - first.raw(name) != distance:
                yield number, name, task.raw(name) - first.raw(name), distance
        made += task["DPU.DATA_CUBE_HEIGHT.HEIGHT"] + 1
