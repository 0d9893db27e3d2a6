"""Tensors as maps: their shapes, the padding of windows, and slices, against what NumPy and LiteRT make of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Operator, Padding, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.maps import (
    MapRange,
    joined_axis,
    map_ranges,
    map_shape,
    same_padding,
    sliced_tensor,
    window_padding,
)
from sheets import Sheet, with_tensor


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((1, 3, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((4, 5), (1, 4, 5)),
        ((5,), (1, 1, 5)),
        ((), None),
        ((2, 3, 4, 5), None),
        ((0, 3, 4, 5), None),
        ((1, 3, 0, 5), None),
        ((1, 1, 3, 4, 5), None),
    ],
)
def test_shapes_of_maps(shape: tuple[int, ...], found: tuple[int, int, int] | None) -> None:
    assert map_shape(Tensor(0, "t", shape, DType.INT8)) == found


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_is_shared_out_with_the_larger_half_behind(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    outputs, before = same_padding(size, kernel, stride, dilation)
    assert outputs == len(range(0, size, stride))
    reached = (outputs - 1) * stride + (kernel - 1) * dilation + 1
    behind = max(reached - size, 0) - before
    assert before <= behind <= before + 1


def test_padding_of_windows() -> None:
    same = ops.Conv2D((2, 3), Padding.SAME, (1, 2))
    assert window_padding(same, (9, 7), (3, 5)) == (1, 4)
    assert window_padding(ops.Conv2D((2, 3), Padding.VALID), (9, 7), (3, 5)) == (0, 0)
    assert window_padding(ops.Conv2D((2, 3), Padding.VALID, pads=((4, 1), (2, 3))), (9, 7), (3, 5)) == (4, 2)


@pytest.mark.parametrize(("axis", "found"), [(0, -4), (2, -2), (3, -1), (-1, -1), (-3, -3)])
def test_axes_are_counted_from_the_last(axis: int, found: int) -> None:
    tensors = {n: Tensor(n, "t", (1, 2, 3, 4), DType.INT8) for n in range(3)}
    operator = Operator(0, "CONCATENATION", (0, 1), (2,), ops.Concatenation(axis))
    assert joined_axis(Graph("g", tensors, (operator,), (0, 1), (2,)), operator) == found


def cut(kind: str, source: tuple[int, ...], numbers: list[object], made: list[tuple[int, ...]], **masks: int) -> Graph:
    """Build a slice; ``numbers`` are its constant inputs in the operator's order, the map's place left out."""
    sheet = Sheet()
    number = sheet.map(*source)
    inputs = [sheet.whole(values) for values in numbers]
    inputs.insert(1 if kind == "SPLIT" else 0, number)
    outputs = [sheet.map(*shape) for shape in made]
    sheet.op(kind, inputs, outputs[0], ops.StridedSlice(**masks) if kind == "STRIDED_SLICE" else ops.NoAttributes())
    graph = sheet.graph()
    operator = graph.operators[0]
    return Graph("g", graph.tensors, (Operator(0, kind, operator.inputs, tuple(outputs), operator.attributes),), (), ())


def taken(shape: tuple[int, ...], found: list[MapRange] | None) -> list[list[int]]:
    """What ranges take of a map whose values are their own numbers."""
    assert found is not None
    values = np.arange(np.prod(shape)).reshape((1,) * (4 - len(shape)) + shape)[0]
    return [
        values[tuple(slice(first, first + count) for first, count in (one.rows, one.columns, one.channels))]
        .reshape(-1)
        .tolist()
        for one in found
    ]


SHAPES = st.lists(st.integers(2, 5), min_size=1, max_size=3).map(tuple)


@given(SHAPES, st.data())
def test_slices_of_one_size(shape: tuple[int, ...], data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([shape, (1,) * (4 - len(shape)) + shape]))
    begin = [data.draw(st.integers(0, size - 1)) for size in shape]
    size = [data.draw(st.sampled_from([-1, *range(1, n - b + 1)])) for n, b in zip(shape, begin, strict=True)]
    values = np.arange(np.prod(shape)).reshape(shape)
    wanted = values[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))]
    graph = cut("SLICE", shape, [begin, size], [wanted.shape])
    assert taken(shape, map_ranges(graph, graph.operators[0])) == [wanted.reshape(-1).tolist()]


@settings(max_examples=150)
@given(SHAPES, st.integers(0, 15), st.integers(0, 15), st.data())
def test_slices_with_masks(shape: tuple[int, ...], begin_mask: int, end_mask: int, data: st.DataObject) -> None:
    begin = [data.draw(st.integers(-size, size - 1)) for size in shape]
    end = [data.draw(st.integers(-size, size + 1)) for size in shape]
    values = np.arange(np.prod(shape)).reshape(shape)
    chosen = tuple(
        slice(None if begin_mask >> axis & 1 else b, None if end_mask >> axis & 1 else e)
        for axis, (b, e) in enumerate(zip(begin, end, strict=True))
    )
    wanted = values[chosen]
    masks = {"begin_mask": begin_mask, "end_mask": end_mask}
    graph = cut("STRIDED_SLICE", shape, [begin, end, [1] * len(shape)], [wanted.shape], **masks)
    assert taken(shape, map_ranges(graph, graph.operators[0])) == [wanted.reshape(-1).tolist()]


@given(SHAPES, st.data())
def test_splits(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    ends = sorted(data.draw(st.sets(st.integers(1, shape[axis]), max_size=2)) | {shape[axis]})
    sizes = np.diff([0, *ends]).tolist()
    values = np.arange(np.prod(shape)).reshape(shape)
    wanted = np.split(values, ends[:-1], axis)
    made = [part.shape for part in wanted]
    found = [part.reshape(-1).tolist() for part in wanted]
    graph = cut("SPLIT_V", shape, [sizes, [axis]], made)
    assert taken(shape, map_ranges(graph, graph.operators[0])) == found
    if len(set(sizes)) == 1:
        graph = cut("SPLIT", shape, [[axis]], made)
        assert graph.input_of(graph.operators[0], sliced_tensor(graph.operators[0])).shape == shape
        assert taken(shape, map_ranges(graph, graph.operators[0])) == found


STEP = [[0, 0, 0, 0], [1, 2, 2, 4], [1, 1, 1, 1]]
MADE = [(1, 2, 2, 4)]


def limited(steps: list[list[int]] = STEP, **masks: int) -> Graph:
    return cut("STRIDED_SLICE", (1, 3, 3, 4), list(steps), MADE, **masks)


@pytest.mark.parametrize(
    "graph",
    [
        limited([*STEP[:2], [1, 2, 1, 1]]),
        limited([*STEP[:2], [1, 1, 1, -1]]),
        limited(ellipsis_mask=1),
        limited(new_axis_mask=1),
        limited(shrink_axis_mask=1),
        limited(offset=True),
        limited([numbers[:3] for numbers in STEP]),
        with_tensor(limited(), 1, data=None),
        with_tensor(limited(), 2, data=None),
        with_tensor(limited(), 3, data=None),
        cut("SLICE", (1, 3, 3, 4), [[0, 0, 0], [1, 2, 2]], MADE),
        with_tensor(cut("SPLIT", (2, 4), [[1]], [(2, 2), (2, 2)]), 1, data=None),
        with_tensor(cut("SPLIT_V", (2, 4), [[2, 2], [1]], [(2, 2), (2, 2)]), 2, data=None),
        cut("SPLIT", (2, 3, 3, 4), [[0]], [(1, 3, 3, 4)] * 2),
        cut("SPLIT", (2, 3, 3, 4), [[3]], [(2, 3, 3, 2)] * 2),
        cut("SPLIT", (1, 1, 3, 3, 4), [[4]], [(1, 1, 3, 3, 2)] * 2),
    ],
)
def test_what_is_no_range_of_a_map(graph: Graph) -> None:
    assert map_ranges(limited(), limited().operators[0]) == [MapRange((0, 2), (0, 2), (0, 4))]
    assert map_ranges(graph, graph.operators[0]) is None
