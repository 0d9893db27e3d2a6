"""A model as a table: each operator, where it runs and why, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.compiler import compiled_graph
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.inspect.work import OperatorWork
from rocketnpu.partition.groups import joined_groups
from rocketnpu.partition.plan import Plan


@dataclass(frozen=True)
class OperatorSummary:
    """One operator. Counts are 0 and ``banks`` empty where it runs on the CPU."""

    operator: int
    kind: str
    output_shape: tuple[int, ...]
    where: str
    """``npu N`` with the number of the part, or ``cpu``."""
    reason: str
    """Why it does not run on the NPU."""
    tasks: int
    banks: str
    """Banks of the convolution buffer for features / weights, in the first task."""
    weight_bytes: int
    feature_bytes: int
    """Bytes of features read and written."""
    macs: int
    us: float = 0.0
    """Estimated microseconds on the target's board, starts of tasks included."""


@dataclass(frozen=True)
class ModelSummary:
    """A whole model."""

    name: str
    operators: tuple[OperatorSummary, ...]
    parts: int
    coverage: float
    """Share of the multiply-accumulates that run on the NPU."""
    rules: tuple[str, ...]
    """Names of the hardware rules that the programs rely on."""


_NO_WORK = OperatorWork(0, "", 0)


def summarise(plan: Plan) -> ModelSummary:
    """Describe a divided graph; its parts are turned into tasks to count them."""
    family = family_of(plan.policy.chip)
    work: dict[int, OperatorWork] = {}
    places: dict[int, int] = {}
    rules: set[str] = set()
    for number, part in enumerate(plan.parts):
        compiled = compiled_graph(part)
        made = family.work(compiled, plan.policy)
        rules |= made.rules
        # What a pass made of an operator counts as the operator's.
        for group in joined_groups(compiled, family.prepare(compiled, plan.policy)):
            originals = {operator.index for operator in group.originals}
            for operator in group.made:
                owner = operator.index if operator.index in originals else group.originals[-1].index
                work[owner] = _sum(work.get(owner), made.operators.get(operator.index))
        places.update({operator.index: number for operator in part.operators})
    rows = []
    for operator, decision in zip(plan.graph.operators, plan.decisions, strict=True):
        found = work.get(operator.index, _NO_WORK)
        rows.append(
            OperatorSummary(
                operator.index,
                operator.kind,
                plan.graph.tensors[operator.outputs[0]].shape if operator.outputs else (),
                f"npu {places[operator.index]}" if operator.index in places else "cpu",
                decision.reason,
                found.tasks,
                found.banks,
                found.weight_bytes,
                _feature_bytes(plan.graph, operator.inputs, operator.outputs) if found.tasks else 0,
                decision.macs,
                found.us,
            )
        )
    return ModelSummary(plan.graph.name, tuple(rows), len(plan.parts), plan.coverage, tuple(sorted(rules)))


def _sum(one: OperatorWork | None, other: OperatorWork | None) -> OperatorWork:
    """Add what an operator became, piece by piece; the banks are those of the first."""
    if one is None or other is None:
        return one or other or _NO_WORK
    banks = one.banks if one.tasks else other.banks
    return OperatorWork(one.tasks + other.tasks, banks, one.weight_bytes + other.weight_bytes, one.us + other.us)


def _feature_bytes(graph: Graph, inputs: tuple[int | None, ...], outputs: tuple[int, ...]) -> int:
    numbers = [number for number in (*inputs, *outputs) if number is not None]
    return sum(graph.tensors[number].elements for number in numbers if not graph.tensors[number].is_constant)
