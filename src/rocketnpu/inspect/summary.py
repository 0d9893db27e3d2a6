"""A model as a table: each operator, where it runs and why, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.graph import Graph
from rocketnpu.partition.plan import Plan
from rocketnpu.rockchip.lowering.lowering import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.task import ConvolutionTask, Task


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


def summarise(plan: Plan) -> ModelSummary:
    """Describe a divided graph; its parts are turned into tasks to count them."""
    tasks: dict[int, list[Task]] = {}
    places: dict[int, int] = {}
    rules: set[str] = set()
    for number, part in enumerate(plan.parts):
        for task in lower(part, RK3588, plan.policy).tasks:
            tasks.setdefault(task.operator, []).append(task)
            rules.update(task.rules)
        places.update({operator.index: number for operator in part.operators})
    rows = []
    for operator, decision in zip(plan.graph.operators, plan.decisions, strict=True):
        found = tasks.get(operator.index, [])
        rows.append(
            OperatorSummary(
                operator.index,
                operator.kind,
                plan.graph.tensors[operator.outputs[0]].shape if operator.outputs else (),
                f"npu {places[operator.index]}" if operator.index in places else "cpu",
                decision.reason,
                len(found),
                _banks(found),
                sum(t.weights.bytes for t in found if isinstance(t, ConvolutionTask) and not t.weights.reuse),
                _feature_bytes(plan.graph, operator.inputs, operator.outputs) if found else 0,
                decision.macs,
            )
        )
    return ModelSummary(plan.graph.name, tuple(rows), len(plan.parts), plan.coverage, tuple(sorted(rules)))


def _banks(tasks: list[Task]) -> str:
    first = tasks[0] if tasks else None
    return f"{first.banks.data}/{first.banks.weights}" if isinstance(first, ConvolutionTask) else ""


def _feature_bytes(graph: Graph, inputs: tuple[int | None, ...], outputs: tuple[int, ...]) -> int:
    numbers = [number for number in (*inputs, *outputs) if number is not None]
    return sum(graph.tensors[number].elements for number in numbers if not graph.tensors[number].is_constant)
