"""Nearest up-sampling as converters write it where the batch is open: a new dimension, TILE, RESHAPE."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Operator, Resize
from rocketnpu.graph.passes.idioms.selecting import Making, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, only_reader, rewrite, same_quantisation

_REPEATING = ("TILE", "BROADCAST_TO")
_VIEWS = ("RESHAPE", "EXPAND_DIMS")


def upsample(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace EXPAND_DIMS or RESHAPE, TILE or BROADCAST_TO, and RESHAPE that together repeat each row or each column
    of a map by RESIZE_NEAREST_NEIGHBOR; so is RESIZE_BILINEAR of a single pixel. The result is exactly the same.
    """
    for operator in graph.operators:
        if operator.kind in _REPEATING:
            graph = _upsampled(graph, operator, accepts)
        elif operator.kind == "RESIZE_BILINEAR" and operator.index not in graph.problems:
            graph = _spread(graph, operator, accepts)
    return graph


def _spread(graph: Graph, resize: Operator, accepts: Accepts) -> Graph:
    """Repeat a single pixel: whatever the weights are, they sum up to 1."""
    source, target = graph.input_of(resize, 0), graph.tensors[resize.outputs[0]]
    if not is_map(source) or source.shape[1:3] != (1, 1) or not same_quantisation(source, target):
        return graph
    made = replace(resize, kind="RESIZE_NEAREST_NEIGHBOR", attributes=Resize())
    candidate = rewrite(graph, {resize.index: (made,)})
    return candidate if accepts(candidate, made) else graph


def _upsampled(graph: Graph, repeat: Operator, accepts: Accepts) -> Graph:
    number = repeat.inputs[0] or 0
    first, last = graph.producers.get(number), only_reader(graph, repeat.outputs[0])
    if first is None or last is None or first.kind not in _VIEWS or last.kind != "RESHAPE":
        return graph
    source, target = graph.input_of(first, 0), graph.tensors[last.outputs[0]]
    spread, repeated = graph.tensors[number], graph.tensors[repeat.outputs[0]]
    if only_reader(graph, number) is None or not is_map(source) or not is_map(target):
        return graph
    if not all(same_quantisation(source, tensor) for tensor in (spread, repeated, target)):
        return graph
    if not _repeats(source.shape, spread.shape, repeated.shape, target.shape):
        return graph
    making = Making(graph)
    size = making.integers(target.shape[1:3], "size")
    making.operator("RESIZE_NEAREST_NEIGHBOR", (source.index, size), last.outputs, Resize(), repeat.index)
    return making.instead([first, repeat, last], accepts)


def _repeats(
    source: tuple[int, ...], spread: tuple[int, ...], repeated: tuple[int, ...], target: tuple[int, ...]
) -> bool:
    """Say whether pixels come out repeated in place, by following their numbers through the three operators."""
    pixels = np.arange(source[1] * source[2]).reshape(1, source[1], source[2], 1)
    if len(spread) != len(repeated) or spread[-1] != source[3] or repeated[-1] != source[3]:
        return False
    if target[3] != source[3] or target[1] % source[1] or target[2] % source[2]:
        return False
    grown = np.broadcast_to(pixels.reshape((*spread[:-1], 1)), (*repeated[:-1], 1)) if _fits(spread, repeated) else None
    if grown is None or grown.size != target[1] * target[2]:
        return False
    wanted = pixels.repeat(target[1] // source[1], 1).repeat(target[2] // source[2], 2)
    return bool(np.array_equal(grown.reshape(wanted.shape), wanted))


def _fits(spread: tuple[int, ...], repeated: tuple[int, ...]) -> bool:
    """Say whether only dimensions of 1 grow, so that TILE repeats as a broadcast does."""
    return all(old in (1, new) for old, new in zip(spread, repeated, strict=True))
