"""Means, sums and maxima of other dimensions than a map's rows and columns, as operators on maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, NoAttributes, Operator, Padding, Pool2D, Reduce
from rocketnpu.graph.passes.idioms.selecting import Making, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, rewrite, same_quantisation
from rocketnpu.graph.tensors import DType, Tensor


def reduce_as_maps(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace reductions by operators of maps.

    MEAN and REDUCE_MAX of tensors of fewer than four dimensions see a map with leading dimensions of 1. MEAN over
    channels is a convolution with kernels of ones: at most 1 from the reference. REDUCE_MAX over rows and columns is a
    MAX_POOL_2D of the whole map, in steps where the map is larger than a window may be: exactly the same.
    """
    for operator in graph.operators:
        if operator.kind in ("MEAN", "REDUCE_MAX") and operator.index not in graph.problems:
            graph = _reduced(graph, operator, accepts)
    return graph


def _reduced(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    source, target, data = (
        graph.input_of(operator, 0),
        graph.tensors[operator.outputs[0]],
        graph.input_of(operator, 1).data,
    )
    if data is None or not 1 <= len(source.shape) <= 4 or source.is_dynamic or source.is_constant:
        return graph
    missing = 4 - len(source.shape)
    axes = sorted({int(axis) % len(source.shape) + missing for axis in np.ravel(data)})
    seen = replace(source, shape=(1,) * missing + source.shape)
    if not is_map(seen) or not axes or (axes[0] == 0 and missing == 0) or target.dtype is not source.dtype:
        return graph
    if operator.kind == "MEAN" and not missing and 3 not in axes:
        return graph
    making = Making(graph)
    if missing:
        seen = _viewed(making, source, seen.shape)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(seen.shape))
    whole = making.like(target, shape)
    if operator.kind == "REDUCE_MAX":
        if 3 in axes or not same_quantisation(source, target):
            return graph
        _maxima(making, seen, whole, axes)
    elif 3 not in axes:
        making.operator("MEAN", (seen.index, making.integers(axes, "axes")), (whole,), Reduce(keep_dims=True))
    else:
        _mean(making, seen, whole, axes)
    wanted = making.integers(target.shape)
    making.operator("RESHAPE", (whole, wanted), operator.outputs, NoAttributes(), operator.index)
    changes = {operator.index: making.operators}
    candidate = rewrite(graph, changes, making.tensors)
    return candidate if all(accepts(candidate, made) for made in making.operators) else graph


def _viewed(making: Making, source: Tensor, shape: tuple[int, ...]) -> Tensor:
    number = making.like(source, shape)
    making.operator("RESHAPE", (source.index, making.integers(shape)), (number,), NoAttributes())
    return replace(source, index=number, shape=shape)


def _mean(making: Making, source: Tensor, target: int, axes: list[int]) -> None:
    """Sum channels, and what else is reduced, by a kernel of ones whose scale divides."""
    _, rows, columns, channels = source.shape
    kernel = (rows if 1 in axes else 1, columns if 2 in axes else 1)
    step = 1 / (math.prod(kernel) * channels)
    ones = np.ones((1, *kernel, channels), np.int8).view(source.dtype.value)
    weights = making.reals(ones, step, source.dtype, "ones")
    scale = source.quantisation.scale if source.quantisation is not None else 1.0
    bias = making.reals(np.zeros(1, np.int32), scale * step, DType.INT32, "no bias")
    making.operator("CONV_2D", (source.index, weights, bias), (target,), Conv2D((1, 1), Padding.VALID))


_WINDOW = 31
"""Rows and columns of a window that every chip takes."""
_STEP = 7
"""The largest stride that every chip takes."""


def _maxima(making: Making, source: Tensor, target: int, axes: list[int]) -> None:
    """Take the maximum of the whole map, or of whole rows or columns, in as many steps as its size needs."""
    while True:
        size = [source.shape[axis] if axis in axes else 1 for axis in (1, 2)]
        step = [1 if n <= _WINDOW else min(-(-n // _WINDOW), _STEP) for n in size]
        if step == [1, 1]:
            making.operator("MAX_POOL_2D", (source.index,), (target,), _pool(size, [1, 1], Padding.VALID))
            return
        left = [-(-n // by) for n, by in zip(source.shape[1:3], step, strict=True)]
        middle = making.like(source, (1, *left, source.shape[3]))
        making.operator("MAX_POOL_2D", (source.index,), (middle,), _pool(step, step))
        source = replace(source, index=middle, shape=(1, *left, source.shape[3]))


def _pool(kernel: list[int], stride: list[int], padding: Padding = Padding.SAME) -> Pool2D:
    return Pool2D((stride[0], stride[1]), padding, (kernel[0], kernel[1]))
