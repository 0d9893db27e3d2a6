"""What each operator of a part becomes, counted for people."""

from __future__ import annotations

from rocketnpu.graph import Graph
from rocketnpu.inspect.work import OperatorWork, PartWork
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.lowering import Lowered, allowed_layers
from rocketnpu.rockchip.lowering.placement import computes_nothing, place
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, explained
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.task import ConvolutionTask, Task
from rocketnpu.rockchip.timing.setting import Setting, setting


def part_work(lowered: Lowered, soc: Soc, policy: Policy) -> PartWork:
    """Count the tasks of a part and estimate their time, by operator."""
    board = setting("vendor" if policy.target == "vendor" else "mainline")
    tasks: dict[int, list[Task]] = {}
    rules: set[str] = set()
    for task in lowered.tasks:
        tasks.setdefault(task.operator, []).append(task)
        rules.update(task.rules)
    return PartWork({operator: _count(found, soc, board) for operator, found in tasks.items()}, frozenset(rules))


def explain(graph: Graph, number: int, soc: Soc, policy: Policy) -> list[str]:
    """Say which ways to cut an operator were considered, a line each, the one taken first.

    Raises:
        UnsupportedError: the operator cannot be run.
    """
    context = Context(graph, soc, place(graph, soc, policy), policy)
    start = start_cycles(policy.target)
    lines = []
    for operator in graph.operators:
        if operator.index != number or computes_nothing(graph, operator, soc):
            continue
        for layer in allowed_layers(context, operator):
            if isinstance(layer, ConvolutionLayer):
                for considered in explained(layer, soc, start):
                    best, *others = dict.fromkeys(map(str, considered))
                    lines += [f"{layer.label}: {best}", *(f"  instead of {other}" for other in others)]
    return lines


def _count(tasks: list[Task], soc: Soc, board: Setting) -> OperatorWork:
    first = tasks[0]
    return OperatorWork(
        len(tasks),
        f"{first.banks.data}/{first.banks.weights}" if isinstance(first, ConvolutionTask) else "",
        sum(t.weights.bytes for t in tasks if isinstance(t, ConvolutionTask) and not t.weights.reuse),
        sum(board.us(board.cycles(task_work(task, soc)).total) + board.start_us for task in tasks),
    )
