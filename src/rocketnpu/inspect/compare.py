"""A model on the simulated NPU against LiteRT's reference kernels: layer by layer, and from end to end.

Layer by layer, every operator that the NPU takes is compiled alone and given the reference's own inputs, so that no
difference is inherited. From end to end the NPU's parts run as they are compiled for use, and the reference kernels
run what is left, so every difference is the NPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.compiler import compile_graph, constant_outputs
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.graph.images import per_image
from rocketnpu.graph.passes import fold_constants
from rocketnpu.inspect.bounds import SAME_MEMORY, Bound
from rocketnpu.inspect.exact import Wrapped, wrapped
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.inspect.kernels import Kernels
from rocketnpu.partition.plan import Plan

Array = npt.NDArray[Any]
Tensors = Mapping[int, Array]
Tell = Callable[[str], None]
"""Told the name of each step before it starts."""
NOTICEABLE = 1
"""Differences up to this are what a 15-bit multiplier makes of a 31-bit one."""


@dataclass(frozen=True)
class Difference:
    """How far one tensor is from another."""

    maximum: int
    """Largest absolute difference, in steps of the tensor."""
    differing: int
    values: int
    cosine: float
    """Of both as real numbers; 1 where they are equal."""

    @property
    def share(self) -> float:
        """Share of values that differ."""
        return self.differing / self.values if self.values else 0.0


@dataclass(frozen=True)
class OperatorComparison:
    """One operator, or several that the NPU runs as one."""

    operators: tuple[int, ...]
    kind: str
    tensor: int
    """The tensor that is compared: the last operator's output; -1 where it has none."""
    shape: tuple[int, ...]
    where: str
    """``npu``, ``view`` (the same bytes, seen in another way: nothing is computed), ``constant`` (known before anything
    runs) or ``cpu``."""
    difference: Difference | None
    """None on the CPU, where the reference kernels run, and where a part of a tensor is all there is to see."""
    bound: Bound | None
    equals_model: bool | None
    """Whether the bytes are those of the integer model; None where that does not apply."""
    remark: str = ""
    """Channels in which the reference's accumulators wrap around: those outputs are compared with exact ones."""

    @property
    def exceeds(self) -> bool:
        """Whether the operator is further off than stated for its kind."""
        return self.difference is not None and self.bound is not None and self.difference.maximum > self.bound.steps

    @property
    def is_sound(self) -> bool:
        """Whether the operator keeps its bound and equals the integer model."""
        return not self.exceeds and self.equals_model is not False


@dataclass(frozen=True)
class OutputComparison:
    """One output of the whole model."""

    tensor: int
    name: str
    difference: Difference


@dataclass(frozen=True)
class ModelComparison:
    """A whole model."""

    name: str
    operators: tuple[OperatorComparison, ...]
    outputs: tuple[OutputComparison, ...]
    """Empty where the CPU's operators cannot be run one by one; ``remark`` then says why."""
    remark: str = ""

    @property
    def first_noticeable(self) -> OperatorComparison | None:
        """The first operator that is off by more than 1."""
        return next((row for row in self.operators if row.difference and row.difference.maximum > NOTICEABLE), None)

    @property
    def is_sound(self) -> bool:
        """Whether every operator keeps its bound and equals the integer model."""
        return all(row.is_sound for row in self.operators)


def difference(found: Array, wanted: Array, tensor: Tensor | None) -> Difference:
    """Compare two values of one tensor; without it the zero point is taken as 0, which matters to the cosine only."""
    if found.dtype.kind == "f":
        return _real_difference(found.astype(np.float64).ravel(), wanted.astype(np.float64).ravel())
    zero = 0 if tensor is None or tensor.quantisation is None else tensor.quantisation.zero_points.reshape(-1)[0]
    one, other = found.astype(np.int64).ravel() - zero, wanted.astype(np.int64).ravel() - zero
    steps = np.abs(one - other)
    return Difference(int(steps.max(initial=0)), int(np.count_nonzero(steps)), steps.size, _cosine(one, other))


def _real_difference(one: Array, other: Array) -> Difference:
    """Compare real numbers. What is no number on both sides is equal; on one side it is off by all there is."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    apart[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    apart[~np.isfinite(apart)] = _ALL_THERE_IS
    finite = np.isfinite(one) & np.isfinite(other)
    cosine = _cosine(one[finite], other[finite])
    return Difference(int(np.ceil(apart.max(initial=0))), int((apart > 0).sum()), one.size, cosine)


_ALL_THERE_IS = float(np.finfo(np.float32).max)


def _cosine(one: Array, other: Array) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    if np.array_equal(first, second):
        return 1.0
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second / norm) if norm else 0.0


def compare_model(
    plan: Plan, tensors: Tensors, tell: Tell = lambda _step: None, kernels: Kernels | None = None
) -> ModelComparison:
    """Compare a divided graph with its reference.

    Args:
        plan: the graph and what the NPU takes of it.
        tensors: every tensor as the reference kernels compute it, the graph's inputs among them.
        tell: hears of each step; :func:`steps` says how many there are.
        kernels: run the CPU's operators from end to end; made where they are not given.

    Raises:
        SimulationError: a compiled program does what the hardware does not define.
    """
    rows = []
    known = fold_constants(plan.graph)
    for operators in operator_groups(plan):
        tell(" + ".join(operator.kind for operator in operators))
        rows.append(compare_operators(plan, operators, tensors, known))
    stateful = _stateful(plan.graph)
    if stateful is not None:
        remark = f"not compared end to end: operator {stateful.index} ({stateful.kind}) keeps a state between runs"
        return ModelComparison(plan.graph.name, tuple(rows), (), remark)
    try:
        outputs = tuple(_end_to_end(plan, tensors, tell, kernels or Kernels()))
    except (UnsupportedError, ModelError) as error:
        return ModelComparison(plan.graph.name, tuple(rows), (), f"not compared end to end: {error}")
    return ModelComparison(plan.graph.name, tuple(rows), outputs)


def _stateful(graph: Graph) -> Operator | None:
    """Return an operator that gives nothing, or reads what an earlier run left: it means nothing alone."""
    for operator in graph.operators:
        tensors = [graph.tensors[number] for number in operator.inputs if number is not None]
        if not operator.outputs or any(tensor.is_variable for tensor in tensors) or operator.kind == "VAR_HANDLE":
            return operator
    return None


def steps(plan: Plan) -> int:
    """Return how many steps :func:`compare_model` tells of."""
    return len(operator_groups(plan)) + len(_schedule(plan))


def compare_operators(
    plan: Plan, operators: Sequence[Operator], tensors: Tensors, known: Graph | None = None
) -> OperatorComparison:
    """Compare what the NPU runs as one with the reference, on the reference's inputs.

    ``known`` is the graph with what is known before it runs as constants; it is made where it is not given.
    """
    graph, last = plan.graph, operators[-1]
    label = " + ".join(operator.kind for operator in operators)
    numbers = tuple(operator.index for operator in operators)
    if not last.outputs:
        return OperatorComparison(numbers, label, -1, (), "cpu", None, None, None)
    output = graph.tensors[last.outputs[0]]
    chosen = {decision.operator for decision in plan.decisions if decision.supported}
    if not chosen.issuperset(numbers):
        return OperatorComparison(numbers, label, output.index, output.shape, "cpu", None, None, None)
    start = (numbers, label, output.index, output.shape)
    known = known or fold_constants(graph)
    kept = [operator for operator in known.operators if operator.index in numbers]
    if output.index not in {number for operator in kept for number in operator.outputs}:
        return _constant(start, known, output, tensors)
    family = family_of(plan.policy.chip)
    checker = family.checker(graph, plan.policy)
    if all(checker.computes_nothing(operator) for operator in operators):
        seen = _viewed(graph, last, tensors) if checker.is_view(last) else None
        return OperatorComparison(*start, "view", seen, SAME_MEMORY, None)
    part = known.subgraph(kept, label)
    if output.index not in part.outputs:  # nobody reads it
        return OperatorComparison(*start, "npu", None, None, None)
    # What an operator of the group makes for others too, another group compares.
    part = replace(part, outputs=tuple(number for number in part.outputs if number in last.outputs))
    found = _run_part(plan, part, tensors)[output.index]
    wanted, remark = tensors[output.index], ""
    beyond = wrapped(graph, last, tensors) if len(operators) == 1 else None
    if beyond is not None:
        remark = _wraps(beyond, wanted)
        wanted = np.where(beyond.mask, beyond.exact, wanted)
    return OperatorComparison(
        *start,
        "npu",
        difference(found, wanted, output),
        family.bound(graph, operators),
        _equals_model(plan, part, tensors, output.index, found),
        remark,
    )


_SHOWN = 8
"""Channels that a remark names."""


def _wraps(beyond: Wrapped, reference: Array) -> str:
    """Say in which channels LiteRT's accumulators wrap around, and how far its outputs are off there."""
    off = np.abs(reference.astype(np.int64) - beyond.exact)[beyond.mask]
    named = ", ".join(map(str, beyond.channels[:_SHOWN]))
    more = f" and {len(beyond.channels) - _SHOWN} more" if len(beyond.channels) > _SHOWN else ""
    return (
        f"LiteRT's accumulators wrap around 32 bits for {beyond.mask.mean():.3%} of the outputs, in channels "
        f"{named}{more}; {int((off > 1).sum())} of them are wrong, by up to {int(off.max())} steps: "
        "compared with results of 64 bits"
    )


def _constant(
    start: tuple[tuple[int, ...], str, int, tuple[int, ...]], known: Graph, output: Tensor, tensors: Tensors
) -> OperatorComparison:
    """Compare what is known before the graph runs."""
    value = known.tensors[output.index].data if output.index in known.tensors else None
    seen = None if value is None else difference(value, tensors[output.index], output)
    return OperatorComparison(*start, "constant", seen, SAME_MEMORY, None)


def _run_part(plan: Plan, part: Graph, values: Tensors) -> dict[int, Array]:
    """Run a part on the simulator and return its outputs, by tensor number."""
    found: dict[int, Array] = constant_outputs(part)
    if len(found) < len(part.outputs):
        program = compile_graph(part, plan.policy)
        with SimulatorDevice(chip=plan.policy.chip) as device:
            made = run(device, program, [values[binding.tensor] for binding in program.inputs])
        found |= {binding.tensor: array for binding, array in zip(program.outputs, made, strict=True)}
    return found


def _viewed(graph: Graph, operator: Operator, tensors: Tensors) -> Difference:
    """Compare the bytes that a view's two tensors are stored as."""
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    return difference(_signed(tensors[source.index]).ravel(), _signed(tensors[target.index]).ravel(), target)


def _signed(values: Array) -> Array:
    """See bytes as signed ones: UINT8 tensors and INT8 tensors of one scale differ in the top bit alone."""
    return (values ^ np.uint8(0x80)).view(np.int8) if values.dtype == np.uint8 else values


def _equals_model(plan: Plan, part: Graph, tensors: Tensors, number: int, found: Array) -> bool | None:
    single, count = per_image(part)
    family = family_of(plan.policy.chip)
    images = [
        {n: np.array_split(tensors[n], count)[image] if count > 1 else tensors[n] for n in part.inputs}
        for image in range(count)
    ]
    try:
        wanted = np.concatenate([family.model(single, image, plan.policy)[number] for image in images])
    except UnsupportedError:
        return None
    return bool(np.array_equal(wanted, found))


def _schedule(plan: Plan) -> list[Graph | Operator]:
    """Order parts and CPU operators so that each finds its inputs made."""
    graph = plan.graph
    inside = {operator.index for part in plan.parts for operator in part.operators}
    waiting: list[Graph | Operator] = [
        *plan.parts,
        *(operator for operator in graph.operators if operator.index not in inside),
    ]
    made = {number for number in graph.tensors if number not in graph.producers}
    order: list[Graph | Operator] = []
    while waiting:
        ready = next(step for step in waiting if made.issuperset(n for n in step.inputs if n is not None))
        waiting.remove(ready)
        made.update(ready.outputs)
        order.append(ready)
    return order


def _end_to_end(plan: Plan, tensors: Tensors, tell: Tell, kernels: Kernels) -> Iterator[OutputComparison]:
    graph = plan.graph
    values: dict[int, Array] = {number: tensors[number] for number in graph.inputs}
    values |= {number: data for number in graph.outputs if (data := graph.tensors[number].data) is not None}
    for step in _schedule(plan):
        tell(step.name if isinstance(step, Graph) else step.kind)
        if isinstance(step, Graph):
            values |= _run_part(plan, step, values)
            continue
        values.update(zip(step.outputs, kernels.run(graph, step, values), strict=True))
    for number in graph.outputs:
        tensor = graph.tensors[number]
        yield OutputComparison(number, tensor.name, difference(values[number], tensors[number], tensor))
