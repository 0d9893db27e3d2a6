"""AVERAGE_POOL_2D and MEAN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Padding
from rocketnpu.graph.maps import same_padding
from rocketnpu.graph.operators import Pool2D
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel
from rocketnpu.verisilicon.lowering.sums import MAX_SIDE
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Move, MoveKind, Planes, Task


def average_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe a mean over windows, or over the whole map.

    Raises:
        UnsupportedError: windows reach over the border, or are too large.
    """
    source = Source.of(context, context.tensor(operator, 0))
    planes = source.planes
    attributes = operator.attributes
    if not isinstance(attributes, Pool2D):
        output = Output.of(context, context.output(operator))
        return _over_the_map(context, operator, source, output)
    output = Output.of(context, context.output(operator), attributes.activation)
    if _padding(attributes, planes) != ((0, 0), (0, 0)):
        raise UnsupportedError("windows that reach over the border, where fewer values are averaged")
    if attributes.kernel == (planes.height, planes.width):
        return _over_the_map(context, operator, source, output)
    kernel = _ones(planes.channels, attributes.kernel)
    return window_tasks(context, operator, source, kernel, Window(attributes.stride), output)


def _padding(attributes: Pool2D, planes: Planes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding of SAME in both directions, in front and in all."""
    if attributes.padding is Padding.VALID:
        return (0, 0), (0, 0)
    found = []
    for size, kernel, stride in zip((planes.height, planes.width), attributes.kernel, attributes.stride, strict=True):
        outputs, front = same_padding(size, kernel, stride, 1)
        found.append((front, max((outputs - 1) * stride + kernel - size, 0)))
    return found[0], found[1]


def _ones(channels: int, size: tuple[int, int]) -> Kernel:
    """Return depthwise kernels of 1 whose scale divides by their size."""
    weights = np.ones((channels, 1, *size), np.uint8)
    return Kernel(weights, 0, (1 / (size[0] * size[1]),), np.zeros(channels, np.int64), depthwise=True)


def _over_the_map(context: Context, operator: Operator, source: Source, output: Output) -> list[Task]:
    """Average whole planes.

    Generation 8 has depthwise kernels. Generation 7 would need a dense one with a zero for nearly every weight, so the
    map is turned into pixels first: then each value of a plane lies in a plane of its own, and their mean is a 1x1
    convolution to a single channel, whose pixels are the channels.
    """
    planes = source.planes
    size = planes.height, planes.width
    if size == (1, 1) or (context.soc.generation == 8 and max(size) <= context.soc.max_kernel):
        kernel = _ones(planes.channels, size)
        return window_tasks(context, operator, source, kernel, Window(), output)
    if planes.channels > MAX_SIDE:
        raise UnsupportedError(f"{planes.channels} channels: at most {MAX_SIDE} are a row")
    turned = context.fresh(planes.plane, 1, planes.channels)
    label = f"{operator.kind}: planes to pixels"
    move = Move(MoveKind.TO_PIXELS, planes, turned, label, operator.index, fill=source.zero_point)
    weights = np.ones((1, planes.plane, 1, 1), np.uint8)
    kernel = Kernel(weights, 0, (1 / planes.plane,), np.zeros(1, np.int64))
    target = replace(output, planes=output.planes.reshaped(1, 1, planes.channels))
    source = replace(source, planes=turned)
    return [move, *window_tasks(context, operator, source, kernel, Window(), target)]
