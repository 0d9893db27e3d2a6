"""From a graph to tasks: every operator by its kind, in the graph's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.errors import RegisterFieldError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import SLICES
from rocketnpu.policy import Policy
from rocketnpu.program.constants import ConstantPool
from rocketnpu.verisilicon.emission.emit import outline
from rocketnpu.verisilicon.lowering.average import average_tasks
from rocketnpu.verisilicon.lowering.bytes import CLAMPS, byte_tasks
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.convolution import connected_tasks, convolution_tasks
from rocketnpu.verisilicon.lowering.moving import concatenation_tasks, pad_tasks, reshape_tasks, slice_tasks
from rocketnpu.verisilicon.lowering.placement import VIEWS, Features, computes_nothing, place
from rocketnpu.verisilicon.lowering.sums import sum_tasks
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.task import Task

TASKS: Mapping[str, Callable[[Context, Operator], list[Task]]] = {
    "CONV_2D": convolution_tasks,
    "DEPTHWISE_CONV_2D": convolution_tasks,
    "FULLY_CONNECTED": connected_tasks,
    "ADD": sum_tasks,
    "SUB": sum_tasks,
    "AVERAGE_POOL_2D": average_tasks,
    "MEAN": average_tasks,
    "PAD": pad_tasks,
    "PADV2": pad_tasks,
    "CONCATENATION": concatenation_tasks,
    "QUANTIZE": byte_tasks,
    **dict.fromkeys(CLAMPS, byte_tasks),
    **dict.fromkeys(BYTE_FUNCTIONS, byte_tasks),
    **dict.fromkeys(SLICES, slice_tasks),
    **dict.fromkeys(VIEWS, reshape_tasks),
}
"""Operators that the NPU can do, and how they are described as tasks."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph as tasks, with the place of each tensor and all constants but coefficients."""

    graph: Graph
    tasks: tuple[Task, ...]
    features: Features
    constants: ConstantPool


def lower_graph(graph: Graph, soc: Soc, policy: Policy) -> Lowered:
    """Turn every operator of a graph into tasks; the passes have run.

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    features = place(graph)
    context = Context(graph, soc, features, policy)
    tasks = [task for operator in graph.operators for task in operator_tasks(context, operator)]
    return Lowered(graph, tuple(tasks), features, context.constants)


def operator_tasks(context: Context, operator: Operator) -> list[Task]:
    """Turn one operator into tasks; one that computes nothing has none.

    Raises:
        UnsupportedError: it cannot be run.
    """
    if computes_nothing(context.graph, operator):
        return []
    if operator.kind not in TASKS:
        raise UnsupportedError(f"operator {operator.index}: {operator.kind} is not an operator of the NPU")
    try:
        return TASKS[operator.kind](context, operator)
    except (UnsupportedError, RegisterFieldError) as error:
        raise UnsupportedError(f"operator {operator.index} ({operator.kind}): {error}") from error


def check_operator(context: Context, operator: Operator) -> str | None:
    """Say why the hardware cannot express an operator, or None where it can. Its instructions are written as they will
    be, so that no field can overflow later; only coefficients are packed nowhere.
    """
    if computes_nothing(context.graph, operator):
        return None
    try:
        for task in TASKS[operator.kind](context, operator):
            outline(task, context.soc)
    except (UnsupportedError, RegisterFieldError) as error:
        return str(error)
    return None
