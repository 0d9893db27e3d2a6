"""From a graph to tasks: every operator by its family, in the graph's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rocketnpu.errors import RegisterFieldError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.operators import CONV_ADD
from rocketnpu.policy import Policy
from rocketnpu.soc import Soc
from rocketnpu.tasks import quantised
from rocketnpu.tasks.byte_functions import BYTE_FUNCTIONS
from rocketnpu.tasks.constants import ConstantPool
from rocketnpu.tasks.context import Context, map_shape
from rocketnpu.tasks.convolution import ConvolutionLayer, check_layer, convolution_tasks
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.lower_convolution import conv_layers, depthwise_layers, fully_connected_layers
from rocketnpu.tasks.lower_elementwise import elementwise_layers
from rocketnpu.tasks.lower_fused import conv_add_layers
from rocketnpu.tasks.lower_lookup import lookup_layers, prelu_layers
from rocketnpu.tasks.lower_pooling import max_pool_layers
from rocketnpu.tasks.lower_unary import average_layers, requantise_layers
from rocketnpu.tasks.pooling import PoolingLayer, check_pooling, pooling_tasks
from rocketnpu.tasks.task import Task

Layer = ConvolutionLayer | PoolingLayer
LAYERS: Mapping[str, Callable[[Context, Operator], Sequence[Layer]]] = {
    "CONV_2D": conv_layers,
    "DEPTHWISE_CONV_2D": depthwise_layers,
    "FULLY_CONNECTED": fully_connected_layers,
    CONV_ADD: conv_add_layers,
    "ADD": elementwise_layers,
    "SUB": elementwise_layers,
    "MUL": elementwise_layers,
    "MAXIMUM": elementwise_layers,
    "MINIMUM": elementwise_layers,
    "AVERAGE_POOL_2D": average_layers,
    "MAX_POOL_2D": max_pool_layers,
    "MEAN": average_layers,
    "RELU": requantise_layers,
    "RELU6": requantise_layers,
    "RELU_N1_TO_1": requantise_layers,
    "QUANTIZE": requantise_layers,
    **dict.fromkeys(BYTE_FUNCTIONS, lookup_layers),
    "PRELU": prelu_layers,
}
"""Operators that become convolutions, or windows of the pooling unit, and how they are described as layers."""
VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that only see the same bytes in another shape."""


def is_view(graph: Graph, operator: Operator) -> bool:
    """Say whether an operator's output is its input's memory: reshapes, and QUANTIZE from UINT8 to INT8 and back."""
    if operator.kind in VIEWS:
        return True
    source, target = graph.tensors[operator.inputs[0] or 0], graph.tensors[operator.outputs[0]]
    if operator.kind != "QUANTIZE" or source.dtype not in quantised.SHIFT or target.dtype not in quantised.SHIFT:
        return False
    same_zero = quantised.zero_point(source) == quantised.zero_point(target)
    return same_zero and quantised.scale(source) == quantised.scale(target)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph as tasks, with the place of each tensor and all constants."""

    graph: Graph
    tasks: tuple[Task, ...]
    features: Mapping[int, FeatureMap]
    constants: ConstantPool
    notes: tuple[str, ...] = ()


def place(graph: Graph) -> dict[int, FeatureMap]:
    """Give each tensor that is a feature map a region of its own."""
    features = {}
    for number, tensor in graph.tensors.items():
        shape = map_shape(tensor)
        if shape is not None and not tensor.is_constant:
            features[number] = FeatureMap.packed(f"t{number}", *shape)
    for operator in graph.operators:
        source, target = operator.input(0), operator.outputs[0] if operator.outputs else None
        if source in features and target in features and is_view(graph, operator):
            wanted = features[target]
            if (wanted.height * wanted.width, wanted.channels) == (
                features[source].height * features[source].width,
                features[source].channels,
            ):
                features[target] = features[source].reshaped(wanted.height, wanted.width)
    return features


def lower(graph: Graph, soc: Soc, policy: Policy) -> Lowered:
    """Turn every operator of a graph into tasks.

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    context = Context(graph, soc, place(graph), policy)
    tasks: list[Task] = []
    for operator in graph.operators:
        tasks += lower_operator(context, operator)
    return Lowered(graph, tuple(tasks), context.features, context.constants, tuple(context.notes))


def lower_operator(context: Context, operator: Operator) -> list[Task]:
    """Turn one operator into tasks.

    Raises:
        UnsupportedError: it cannot be run.
    """
    if is_view(context.graph, operator):
        return []
    if operator.kind not in LAYERS:
        raise UnsupportedError(f"operator {operator.index}: {operator.kind} is not an operator of the NPU")
    try:
        layers = allowed_layers(context, operator)
        return [task for layer in layers for task in layer_tasks(layer, context)]
    except (UnsupportedError, RegisterFieldError) as error:
        raise UnsupportedError(f"operator {operator.index} ({operator.kind}): {error}") from error


def layer_tasks(layer: Layer, context: Context) -> Sequence[Task]:
    """Cut a layer into tasks.

    Raises:
        UnsupportedError: it does not fit the hardware's buffers or fields.
    """
    if isinstance(layer, PoolingLayer):
        return pooling_tasks(layer)
    return convolution_tasks(layer, context.constants, context.soc)


def allowed_layers(context: Context, operator: Operator) -> Sequence[Layer]:
    """Describe an operator as layers.

    Raises:
        UnsupportedError: it cannot be described so, or it needs hardware rules that the policy does not allow.
    """
    layers = LAYERS[operator.kind](context, operator)
    needed = sorted({rule for layer in layers for rule in layer.unproven})
    if needed and not context.policy.allow_unproven:
        raise UnsupportedError(f"it needs hardware rules without proof on this chip: {', '.join(needed)}")
    return layers


def check_operator(context: Context, operator: Operator) -> str | None:
    """Say why the hardware's buffers or arithmetic cannot express an operator, or None where they can.

    The operator satisfies the rules of its kind already. Nothing is packed.
    """
    if is_view(context.graph, operator):
        return None
    try:
        for layer in allowed_layers(context, operator):
            if isinstance(layer, ConvolutionLayer):
                check_layer(layer, context.soc)
            else:
                check_pooling(layer)
    except UnsupportedError as error:
        return str(error)
    return None
