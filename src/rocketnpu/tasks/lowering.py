"""From a graph to tasks: every operator by its family, in the graph's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rocketnpu.errors import RegisterFieldError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.soc import Soc
from rocketnpu.tasks.constants import ConstantPool
from rocketnpu.tasks.context import Context, map_shape
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.lower_convolution import lower_conv, lower_depthwise, lower_fully_connected
from rocketnpu.tasks.task import Task

Lower = Callable[[Context, Operator], list[Task]]

FAMILIES: Mapping[str, Lower] = {
    "CONV_2D": lower_conv,
    "DEPTHWISE_CONV_2D": lower_depthwise,
    "FULLY_CONNECTED": lower_fully_connected,
}
"""How each kind of operator becomes tasks."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph as tasks, with the place of each tensor and all constants."""

    graph: Graph
    tasks: tuple[Task, ...]
    features: Mapping[int, FeatureMap]
    constants: ConstantPool


def place(graph: Graph) -> dict[int, FeatureMap]:
    """Give each tensor that is a feature map a region of its own."""
    features = {}
    for number, tensor in graph.tensors.items():
        shape = map_shape(tensor)
        if shape is not None and not tensor.is_constant:
            features[number] = FeatureMap.packed(f"t{number}", *shape)
    return features


def lower(graph: Graph, soc: Soc) -> Lowered:
    """Turn every operator of a graph into tasks.

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    context = Context(graph, soc, place(graph))
    tasks: list[Task] = []
    for operator in graph.operators:
        tasks += lower_operator(context, operator)
    return Lowered(graph, tuple(tasks), context.features, context.constants)


def lower_operator(context: Context, operator: Operator) -> list[Task]:
    """Turn one operator into tasks.

    Raises:
        UnsupportedError: it cannot be run.
    """
    family = FAMILIES.get(operator.kind)
    if family is None:
        raise UnsupportedError(f"operator {operator.index}: {operator.kind} is not an operator of the NPU")
    try:
        return family(context, operator)
    except (UnsupportedError, RegisterFieldError) as error:
        raise UnsupportedError(f"operator {operator.index} ({operator.kind}): {error}") from error
