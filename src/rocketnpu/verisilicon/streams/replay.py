"""Run a recording on the simulator and hold each operator against the reference kernels, given its own inputs.

No byte that these chips wrote is public, so there is nothing to be equal to: an operator is in order where it is
within a step or two of the reference. Operators that the recorded host kept on the CPU are run by the reference
kernels here, so that what a later part reads derives from what an earlier one made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rocketnpu.errors import InputError, ModelError, SimulationError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.inspect.compare import Difference, difference
from rocketnpu.inspect.reference import operator_reference
from rocketnpu.verisilicon.streams.defects import defects_of
from rocketnpu.verisilicon.streams.jobs import Job, jobs_of
from rocketnpu.verisilicon.streams.machine import Array, Machine, as_tensor, stored
from rocketnpu.verisilicon.streams.pairing import ADDED, Pair, pair_jobs, part_operators
from rocketnpu.verisilicon.streams.recording import PlannedOperator, Recording, Submission

RAN, DEFECTIVE, REFUSED = "ran", "defective", "REFUSED"


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """One job."""

    submission: int
    job: int
    unit: str
    verdict: str
    macs: int
    about: str = ""


@dataclass(frozen=True, slots=True)
class OperatorOutcome:
    """One operator, given the inputs that it had in this run."""

    submission: int
    operator: int
    kind: str
    tensor: int
    jobs: tuple[int, ...]
    difference: Difference | None
    """None where its output cannot be found or the reference has no such operator; ``about`` says why."""
    first: str = ""
    """The first value that is off by more than the tolerance."""
    defects: tuple[str, ...] = ()
    """What is wrong with its stream."""
    about: str = ""


@dataclass(frozen=True, slots=True)
class OutputOutcome:
    """One output of the whole model against the reference."""

    tensor: int
    name: str
    difference: Difference


@dataclass(slots=True)
class Replay:
    """What replaying a recording gave."""

    jobs: list[JobOutcome] = field(default_factory=list)
    operators: list[OperatorOutcome] = field(default_factory=list)
    outputs: list[OutputOutcome] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every job ran, and every operator is within the tolerance and its stream without a defect."""
        ran = all(job.verdict == RAN for job in self.jobs)
        return ran and not any(row.first or row.defects or row.about for row in self.operators)


def replay(recording: Recording, graph: Graph | None, tolerance: int = 1) -> Replay:
    """Run all submissions.

    Args:
        recording: of any model.
        graph: the recorded model; without it only jobs are run, and outputs of the first part compared.
        tolerance: differences up to this are in order.
    """
    return _Replay(recording, graph, tolerance).run()


class _Replay:
    """A replay under way."""

    def __init__(self, recording: Recording, graph: Graph | None, tolerance: int) -> None:
        self._recording, self._graph, self._tolerance = recording, graph, tolerance
        self._found = Replay()
        self._values: dict[int, Array] = {}
        for tensor, data in zip(recording.inputs, recording.input_data, strict=True):
            kind = np.dtype(tensor.dtype)
            if len(data) == kind.itemsize * int(np.prod(tensor.shape)):
                self._values[tensor.index] = np.frombuffer(data, kind).reshape(tensor.shape)

    def run(self) -> Replay:
        recording, parts = self._recording, list(self._recording.parts)
        working = [number for number, item in enumerate(recording.submissions) if item.buffers]
        if len(parts) != len(working):
            self._found.remarks.append(f"{len(parts)} parts were delegated, {len(working)} submissions have buffers")
        for number, submission in enumerate(recording.submissions):
            part = parts[working.index(number)] if number in working and working.index(number) < len(parts) else None
            self._submission(number, submission, part)
        self._outputs()
        return self._found

    def _submission(self, number: int, submission: Submission, part: PlannedOperator | None) -> None:
        machine = Machine(submission, self._recording.soc)
        jobs, problem = jobs_of(submission, self._recording.soc)
        pairs: list[Pair] = []
        if self._graph is not None and part is not None:
            operators = part_operators(self._graph, part.outputs, part.inputs)
            pairs, _ = pair_jobs(self._graph, operators, jobs)
            self._feed(machine, part, pairs)
        try:
            report = machine.run()
        except SimulationError as error:
            failed = error.task if error.task is not None else len(jobs)
            self._jobs(number, jobs, failed, str(error))
            if self._graph is not None:
                named = defects_of(self._graph, pairs, self._recording.soc.generation)
                for pair, defects in zip(pairs, named, strict=True):
                    self._lost(number, pair, defects, "its part was not run to the end")
            return
        self._jobs(number, jobs, len(jobs), problem)
        for job in report.jobs:
            for defect in job.defects:
                self._found.remarks.append(defect)
        self._found.remarks += report.remarks
        self._read(machine, number, part, pairs)

    def _jobs(self, number: int, jobs: Sequence[Job], failed: int, about: str) -> None:
        for job in jobs[:failed]:
            macs = job.nn.macs if job.nn is not None else 0
            defects = job.nn.defects if job.nn is not None else ()
            verdict = DEFECTIVE if defects else RAN
            self._found.jobs.append(JobOutcome(number, job.number, job.unit, verdict, macs, "; ".join(defects)))
        if about:
            unit = jobs[failed].unit if failed < len(jobs) else "FE"
            self._found.jobs.append(JobOutcome(number, failed, unit, REFUSED, 0, about))

    def _feed(self, machine: Machine, part: PlannedOperator, pairs: Sequence[Pair]) -> None:
        """Write a part's inputs where its jobs read them: what was recorded there derives from what never ran."""
        assert self._graph is not None
        for tensor in dict.fromkeys(part.inputs):
            values = self._value(tensor) if not self._graph.tensors[tensor].is_constant else None
            address = _input_address(pairs, tensor)
            if values is None or address is None:
                continue
            data = stored(values)
            where = machine.memory.find(address, address + data.size)
            if where is not None:
                where[0][where[1] : where[1] + data.size] = data

    def _value(self, tensor: int) -> Array | None:
        """Return a tensor's values, computed on the CPU where need be; None where that cannot be."""
        if tensor in self._values or self._graph is None:
            return self._values.get(tensor)
        constant = self._graph.tensors[tensor].data
        operator = self._graph.producers.get(tensor)
        if operator is None or constant is not None:
            return constant
        made = self._reference(operator)
        if made is None:
            return None
        self._values.update(zip(operator.outputs, made, strict=True))
        return self._values[tensor]

    def _reference(self, operator: Operator) -> tuple[Array, ...] | None:
        """Run an operator on the reference kernels; None where an input is not known or there is no kernel."""
        assert self._graph is not None
        read = dict.fromkeys(number for number in operator.inputs if number is not None)
        given = [self._value(number) for number in read if not self._graph.tensors[number].is_constant]
        known = [values for values in given if values is not None]
        if len(known) < len(given):
            return None
        try:
            return operator_reference(self._graph, operator, known)
        except (UnsupportedError, ModelError, InputError) as error:
            self._found.remarks.append(f"operator {operator.index} ({operator.kind}): {error}")
            return None

    def _read(self, machine: Machine, number: int, part: PlannedOperator | None, pairs: Sequence[Pair]) -> None:
        """Take what the jobs made out of memory, and compare."""
        if self._graph is None or part is None:
            self._read_blindly(machine, part)
            return
        written = machine.written()
        named = defects_of(self._graph, pairs, self._recording.soc.generation)
        for pair, defects in zip(pairs, named, strict=True):
            if not pair.jobs:
                if pair.operator.kind not in _MOVED:
                    self._lost(number, pair, defects, "no job was found for it")
                continue
            tensor = pair.operator.outputs[0]
            like = np.empty(self._graph.tensors[tensor].shape, self._graph.tensors[tensor].dtype.value)
            if part.outputs == (tensor,) and len(written) == 1 and written[0].size >= like.size:
                values = as_tensor(written[0], like)
            else:
                values = _from_planes(machine, pair, like)
            wanted = self._reference(pair.operator)
            self._values[tensor] = values
            self._found.operators.append(self._outcome(number, pair, defects, values, wanted[0] if wanted else None))
        if len(part.outputs) == len(written) == 1:
            like = np.empty(
                self._graph.tensors[part.outputs[0]].shape, self._graph.tensors[part.outputs[0]].dtype.value
            )
            if written[0].size >= like.size:
                self._values[part.outputs[0]] = as_tensor(written[0], like)

    def _read_blindly(self, machine: Machine, part: PlannedOperator | None) -> None:
        written = machine.written()
        if part is None or len(part.outputs) != 1 or len(written) != 1:
            return
        like = self._recording.reference.get(part.outputs[0])
        if like is not None and written[0].size >= like.size:
            self._values[part.outputs[0]] = as_tensor(written[0], like)

    def _outcome(
        self, number: int, pair: Pair, defects: tuple[str, ...], values: Array, wanted: Array | None
    ) -> OperatorOutcome:
        assert self._graph is not None
        operator = pair.operator
        place = (number, operator.index, operator.kind, operator.outputs[0], tuple(job.number for job in pair.jobs))
        if wanted is None:
            return OperatorOutcome(*place, None, defects=defects, about="the reference has no values for it")
        found = difference(values, wanted, self._graph.tensors[operator.outputs[0]])
        return OperatorOutcome(*place, found, _first_beyond(values, wanted, self._tolerance), defects)

    def _lost(self, number: int, pair: Pair, defects: tuple[str, ...], about: str) -> None:
        operator = pair.operator
        place = (number, operator.index, operator.kind, operator.outputs[0], tuple(job.number for job in pair.jobs))
        self._found.operators.append(OperatorOutcome(*place, None, defects=defects, about=about))

    def _outputs(self) -> None:
        for output in self._recording.outputs:
            wanted, values = self._recording.reference.get(output.index), self._value(output.index)
            if wanted is not None and values is not None and values.shape == wanted.shape:
                found = difference(values, wanted, None)
                self._found.outputs.append(OutputOutcome(output.index, output.name, found))


_MOVED = frozenset({"RESHAPE", "TRANSPOSE", "CONCATENATION", "SPLIT", "SQUEEZE"})
"""Operators for which there is no job (facts 8)."""


def _input_address(pairs: Sequence[Pair], tensor: int) -> int | None:
    """Return where a part's jobs read one of its inputs as the host gives it; None where no job does."""
    for pair in pairs:
        if tensor not in pair.operator.inputs or not pair.jobs:
            continue
        first = pair.jobs[0]
        if pair.operator.kind in ADDED and pair.nn is not None and pair.nn.nn is not None and first.unit == "NN":
            config = pair.nn.nn
            size = config.out_rows * config.out_columns * config.shape.kernels
            return config.in_address + pair.operator.inputs.index(tensor) * size
        found = first.tp.in_address if first.tp is not None else None
        return first.nn.in_address if first.nn is not None else found
    return None


def _from_planes(machine: Machine, pair: Pair, like: Array) -> Array:
    """Return an operator's output where its first job behind the inputs writes it: plane after plane."""
    job = pair.nn or pair.jobs[0]
    address = job.nn.out_address if job.nn is not None else job.tp.out_address if job.tp is not None else 0
    data = machine.memory.view(address, (like.size,), unit=job.unit, register="OUT_ADDRESS")
    batch, *others = (1,) * (4 - like.ndim) + like.shape
    rows, columns, channels = others
    planes = data.reshape(batch, channels, rows, columns).transpose(0, 2, 3, 1)
    return as_tensor(np.ascontiguousarray(planes).ravel(), like)


def _first_beyond(found: Array, wanted: Array, tolerance: int) -> str:
    wrong = np.argwhere(np.abs(found.astype(np.int64) - wanted.astype(np.int64)) > tolerance)
    if not len(wrong):
        return ""
    place = tuple(wrong[0].tolist())
    return f"{list(place)}: {int(found[place])} instead of {int(wanted[place])}"
