"""What each operator of a part becomes, counted for people."""

from __future__ import annotations

from rocketnpu.inspect.work import OperatorWork, PartWork
from rocketnpu.rockchip.lowering.lowering import Lowered
from rocketnpu.rockchip.tasks.task import ConvolutionTask, Task


def part_work(lowered: Lowered) -> PartWork:
    """Count the tasks of a part, by operator."""
    tasks: dict[int, list[Task]] = {}
    rules: set[str] = set()
    for task in lowered.tasks:
        tasks.setdefault(task.operator, []).append(task)
        rules.update(task.rules)
    return PartWork({operator: _count(found) for operator, found in tasks.items()}, frozenset(rules))


def _count(tasks: list[Task]) -> OperatorWork:
    first = tasks[0]
    return OperatorWork(
        len(tasks),
        f"{first.banks.data}/{first.banks.weights}" if isinstance(first, ConvolutionTask) else "",
        sum(t.weights.bytes for t in tasks if isinstance(t, ConvolutionTask) and not t.weights.reuse),
    )
