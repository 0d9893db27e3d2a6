"""Tensors as maps of rows, columns and channels: windows over them, slices of them, what joins them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Concatenation, Conv2D, DepthwiseConv2D, Operator, Padding, StridedSlice
from rocketnpu.graph.tensors import Tensor

ROWS, COLUMNS, CHANNELS = -3, -2, -1
"""Axes of a map, from the last."""
AXES = (ROWS, COLUMNS, CHANNELS)
SLICES = ("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE")
Range = tuple[int, int]
"""First index and count."""


@dataclass(frozen=True)
class MapRange:
    """A part of a map that one output of an operator is."""

    rows: Range
    columns: Range
    channels: Range


def map_shape(tensor: Tensor) -> tuple[int, int, int] | None:
    """Return height, width and channels of a tensor as a feature map, or None where it cannot be one.

    Batches above one cannot; leading dimensions of a tensor with fewer than four are taken as 1.
    """
    if not 1 <= len(tensor.shape) <= 4 or 0 in tensor.shape:
        return None
    batch, height, width, channels = (1,) * (4 - len(tensor.shape)) + tensor.shape
    return (height, width, channels) if batch == 1 else None


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return outputs and padding in front along one axis under TFLite's SAME rule."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return outputs, total // 2


def window_padding(
    attributes: Conv2D | DepthwiseConv2D, size: tuple[int, int], kernel: tuple[int, int]
) -> tuple[int, int]:
    """Return padding above and to the left."""
    if attributes.pads is not None:
        return attributes.pads[0][0], attributes.pads[1][0]
    if attributes.padding is Padding.VALID:
        return 0, 0
    above = same_padding(size[0], kernel[0], attributes.stride[0], attributes.dilation[0])[1]
    left = same_padding(size[1], kernel[1], attributes.stride[1], attributes.dilation[1])[1]
    return above, left


def joined_axis(graph: Graph, operator: Operator) -> int:
    """Return the axis along which CONCATENATION joins, from the last: -1 for channels."""
    attributes = operator.attributes
    assert isinstance(attributes, Concatenation)
    rank = len(graph.tensors[operator.outputs[0]].shape)
    return attributes.axis % rank - rank


def sliced_tensor(operator: Operator) -> int:
    """Return the position of the input that is cut."""
    return 1 if operator.kind == "SPLIT" else 0


def map_ranges(graph: Graph, operator: Operator) -> list[MapRange] | None:
    """Return what each output is of the input, or None where that is not known or no range of a map of batch 1."""
    source = graph.input_of(operator, sliced_tensor(operator))
    found = _ranges(graph, operator, source)
    if found is None or len(source.shape) > 4:
        return None
    result = []
    for ranges in found:
        batch, rows, columns, channels = ((0, 1),) * (4 - len(ranges)) + tuple(ranges)
        if batch != (0, 1):
            return None
        result.append(MapRange(rows, columns, channels))
    return result


def _ranges(graph: Graph, operator: Operator, source: Tensor) -> list[list[Range]] | None:
    if operator.kind in ("SPLIT", "SPLIT_V"):
        axis = _values(graph, operator, 0 if operator.kind == "SPLIT" else 2)
        return None if axis is None else _split(graph, operator, source, axis[0] % len(source.shape))
    begin, second = _values(graph, operator, 1), _values(graph, operator, 2)
    if begin is None or second is None or len(begin) != len(source.shape):
        return None
    if operator.kind == "SLICE":
        sizes = [n - b if s == -1 else s for n, b, s in zip(source.shape, begin, second, strict=True)]
        return [list(zip(begin, sizes, strict=True))]
    return _strided(graph, operator, source, (begin, second))


def _split(graph: Graph, operator: Operator, source: Tensor, axis: int) -> list[list[Range]]:
    found, first = [], 0
    for number in operator.outputs:
        ranges = [(0, size) for size in source.shape]
        ranges[axis] = (first, graph.tensors[number].shape[axis])
        found.append(ranges)
        first += ranges[axis][1]
    return found


def _strided(
    graph: Graph, operator: Operator, source: Tensor, limits: tuple[list[int], list[int]]
) -> list[list[Range]] | None:
    attributes, steps = operator.attributes, _values(graph, operator, 3)
    if not isinstance(attributes, StridedSlice) or steps is None or any(step != 1 for step in steps):
        return None
    if attributes.ellipsis_mask or attributes.new_axis_mask or attributes.shrink_axis_mask or attributes.offset:
        return None
    found = []
    for axis, (size, low, high) in enumerate(zip(source.shape, *limits, strict=True)):
        first = None if attributes.begin_mask >> axis & 1 else low
        last = None if attributes.end_mask >> axis & 1 else high
        chosen = range(*slice(first, last).indices(size))
        found.append((chosen.start, len(chosen)))
    return [found]


def _values(graph: Graph, operator: Operator, position: int) -> list[int] | None:
    number = operator.input(position)
    data = None if number is None else graph.tensors[number].data
    return None if data is None else [int(value) for value in data.astype(np.int64).reshape(-1)]
