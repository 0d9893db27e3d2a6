"""Where inputs of CONCATENATION lie: in its output, wherever whoever makes them may write there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.policy import Policy
from rocketnpu.program.constants import Location
from rocketnpu.rockchip.lowering.placement import place
from rocketnpu.rockchip.soc import RK3588

QUANTISATION = {"scale": 0.1, "zero_point": 3}


def joined(
    channels: Sequence[int],
    order: Sequence[int] | None = None,
    *,
    axis: int = 3,
    size: tuple[int, int] = (4, 5),
    scales: Sequence[float] = (),
) -> tuple[Graph, list[int], int]:
    """Rectifiers, made in an order of their own, and what joins them: the graph, its inputs' and output's numbers."""
    builder = ModelBuilder()
    shapes = [(1, *size, count) for count in channels]
    if axis != 3:
        shapes = [
            (1, *(count if place_ == axis else n for place_, n in ((1, size[0]), (2, size[1]))), 16)
            for count in channels
        ]
    given = [builder.tensor(shape, DType.INT8, **QUANTISATION) for shape in shapes]
    steps = list(scales) or [0.1] * len(channels)
    parts = [
        builder.tensor(shape, DType.INT8, scale=step, zero_point=3) for shape, step in zip(shapes, steps, strict=True)
    ]
    for number in order or range(len(channels)):
        builder.operator("RELU", [given[number]], [parts[number]])
    whole = list(shapes[0])
    whole[axis] = sum(channels)
    output = builder.tensor(whole, DType.INT8, **QUANTISATION)
    builder.operator("CONCATENATION", parts, [output], ops.Concatenation(axis))
    return parse(builder.build(given, [output])), parts, output


def inside(graph: Graph, parts: Sequence[int], output: int) -> list[int | None]:
    """Return the offset of each part in the output, None where it lies elsewhere."""
    features = place(graph, RK3588, Policy())
    return [features[part].at.offset if features[part].at.region == f"t{output}" else None for part in parts]


SURFACE = 4 * 5 * 16


@pytest.mark.parametrize(
    ("channels", "order", "found"),
    [
        ((16, 32, 16), (0, 1, 2), [0, SURFACE, 3 * SURFACE]),
        ((16, 32, 20), (0, 1, 2), [0, SURFACE, 3 * SURFACE]),
        ((16, 20, 16), (0, 1, 2), [0, None, None]),
        ((20, 16, 16), (0, 1, 2), [None, None, None]),
        ((16, 16, 16), (1, 0, 2), [0, None, None]),
        ((16, 16, 16), (0, 2, 1), [0, SURFACE, None]),
        ((16, 16, 16), (2, 1, 0), [0, None, None]),
        ((16, 16, 16, 16), (3, 0, 1, 2), [0, SURFACE, 2 * SURFACE, None]),
        ((128, 128, 128), (0, 2, 1), [0, 8 * SURFACE, None]),
    ],
)
def test_channels_are_joined_in_the_order_in_which_they_are_made(
    channels: tuple[int, ...], order: tuple[int, ...], found: list[int | None]
) -> None:
    """Writers fill whole groups, so what lies behind must be made later (addendum 6.7); and copies come last of all."""
    assert inside(*joined(channels, order)) == found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_rows_are_joined_in_any_order(order: tuple[int, ...]) -> None:
    assert inside(*joined((2, 1, 3), order, axis=1)) == [0, 2 * 80, 3 * 80]


@pytest.mark.parametrize(("height", "found"), [(1, [0, 32, 48]), (2, [None, None, None])])
def test_columns_are_joined_in_a_single_row(height: int, found: list[int | None]) -> None:
    assert inside(*joined((2, 1, 3), (2, 0, 1), axis=2, size=(height, 5))) == found


def test_what_is_rescaled_is_copied() -> None:
    assert inside(*joined((16, 16), scales=(0.1, 0.2))) == [0, None]
    assert inside(*joined((16, 16), scales=(0.2, 0.1))) == [None, None]


def test_inputs_of_the_graph_and_tensors_joined_twice_are_copied() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(2))
    output = builder.tensor((1, 4, 5, 64), DType.INT8, **QUANTISATION)
    builder.operator("RELU", [x], [y])
    builder.operator("CONCATENATION", [x, y, y, x], [output], ops.Concatenation(3))
    assert inside(parse(builder.build([x], [output])), [x, y], output) == [None, None]


@pytest.mark.parametrize(("early", "found"), [(False, [0, SURFACE]), (True, [0, None])])
def test_what_is_joined_twice_lies_inside_the_larger_map(early: bool, found: list[int | None]) -> None:
    """A join counts as made when the first of its inputs is."""
    builder = ModelBuilder()
    given = [builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(3)]
    parts = [builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(3)]
    for number in (1, 0, 2) if early else (0, 1, 2):
        builder.operator("RELU", [given[number]], [parts[number]])
    small = builder.tensor((1, 4, 5, 32), DType.INT8, **QUANTISATION)
    output = builder.tensor((1, 4, 5, 48), DType.INT8, **QUANTISATION)
    builder.operator("CONCATENATION", parts[1:], [small], ops.Concatenation(3))
    builder.operator("CONCATENATION", [parts[0], small], [output], ops.Concatenation(3))
    graph = parse(builder.build(given, [output]))
    assert inside(graph, [parts[0], small], output) == found
    features = place(graph, RK3588, Policy())
    assert [features[part].at for part in parts[1:]] == [features[small].at, features[small].at + SURFACE]


def test_a_map_joined_alone_and_within_another_join() -> None:
    """The other join begins no later than the map is made, as far as is looked."""
    builder = ModelBuilder()
    given = [builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(2)]
    parts = [builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(2)]
    for source, part in zip(given, parts, strict=True):
        builder.operator("RELU", [source], [part])
    small = builder.tensor((1, 4, 5, 32), DType.INT8, **QUANTISATION)
    output = builder.tensor((1, 4, 5, 48), DType.INT8, **QUANTISATION)
    builder.operator("CONCATENATION", parts, [small], ops.Concatenation(3))
    builder.operator("CONCATENATION", [parts[0], small], [output], ops.Concatenation(3))
    assert inside(parse(builder.build(given, [output])), [parts[0], small], output) == [0, None]


def test_slices_and_views_lie_where_they_were() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4, 5, 32), DType.INT8, **QUANTISATION) for _ in range(2))
    halves = [builder.tensor((1, 4, 5, 16), DType.INT8, **QUANTISATION) for _ in range(2)]
    axis = builder.tensor((1,), DType.INT32, data=np.array([3], np.int32))
    seen = builder.tensor((1, 2, 10, 16), DType.INT8, **QUANTISATION)
    shape = builder.tensor((4,), DType.INT32, data=np.array([1, 2, 10, 16], np.int32))
    output = builder.tensor((1, 4, 5, 32), DType.INT8, **QUANTISATION)
    builder.operator("RELU", [x], [y])
    builder.operator("SPLIT", [axis, y], halves)
    builder.operator("RESHAPE", [halves[1], shape], [seen])
    builder.operator("CONCATENATION", halves[::-1], [output], ops.Concatenation(3))
    features = place(parse(builder.build([x], [output, seen])), RK3588, Policy())
    assert [features[half].at for half in halves] == [Location(f"t{y}"), Location(f"t{y}", SURFACE)]
    assert (features[seen].at, features[seen].height, features[seen].width) == (features[halves[1]].at, 2, 10)
