"""Operators that move values: slices with steps, blocks, gathered and shuffled channels, as selecting convolutions."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import (
    Block,
    Conv2D,
    DepthwiseConv2D,
    Gather,
    NoAttributes,
    Operator,
    Padding,
    StridedSlice,
    TransposeConv,
)
from rocketnpu.graph.passes.idioms.selecting import MOST_WEIGHTS, Making, Selection, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, only_reader, rewrite, same_quantisation
from rocketnpu.graph.tensors import DType, Tensor
from rocketnpu.graph.values import strided_ranges


def select_values(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace operators that pick values of a map by convolutions whose kernels hold a single 1, exactly.

    STRIDED_SLICE with steps along rows and columns (Focus layers) is a depthwise convolution with those strides,
    SPACE_TO_DEPTH a convolution of the block's size and stride, DEPTH_TO_SPACE a transposed one. GATHER of channels,
    and RESHAPE, TRANSPOSE, RESHAPE that shuffle them, are 1x1 convolutions. TRANSPOSE that moves dimensions of 1 only
    is a RESHAPE.
    """
    for operator in graph.operators:
        rule = _RULES.get(operator.kind)
        if rule is not None and operator.index not in graph.problems:
            graph = rule(graph, operator, accepts)
    return graph


def _maps(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor] | None:
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    fits = is_map(source) and is_map(target) and same_quantisation(source, target)
    return (source, target) if fits else None


def _strided_slice(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    found = _maps(graph, operator)
    limits = [graph.input_of(operator, place).data for place in (1, 2, 3)]
    if found is None or any(limit is None for limit in limits) or not isinstance(operator.attributes, StridedSlice):
        return graph
    source, target = found
    numbers = [[int(n) for n in np.ravel(limit)] for limit in limits if limit is not None]
    ranges = strided_ranges(operator.attributes, source.shape, numbers)
    if not all(isinstance(part, slice) for part in ranges):
        return graph
    places = [range(*part.indices(n)) for part, n in zip(ranges, source.shape, strict=True) if isinstance(part, slice)]
    if all(part.step == 1 for part in places) or any(part.step < 1 for part in places[:3]):
        return graph
    making = Making(graph)
    if places[3] != range(source.shape[3]):
        if places[1:3] != [range(n) for n in source.shape[1:3]]:
            return graph
        return _picked(graph, operator, list(places[3]), accepts)
    windows = [_window(part, size) for part, size in zip(places[1:3], source.shape[1:3], strict=True)]
    ones = np.zeros((1, windows[0], windows[1], source.shape[3]), bool)
    ones[0, places[1].start, places[2].start] = True
    attributes = DepthwiseConv2D((places[1].step, places[2].step), Padding.VALID)
    making.select(source, target.index, Selection("DEPTHWISE_CONV_2D", attributes, ones), operator.index)
    return making.instead([operator], accepts)


def _window(places: range, size: int) -> int:
    """Return the size of a window that starts at every step and ends where it has as many places as wanted."""
    return max(places.start + 1, size - places.step * len(places) + 1)


def _space_to_depth(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    found = _maps(graph, operator)
    if found is None or not isinstance(operator.attributes, Block):
        return graph
    source, target = found
    block, channels = operator.attributes.size, source.shape[3]
    if target.shape[3] != block * block * channels or (block * block * channels) ** 2 > MOST_WEIGHTS:
        return graph
    ones = np.eye(block * block * channels, dtype=bool).reshape(-1, block, block, channels)
    making = Making(graph)
    attributes = Conv2D((block, block), Padding.VALID)
    making.select(source, target.index, Selection("CONV_2D", attributes, ones), operator.index)
    return making.instead([operator], accepts)


def _depth_to_space(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    found = _maps(graph, operator)
    if found is None or not isinstance(operator.attributes, Block):
        return graph
    source, target = found
    block, channels = operator.attributes.size, target.shape[3]
    if source.shape[3] != block * block * channels or source.shape[3] ** 2 > MOST_WEIGHTS:
        return graph
    ones = np.eye(source.shape[3], dtype=bool).reshape(block, block, channels, -1).transpose(2, 0, 1, 3)
    making = Making(graph)
    step = source.quantisation.scale if source.quantisation is not None else 1.0
    data = np.ascontiguousarray(ones).astype(np.int8).view(source.dtype.value)
    weights = making.reals(data, 1.0, source.dtype, "selection")
    bias = making.reals(np.zeros(channels, np.int32), step, DType.INT32, "no bias")
    inputs = (making.integers(target.shape), weights, source.index, bias)
    making.operator(
        "TRANSPOSE_CONV", inputs, operator.outputs, TransposeConv((block, block), Padding.VALID), operator.index
    )
    return making.instead([operator], accepts)


def _gather(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    found, indices = _maps(graph, operator), graph.input_of(operator, 1).data
    attributes = operator.attributes
    if found is None or indices is None or indices.ndim != 1 or not isinstance(attributes, Gather):
        return graph
    chosen = [int(n) for n in indices.astype(np.int64)]
    fits = attributes.axis in (3, -1) and not attributes.batch_dims and all(0 <= n < found[0].shape[3] for n in chosen)
    return _picked(graph, operator, chosen, accepts) if fits else graph


def _picked(graph: Graph, operator: Operator, chosen: list[int], accepts: Accepts, *before: Operator) -> Graph:
    """Pick channels by a 1x1 convolution, in the place of an operator and of those right before it."""
    source = graph.input_of(before[0] if before else operator, 0)
    target, channels = graph.tensors[operator.outputs[0]], source.shape[3]
    if len(chosen) * channels > MOST_WEIGHTS:
        return graph
    ones = np.zeros((len(chosen), 1, 1, channels), bool)
    ones[np.arange(len(chosen)), 0, 0, chosen] = True
    making = Making(graph)
    selection = Selection("CONV_2D", Conv2D((1, 1), Padding.VALID), ones)
    making.select(source, target.index, selection, operator.index)
    return making.instead([*before, operator], accepts)


def _transpose(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    source, target, data = (
        graph.input_of(operator, 0),
        graph.tensors[operator.outputs[0]],
        graph.input_of(operator, 1).data,
    )
    if data is None or source.is_dynamic or source.is_constant or not same_quantisation(source, target):
        return graph
    order = [int(axis) % len(source.shape) for axis in np.ravel(data)]
    shuffled = _shuffle(graph, operator, order, accepts)
    if shuffled is not graph:
        return shuffled
    moved = [axis for axis in order if source.shape[axis] != 1]
    if moved != sorted(moved):
        return graph
    making = Making(graph)
    shape = making.integers(target.shape)
    making.operator("RESHAPE", (source.index, shape), operator.outputs, NoAttributes(), operator.index)
    return rewrite(graph, {operator.index: making.operators}, making.tensors)


def _shuffle(graph: Graph, transpose: Operator, order: list[int], accepts: Accepts) -> Graph:
    """Replace RESHAPE to groups, TRANSPOSE of groups and members, RESHAPE back, by a permutation of channels."""
    number = transpose.inputs[0] or 0
    views, last = _views_before(graph, number), only_reader(graph, transpose.outputs[0])
    if not views or last is None or last.kind != "RESHAPE":
        return graph
    source, target = graph.input_of(views[0], 0), graph.tensors[last.outputs[0]]
    groups = graph.tensors[number].shape
    whole = is_map(source) and is_map(target) and source.shape == target.shape and same_quantisation(source, target)
    if not whole or len(groups) != 5 or groups[:3] != source.shape[:3] or order != [0, 1, 2, 4, 3]:
        return graph
    if not all(same_quantisation(source, graph.tensors[view.outputs[0]]) for view in views):
        return graph
    chosen = np.arange(source.shape[3]).reshape(groups[3:]).T.reshape(-1).tolist()
    return _picked(graph, last, chosen, accepts, *views, transpose)


def _views_before(graph: Graph, number: int) -> list[Operator]:
    """Return the RESHAPEs, one behind the other, that end in a tensor, up to the first one that others see too."""
    views: list[Operator] = []
    while only_reader(graph, number) is not None and number in graph.producers:
        operator = graph.producers[number]
        if operator.kind != "RESHAPE":
            break
        views.insert(0, operator)
        number = operator.inputs[0] or 0
    return views


_RULES = {
    "STRIDED_SLICE": _strided_slice,
    "SPACE_TO_DEPTH": _space_to_depth,
    "DEPTH_TO_SPACE": _depth_to_space,
    "GATHER": _gather,
    "TRANSPOSE": _transpose,
}
