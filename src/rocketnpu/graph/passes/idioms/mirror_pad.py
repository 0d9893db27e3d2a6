"""MIRROR_PAD as slices of its border, joined."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Concatenation, MirrorPad, NoAttributes, Operator
from rocketnpu.graph.passes.idioms.selecting import Making, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, same_quantisation
from rocketnpu.graph.tensors import Tensor


def mirror(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace MIRROR_PAD of rows and columns by SLICE of each row and column that it repeats, and CONCATENATION.

    The result is exactly the same.
    """
    for pad in graph.operators:
        if pad.kind == "MIRROR_PAD" and pad.index not in graph.problems:
            graph = _mirrored(graph, pad, accepts)
    return graph


def _mirrored(graph: Graph, pad: Operator, accepts: Accepts) -> Graph:
    source, target, data = graph.input_of(pad, 0), graph.tensors[pad.outputs[0]], graph.input_of(pad, 1).data
    if data is None or not isinstance(pad.attributes, MirrorPad) or not is_map(source) or not is_map(target):
        return graph
    edges = [(int(before), int(behind)) for before, behind in data.astype(np.int64)]
    if len(edges) != 4 or any(edges[0]) or any(edges[3]) or not same_quantisation(source, target):
        return graph
    if not any(map(any, edges)):
        return graph
    making, current = Making(graph), source
    axes = [axis for axis in (1, 2) if any(edges[axis])]
    for axis in axes:
        output = target.index if axis == axes[-1] else None
        current = _along(making, current, axis, edges[axis], pad, output)
    return making.instead([pad], accepts)


def _along(
    making: Making, source: Tensor, axis: int, edge: tuple[int, int], pad: Operator, output: int | None
) -> Tensor:
    """Repeat the rows (axis 1) or columns (axis 2) next to both borders."""
    size, symmetric = source.shape[axis], isinstance(pad.attributes, MirrorPad) and pad.attributes.symmetric
    skip = 0 if symmetric else 1
    before = [skip + place for place in reversed(range(edge[0]))]
    behind = [size - 1 - skip - place for place in range(edge[1])]
    pieces = [_line(making, source, axis, place) for place in before]
    pieces.append(source.index)
    pieces += [_line(making, source, axis, place) for place in behind]
    shape = [*source.shape]
    shape[axis] = size + sum(edge)
    number = making.like(source, shape) if output is None else output
    making.operator("CONCATENATION", pieces, (number,), Concatenation(axis), None if output is None else pad.index)
    return making.tensors[number - making.tensors[0].index] if output is None else making.graph.tensors[number]


def _line(making: Making, source: Tensor, axis: int, place: int) -> int:
    begin, size = [0, 0, 0, 0], [*source.shape]
    begin[axis], size[axis] = place, 1
    number = making.like(source, size)
    inputs = (source.index, making.integers(begin, "begin"), making.integers(size, "size"))
    making.operator("SLICE", inputs, (number,), NoAttributes())
    return number
