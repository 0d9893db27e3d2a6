"""Maps of a single row, such as sound: seen as a column where they are wide, or as rows as long as a large stride.

Pixels lie one behind the other, so a row of n pixels is the same memory as a column of n, or as rows of any length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.maps import map_shape, same_padding
from rocketnpu.graph.operators import (
    Attributes,
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    NoAttributes,
    Operator,
    Padding,
    Pool2D,
)
from rocketnpu.graph.passes.idioms.selecting import Making, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, same_quantisation
from rocketnpu.graph.tensors import Tensor

WIDEST = 2047
"""Columns that every chip takes."""
_LONGEST = 31
"""Rows and columns of a kernel that every chip takes."""
_STRIDES = range(1, 8)
_WINDOWS = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D")
_PAIRS = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
_SINGLES = {
    *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ELU", "GELU", "QUANTIZE"),
    "BYTE_FUNCTION",
}


def stand_up(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Let operators see maps of one row of more than 2,047 columns as a column, which is cut into tasks of rows.

    Convolutions of one row with a stride of 8 or more, or a kernel of more than 31 columns, see a map whose rows are as
    long as the stride, if those are no more than 31: windows begin with a row then, and the stride is 1. The results
    are exactly the same.
    """
    for operator in graph.operators:
        if operator.index in graph.problems:
            continue
        if operator.kind == "CONV_2D" and isinstance(operator.attributes, Conv2D):
            stepped = _stepped(graph, operator, operator.attributes, accepts)
            if stepped is not graph:
                graph = stepped
                continue
        if operator.kind in (*_WINDOWS, *_PAIRS, *_SINGLES, "CONCATENATION", "PAD", "PADV2"):
            graph = _stood(graph, operator, accepts)
    return graph


def _row(tensor: Tensor) -> int | None:
    """Return the columns of a computed map of one row, or None for others."""
    shape = map_shape(tensor)
    seen = replace(tensor, shape=(1, *shape)) if shape is not None else tensor
    return shape[1] if shape is not None and shape[0] == 1 and is_map(seen) else None


def _stood(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    """Turn an operator's maps, its windows and its paddings by a quarter."""
    tensors = [graph.tensors[n] for n in (*operator.inputs, *operator.outputs) if n is not None]
    widths = [_row(tensor) for tensor in tensors if not tensor.is_constant]
    if None in widths or max(width or 0 for width in widths) <= WIDEST:
        return graph
    making = Making(graph)
    turned = _turned(graph, making, operator)
    if turned is None:
        return graph
    inputs, attributes = turned
    target = graph.tensors[operator.outputs[0]]
    column = making.like(target, (1, _row(target) or 0, 1, target.shape[-1]))
    making.operator(operator.kind, inputs, (column,), attributes)
    making.operator(
        "RESHAPE", (column, making.integers(target.shape)), operator.outputs, NoAttributes(), operator.index
    )
    return making.instead([operator], accepts)


def _turned(graph: Graph, making: Making, operator: Operator) -> tuple[list[int | None], Attributes] | None:
    """Return inputs and attributes of an operator that sees columns, or None where it means something else then."""
    attributes: Any = operator.attributes
    given = [None if n is None else graph.tensors[n] for n in operator.inputs]
    found = [
        n if t is None or t.is_constant else _column(graph, making, t)
        for n, t in zip(operator.inputs, given, strict=True)
    ]
    if operator.kind in _WINDOWS:
        if isinstance(attributes, Conv2D | DepthwiseConv2D):
            weights = given[1]
            if weights is None or weights.data is None or len(weights.shape) != 4 or weights.quantisation is None:
                return None
            found[1] = making.add(_quarter(weights))
        return found, _turned_window(attributes)
    if operator.kind in _PAIRS:
        plain = all(t is None or not t.is_constant or set(t.shape[:-1]) <= {1} for t in given)
        return (found, attributes) if plain else None
    if operator.kind == "CONCATENATION":
        rank = len(graph.tensors[operator.outputs[0]].shape)
        joins = isinstance(attributes, Concatenation) and attributes.axis % rank == rank - 1
        return (found, replace(attributes, axis=3)) if joins else None
    if operator.kind in ("PAD", "PADV2"):
        edges = given[1].data if given[1] is not None else None
        if edges is None or edges.ndim != 2:
            return None
        rows = [[0, 0]] * (4 - len(edges)) + edges.astype(np.int64).tolist()
        found[1] = making.integers([rows[0], rows[2], rows[1], rows[3]], "paddings")
    return found, attributes


def _column(graph: Graph, making: Making, tensor: Tensor) -> int:
    """Return a map of one row as a column: the one of which it was made, where there is one, or a view."""
    shape = (1, _row(tensor) or 0, 1, tensor.shape[-1])
    maker = graph.producers.get(tensor.index)
    if maker is not None and maker.kind == "RESHAPE":
        source = graph.input_of(maker, 0)
        if source.shape == shape and same_quantisation(source, tensor):
            return source.index
    number = making.like(tensor, shape)
    making.operator("RESHAPE", (tensor.index, making.integers(shape)), (number,), NoAttributes())
    return number


def _quarter(weights: Tensor) -> Tensor:
    """Return kernels whose rows are columns."""
    assert weights.data is not None
    data = np.ascontiguousarray(weights.data.transpose(0, 2, 1, 3))
    return replace(weights, shape=data.shape, data=data, name=f"{weights.name} turned")


def _turned_window(attributes: Conv2D | DepthwiseConv2D | Pool2D) -> Attributes:
    pads = None if attributes.pads is None else attributes.pads[::-1]
    found = replace(attributes, stride=attributes.stride[::-1], pads=pads)
    if isinstance(found, Pool2D):
        return replace(found, kernel=found.kernel[::-1])
    return replace(found, dilation=found.dilation[::-1])


def _stepped(graph: Graph, operator: Operator, attributes: Conv2D, accepts: Accepts) -> Graph:
    """Let a convolution with a large stride, or a long kernel, see rows as long as its stride."""
    source, target, weights = (
        graph.input_of(operator, 0),
        graph.tensors[operator.outputs[0]],
        graph.input_of(operator, 1),
    )
    width, outputs, step = _row(source), _row(target), attributes.stride[1]
    if width is None or outputs is None or weights.data is None or weights.quantisation is None:
        return graph
    if len(weights.shape) != 4 or weights.shape[1] != 1 or attributes.pads is not None or attributes.dilation[1] != 1:
        return graph
    length, channels = weights.shape[2], source.shape[-1]
    needed = step not in _STRIDES or length > _LONGEST
    if not needed or not 1 < step <= _LONGEST or weights.shape[3] != channels:
        return graph
    before = same_padding(width, length, step, 1)[1] if attributes.padding is Padding.SAME else 0
    # Where there is padding in front, windows reach behind the last pixel.
    rows = max(-(-width // step), outputs - 1 + -(-length // step))
    taps = rows - outputs + 1
    if taps > _LONGEST:
        return graph
    making = Making(graph)
    number, behind = _column(graph, making, source), rows * step - before - width
    if before or behind:
        padded = making.like(source, (1, rows * step, 1, channels))
        edges = making.integers([(0, 0), (before, behind), (0, 0), (0, 0)], "paddings")
        making.operator("PAD", (number, edges), (padded,), NoAttributes())
        number = padded
    seen = making.like(source, (1, rows, step, channels))
    making.operator("RESHAPE", (number, making.integers((1, rows, step, channels))), (seen,), NoAttributes())
    zero = 0 if weights.quantisation.is_per_channel else weights.quantisation.zero_point
    kernels = np.full((weights.shape[0], taps * step, channels), zero, weights.data.dtype)
    kernels[:, :length] = weights.data[:, 0]
    shape = (weights.shape[0], taps, step, channels)
    held = making.add(replace(weights, shape=shape, data=kernels.reshape(shape), name="kernels of rows"))
    made = making.like(target, (1, outputs, 1, weights.shape[0]))
    plain = Conv2D((1, 1), Padding.VALID, activation=attributes.activation)
    making.operator("CONV_2D", (seen, held, *operator.inputs[2:]), (made,), plain)
    making.operator("RESHAPE", (made, making.integers(target.shape)), operator.outputs, NoAttributes(), operator.index)
    return making.instead([operator], accepts)
