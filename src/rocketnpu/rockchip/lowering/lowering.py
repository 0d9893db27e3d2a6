"""From a graph to tasks: every operator by its family, in the graph's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.errors import RegisterFieldError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import SLICES
from rocketnpu.graph.operators import CONV_ADD
from rocketnpu.policy import Policy
from rocketnpu.program.constants import ConstantPool
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.lowering.average import average_layers
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.convolution import conv_layers, depthwise_layers, fully_connected_layers
from rocketnpu.rockchip.lowering.elementwise import elementwise_layers
from rocketnpu.rockchip.lowering.enlarging import bilinear_layers, nearest_layers, transpose_conv_layers
from rocketnpu.rockchip.lowering.fused import conv_add_layers
from rocketnpu.rockchip.lowering.lookup import lookup_layers, prelu_layers
from rocketnpu.rockchip.lowering.moving import concatenation_layers, pad_layers, slice_layers
from rocketnpu.rockchip.lowering.placement import VIEWS, computes_nothing, is_view, place
from rocketnpu.rockchip.lowering.pooling import max_pool_layers
from rocketnpu.rockchip.lowering.unary import requantise_layers
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, convolution_tasks, outlined_tasks
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import PoolingLayer, pooling_tasks
from rocketnpu.rockchip.tasks.task import Task

__all__ = ["LAYERS", "VIEWS", "Layer", "Lowered", "check_operator", "is_view", "lower_graph", "place"]

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
    "TRANSPOSE_CONV": transpose_conv_layers,
    "RESIZE_NEAREST_NEIGHBOR": nearest_layers,
    "RESIZE_BILINEAR": bilinear_layers,
    "PAD": pad_layers,
    "PADV2": pad_layers,
    "CONCATENATION": concatenation_layers,
    **dict.fromkeys(SLICES, slice_layers),
}
"""Operators that become convolutions, or windows of the pooling unit, and how they are described as layers."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph as tasks, with the place of each tensor and all constants."""

    graph: Graph
    tasks: tuple[Task, ...]
    features: Mapping[int, FeatureMap]
    constants: ConstantPool
    notes: tuple[str, ...] = ()


def lower_graph(graph: Graph, soc: Soc, policy: Policy, *, folds: bool = True) -> Lowered:
    """Turn every operator of a graph into tasks; the passes have run (:mod:`rocketnpu.rockchip.prepared`).

    Without ``folds`` depthwise layers keep their shape (:mod:`rocketnpu.rockchip.lowering.folding`).

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    context = Context(graph, soc, place(graph, soc, policy), policy, folds=folds)
    tasks: list[Task] = []
    for operator in graph.operators:
        tasks += lower_operator(context, operator)
    return Lowered(graph, tuple(tasks), context.features, context.constants, tuple(context.notes))


def lower_operator(context: Context, operator: Operator) -> list[Task]:
    """Turn one operator into tasks.

    Raises:
        UnsupportedError: it cannot be run.
    """
    if computes_nothing(context.graph, operator, context.soc):
        return []
    if operator.kind not in LAYERS:
        raise UnsupportedError(f"operator {operator.index}: {operator.kind} is not an operator of the NPU")
    try:
        layers = working_layers(context, operator)
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
    return convolution_tasks(layer, context.constants, context.soc, start_cycles(context.policy.target))


def outlined_layer(layer: Layer, context: Context) -> Sequence[Task]:
    """Cut a layer into tasks as :func:`layer_tasks` does, without packing weights.

    Raises:
        UnsupportedError: as there.
    """
    if isinstance(layer, PoolingLayer):
        return pooling_tasks(layer)
    return outlined_tasks(layer, context.soc, start_cycles(context.policy.target))


def allowed_layers(context: Context, operator: Operator) -> Sequence[Layer]:
    """Describe an operator as layers.

    Raises:
        UnsupportedError: it cannot be described so, or it needs hardware rules that the policy does not allow.
    """
    layers = LAYERS[operator.kind](context, operator)
    needed = sorted({rule for layer in layers for rule in layer.unproven})
    refuted = [rule for rule in needed if rule in context.policy.refuted]
    if refuted:
        raise UnsupportedError(f"it needs hardware rules that this board refuted: {', '.join(refuted)}")
    missing = [rule for rule in needed if not context.allows(rule)]
    if missing:
        raise UnsupportedError(f"it needs hardware rules without proof on this chip: {', '.join(missing)}")
    return layers


def check_operator(context: Context, operator: Operator) -> str | None:
    """Say why the hardware's buffers, arithmetic or registers cannot express an operator, or None where they can.

    The operator satisfies the rules of its kind already. Its registers are written as they will be, so that no field
    can overflow later; only weights are packed nowhere.
    """
    if computes_nothing(context.graph, operator, context.soc):
        return None
    reasons = []
    for attempt in attempts(context):
        try:
            for layer in allowed_layers(attempt, operator):
                for task in outlined_layer(layer, attempt):
                    emit(task, attempt.soc)
        except (UnsupportedError, RegisterFieldError) as error:
            reasons.append(str(error))
        else:
            return None
    return reasons[0]


def attempts(context: Context) -> Iterator[Context]:
    """Return the ways in which an operator may be described: as the policy allows, and by proven rules only.

    Who allows more must never get less: where the first cannot be expressed, the second may.
    """
    yield context
    if context.policy.allow_unproven:
        yield replace(context, policy=replace(context.policy, allow_unproven=False))


def working_layers(context: Context, operator: Operator) -> Sequence[Layer]:
    """Describe an operator in the first way that can be expressed.

    Raises:
        UnsupportedError: there is none; that of the first way.
    """
    failed: UnsupportedError | RegisterFieldError | None = None
    for attempt in attempts(context):
        try:
            layers = allowed_layers(attempt, operator)
            for layer in layers:
                outlined_layer(layer, attempt)
        except (UnsupportedError, RegisterFieldError) as error:
            failed = failed or error
            continue
        context.temporaries = attempt.temporaries
        return layers
    assert failed is not None
    raise failed
