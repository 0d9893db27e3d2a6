"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as tasks."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph import Activation, Graph, Operator
from rocketnpu.graph.maps import window_padding
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, FullyConnected
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel, dilated, grouped, kernel_of
from rocketnpu.verisilicon.lowering.per_channel import channel_tasks, folding
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Task


def convolution_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe a convolution.

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    attributes = operator.attributes
    assert isinstance(attributes, Conv2D | DepthwiseConv2D)
    source = Source.of(context, context.tensor(operator, 0))
    kernel = dilated(kernel_of(context.graph, operator), attributes.dilation)
    size = source.planes.height, source.planes.width
    # The kernel is dilated already.
    padding = window_padding(replace(attributes, dilation=(1, 1)), size, kernel.size)
    if isinstance(attributes, Conv2D):
        kernel = grouped(kernel, source.planes.channels)
    output = Output.of(context, context.output(operator), attributes.activation)
    return _tasks(context, operator, source, kernel, Window(attributes.stride, padding), output)


def connected_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe FULLY_CONNECTED: a 1x1 convolution over its rows (facts 8: a kernel over the map is wrong on
    generation 7).

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    assert isinstance(operator.attributes, FullyConnected)
    source = Source.of(context, context.tensor(operator, 0))
    output = Output.of(context, context.output(operator), operator.attributes.activation)
    rows = source.planes.size // kernel_of(context.graph, operator).weights.shape[1]
    shape = (source.planes.size // rows, 1, rows)
    source = replace(source, planes=source.planes.reshaped(*shape))
    output = replace(output, planes=output.planes.reshaped(output.planes.size // rows, 1, rows))
    return _tasks(context, operator, source, kernel_of(context.graph, operator), Window(), output)


WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Kinds of operator whose weights may have a scale for each channel."""


def channel_steps(graph: Graph, operator: Operator) -> int:
    """Return how far an operator's results are from the rounded truth because its channels have scales of their own.

    Raises:
        UnsupportedError: it cannot be run.
    """
    kernel = kernel_of(graph, operator)
    if len(set(kernel.scales)) == 1:
        return 1
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    low, high = stored.clamp(getattr(operator.attributes, "activation", Activation.NONE), target)
    return folding(kernel, stored.zero_point(source), stored.scale(source) / stored.scale(target), high - low).steps


def _tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, output: Output
) -> list[Task]:
    several = len(set(kernel.scales)) > 1
    return (channel_tasks if several else window_tasks)(context, operator, source, kernel, window, output)
