"""What moves values and becomes a selecting convolution, what does not, and that LiteRT computes the same of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Quantisation
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.idioms.moves import select_values
from rocketnpu.graph.verify import verify
from sheets import Sheet, any_values, computed, kinds, with_operator, with_tensor

pytestmark = pytest.mark.litert

OTHER = Quantisation.per_tensor(0.25, 3)


def sliced(limits: list[list[int]], attributes: ops.StridedSlice, made: tuple[int, ...]) -> Graph:
    sheet = Sheet()
    inputs = [sheet.map(1, 5, 6, 7), *(sheet.whole(numbers) for numbers in limits)]
    sheet.op("STRIDED_SLICE", inputs, sheet.map(*made), attributes)
    return sheet.graph()


def ranges(size: int) -> st.SearchStrategy[tuple[int, int, int]]:
    """Begin, end and step of something: the whole, a part of it, with steps, backwards."""
    forwards = st.tuples(st.integers(0, size - 1), st.integers(1, size + 1), st.sampled_from([1, 2, 3]))
    backwards = st.tuples(st.integers(1, size - 1), st.sampled_from([-size - 1, 0]), st.sampled_from([-1, -2]))
    return st.just((0, size, 1)) | st.just((-size, size, 2)) | forwards | backwards


@settings(max_examples=250)
@given(st.tuples(ranges(5), ranges(6), ranges(7)), st.integers(0, 2**32 - 1))
@example(((0, 5, 1), (0, 6, 1), (1, 7, 3)), 1)
@example(((0, 5, 1), (0, 6, 1), (6, -8, -2)), 2)
@example(((0, 4, 1), (0, 6, 1), (0, 7, 2)), 3)
@example(((0, 5, 1), (1, 6, 1), (0, 7, 2)), 4)
@example(((0, 5, 2), (0, 6, 1), (0, 7, 2)), 5)
@example(((3, 5, 1), (1, 5, 3), (0, 7, 1)), 6)
@example(((0, 5, 1), (0, 6, 2), (0, 6, 1)), 7)
@example(((4, -6, -1), (0, 6, 2), (0, 7, 1)), 8)
def test_slices_with_steps(limits: tuple[tuple[int, int, int], ...], seed: int) -> None:
    """Steps along rows and columns are strides, those along channels alone are picked; all others stay."""
    numbers = [list(column) for column in zip((0, 1, 1), *limits, strict=True)]
    places = [range(*slice(*limit).indices(size)) for limit, size in zip(limits, (5, 6, 7), strict=True)]
    if not all(places):
        return
    graph = sliced(numbers, ops.StridedSlice(), (1, *map(len, places)))
    verify(graph)
    (kind,) = kinds(select_values(graph))
    steps = [place.step for place in places]
    if places[2] == range(7):
        assert (kind == "DEPTHWISE_CONV_2D") == (min(steps) > 0 and max(steps) > 1)
    else:
        assert (kind == "CONV_2D") == (places[:2] == [range(5), range(6)] and steps[2] != 1)
    values = any_values(graph, seed)
    np.testing.assert_array_equal(computed(select_values(graph), values), computed(graph, values))


@pytest.mark.parametrize(
    ("limits", "attributes", "made"),
    [
        ([[0, 0, 0, 0, 0], [0, 1, 5, 6, 7], [1, 1, 2, 2, 1]], ops.StridedSlice(new_axis_mask=1, shrink_axis_mask=2), 3),
        ([[0, 0, 0, 0], [1, 5, 6, 7], [-1, 2, 2, 1]], ops.StridedSlice(begin_mask=1, end_mask=1), 3),
    ],
    ids=["a new dimension for one that goes", "the batch backwards"],
)
def test_other_slices_stay(limits: list[list[int]], attributes: ops.StridedSlice, made: int) -> None:
    graph = sliced(limits, attributes, (1, made, 3, 7))
    verify(graph)
    assert select_values(graph) is graph


@pytest.mark.parametrize("place", [1, 2, 3])
def test_slices_whose_numbers_are_computed_stay(place: int) -> None:
    graph = sliced([[0, 0, 0, 0], [1, 5, 6, 7], [1, 2, 2, 1]], ops.StridedSlice(), (1, 3, 3, 7))
    assert kinds(select_values(graph)) == ["DEPTHWISE_CONV_2D"]
    computed_one = with_tensor(graph, graph.operators[0].inputs[place], data=None)
    assert select_values(computed_one) is computed_one


def blocks(kind: str, channels: int) -> Graph:
    """Blocks of two by two: ``channels`` of small pixels."""
    sheet = Sheet()
    small, large = (1, 1, 1, 4 * channels), (1, 2, 2, channels)
    source, target = (large, small) if kind == "SPACE_TO_DEPTH" else (small, large)
    sheet.op(kind, [sheet.map(*source)], sheet.map(*target), ops.Block(2))
    return sheet.graph()


def gathered(channels: int, indices: object, attributes: ops.Gather = ops.Gather(3)) -> Graph:  # noqa: B008
    sheet = Sheet()
    made = (1, 2, 2, np.size(indices))
    sheet.op("GATHER", [sheet.map(1, 2, 2, channels), sheet.whole(indices)], sheet.map(*made), attributes)
    return sheet.graph()


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (blocks("SPACE_TO_DEPTH", 362), blocks("SPACE_TO_DEPTH", 363)),
        (blocks("DEPTH_TO_SPACE", 362), blocks("DEPTH_TO_SPACE", 363)),
        (gathered(2048, range(1024)), gathered(2048, range(1025))),
    ],
    ids=["space to depth", "depth to space", "gather"],
)
def test_a_selection_has_at_most_two_mebibytes_of_weights(taken: Graph, left: Graph) -> None:
    after = select_values(taken)
    weights = after.input_of(after.operators[0], 1)
    assert weights.elements <= 1 << 21
    assert select_values(left) is left


@pytest.mark.parametrize(
    ("graph", "taken"),
    [
        (gathered(5, [4, 0, 0]), True),
        (gathered(5, [4, 0, 0], ops.Gather(-1)), True),
        (gathered(5, [4, 5]), False),
        (gathered(5, [4, -1]), False),
        (gathered(2, [0, 1], ops.Gather(2)), False),
        (gathered(2, [0], ops.Gather(3, 1)), False),
    ],
)
def test_channels_that_are_gathered(graph: Graph, taken: bool) -> None:
    after = select_values(graph)
    assert kinds(after) == (["CONV_2D"] if taken else ["GATHER"])
    if taken:
        values = any_values(graph, 1)
        np.testing.assert_array_equal(computed(after, values), computed(graph, values))


def test_channels_that_are_gathered_by_a_table_or_by_computed_numbers_stay() -> None:
    graph = gathered(5, [4, 0])
    number = graph.operators[0].inputs[1]
    for changes in ({"data": None}, {"data": np.array([[4, 0]], np.int32), "shape": (1, 2)}):
        changed = with_tensor(graph, number, **changes)
        assert select_values(changed) is changed


def transposed(shape: tuple[int, ...], order: list[int]) -> Graph:
    sheet = Sheet()
    made = tuple(shape[axis] for axis in order)
    sheet.op("TRANSPOSE", [sheet.map(*shape), sheet.whole(order)], sheet.map(*made))
    return sheet.graph()


@given(st.integers(2, 4).flatmap(lambda n: st.tuples(st.permutations(range(n)), st.just(n))), st.data())
def test_a_transposition_of_dimensions_of_one_is_a_view(
    given_order: tuple[list[int], int], data: st.DataObject
) -> None:
    order, rank = given_order
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=rank, max_size=rank)))
    negative = data.draw(st.booleans())
    graph = transposed(shape, [axis - rank for axis in order] if negative else order)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    is_view = np.array_equal(numbers.transpose(order).reshape(-1), numbers.reshape(-1))
    after = select_values(graph)
    assert kinds(after) == (["RESHAPE"] if is_view else ["TRANSPOSE"])
    assert after.tensors[after.outputs[0]].shape == graph.tensors[graph.outputs[0]].shape
    verify(after)


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (0, {"is_dynamic": True}),
        (0, {"data": np.zeros((1, 3, 1, 2), np.int8)}),
        (1, {"data": None}),
        (2, {"quantisation": OTHER}),
        (2, {"dtype": DType.UINT8}),
    ],
)
def test_other_transpositions_stay(number: int, changes: dict[str, object]) -> None:
    graph = transposed((1, 3, 1, 2), [0, 2, 1, 3])
    assert kinds(select_values(graph)) == ["RESHAPE"]
    changed = with_tensor(graph, number, **changes)
    assert select_values(changed) is changed


def shuffled(
    groups: tuple[int, ...] = (1, 2, 2, 3, 4), order: tuple[int, ...] = (0, 1, 2, 4, 3), views: int = 1
) -> Graph:
    """Channels in groups, turned; ``views`` RESHAPEs come first."""
    sheet = Sheet()
    current = sheet.map(1, 2, 2, 12)
    for _ in range(views - 1):
        current = sheet.op("RESHAPE", [current, sheet.whole([1, 48])], sheet.map(1, 48))
    cut = sheet.op("RESHAPE", [current, sheet.whole(groups)], sheet.map(*groups))
    turned = sheet.op("TRANSPOSE", [cut, sheet.whole(order)], sheet.map(*(groups[axis] for axis in order)))
    sheet.op("RESHAPE", [turned, sheet.whole((1, 2, 2, 12))], sheet.map(1, 2, 2, 12))
    return sheet.graph()


@pytest.mark.parametrize("views", [1, 2, 3])
def test_a_shuffle_of_channels(views: int) -> None:
    graph = shuffled(views=views)
    after = select_values(graph)
    assert kinds(after) == ["CONV_2D"]
    values = any_values(graph, views)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


@pytest.mark.parametrize(
    "graph",
    [
        shuffled((1, 2, 2, 3, 4), (0, 2, 1, 4, 3)),
        shuffled((1, 2, 2, 3, 4), (0, 1, 2, 3, 4)),
        shuffled((1, 4, 1, 3, 4)),
        shuffled((1, 2, 2, 2, 6), (0, 1, 3, 2, 4)),
        shuffled((1, 2, 2, 12), (0, 2, 1, 3)),
        with_operator(shuffled(), 2, kind="SQUEEZE", attributes=ops.Squeeze()),
        with_operator(shuffled(), 0, kind="EXPAND_DIMS"),
        with_tensor(shuffled(), 2, quantisation=OTHER),
        with_tensor(shuffled(), 6, quantisation=OTHER),
        with_tensor(shuffled(), 0, dtype=DType.UINT8),
        replace(shuffled(), outputs=(6, 2)),
        replace(shuffled(), outputs=(6, 4)),
    ],
)
def test_what_is_no_shuffle_of_channels(graph: Graph) -> None:
    assert "CONV_2D" not in kinds(select_values(graph))


def test_what_contradicts_itself_stays() -> None:
    graph = replace(gathered(5, [4, 0]), problems={0: "it does not fit"})
    assert select_values(graph) is graph


@pytest.mark.parametrize(("number", "changes"), [(0, {"shape": (2, 2, 2, 5)}), (2, {"quantisation": OTHER})])
def test_what_is_no_map_of_one_scale_stays(number: int, changes: dict[str, object]) -> None:
    for graph in (gathered(5, [4, 0]), blocks("SPACE_TO_DEPTH", 3), blocks("DEPTH_TO_SPACE", 3)):
        changed = with_tensor(graph, min(number, max(graph.tensors)), **changes)
        assert select_values(changed) is changed
