"""SPLIT, SLICE and STRIDED_SLICE as ranges of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.graph.operators import StridedSlice
from rocketnpu.rockchip.tasks.feature import FeatureMap

SLICES = ("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE")
Range = tuple[int, int]
"""First index and count."""


@dataclass(frozen=True)
class MapRange:
    """A part of a feature map that one output of an operator is."""

    rows: Range
    columns: Range
    channels: Range

    def of(self, source: FeatureMap) -> FeatureMap | None:
        """Return the part as a map in the source's memory, or None where it is none: groups of channels are cut, or
        pixels inside rows left out.
        """
        pixels = self.pixels(source)
        return None if pixels is None or self.channels[0] % source.slot else pixels.channel_slice(*self.channels)

    def pixels(self, source: FeatureMap) -> FeatureMap | None:
        """Return the part with all channels as a map in the source's memory, or None where pixels are left out."""
        if self.columns == (0, source.width):
            return source.row_slice(*self.rows)
        if source.height > 1:
            return None
        return source.reshaped(source.width, 1).row_slice(*self.columns).reshaped(1, self.columns[1])


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
