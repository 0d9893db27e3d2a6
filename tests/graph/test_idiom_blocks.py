"""What surrounds maps: dilated convolutions in batches, repeated and mirrored pixels. One condition is broken at a
time; what is none of these stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Padding, Quantisation
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.idioms.dilation import dilate
from rocketnpu.graph.passes.idioms.mirror_pad import mirror
from rocketnpu.graph.passes.idioms.upsampling import upsample
from rocketnpu.graph.verify import verify
from sheets import PLAIN, Sheet, any_values, computed, kinds, with_operator, with_tensor

pytestmark = pytest.mark.litert
OTHER = Quantisation.per_tensor(0.25, 3)
CONV = ops.Conv2D((1, 1), Padding.VALID)


def dilated(
    attributes: ops.Conv2D = CONV,
    *,
    edges: object = ((0, 0), (0, 1)),
    crops: object = ((0, 0), (0, 1)),
    blocks: tuple[int, int] = (2, 3),
    made: tuple[int, int] = (6, 5),
    kernel: int = 3,
) -> Graph:
    """A 10x11x2 map in batches, a convolution of them, and back to a map.

    Tensors: 0 source, 1 blocks, 2 edges, 3 cells, 4 weights, 5 bias, 6 middle, 7 blocks, 8 crops, 9 target.
    """
    sheet, before, behind = Sheet(), np.asarray(edges), np.asarray(crops)
    count = blocks[0] * blocks[1]
    inner = [(n + int(sum(edge))) // b for n, edge, b in zip((10, 11), before, blocks, strict=True)]
    size = inner if attributes.padding is Padding.SAME else [n - kernel + 1 for n in inner]
    source = sheet.map(1, 10, 11, 2)
    numbers = [sheet.whole(blocks), sheet.whole(before)]
    cells = sheet.op("SPACE_TO_BATCH_ND", [source, *numbers], sheet.map(count, *inner, 2))
    weights, bias = sheet.weights(4, kernel, kernel, 2)
    middle = sheet.map(count, *size, 4, scale=9.0)
    sheet.op("CONV_2D", [cells, weights, bias], middle, attributes)
    numbers = [sheet.whole(blocks), sheet.whole(behind)]
    sheet.op("BATCH_TO_SPACE_ND", [middle, *numbers], sheet.map(1, *made, 4, scale=9.0))
    return sheet.graph()


@pytest.mark.parametrize(
    ("graph", "pads"),
    [
        (dilated(), None),
        (dilated(edges=((2, 0), (1, 0)), crops=((0, 0), (0, 0)), made=(8, 6)), ((2, 0), (1, 0))),
        (dilated(edges=((2, 2), (3, 1)), crops=((1, 1), (2, 1)), made=(8, 6)), ((1, 1), (1, 0))),
        (dilated(ops.Conv2D((1, 1), Padding.SAME), made=(10, 11)), ((2, 2), (3, 3))),
        (dilated(ops.Conv2D((1, 1), Padding.SAME), crops=((1, 0), (0, 2)), made=(9, 10)), ((1, 2), (3, 2))),
        (dilated(kernel=2, made=(8, 8)), None),
        (dilated(ops.Conv2D((1, 1), Padding.SAME), kernel=2, made=(10, 11)), ((0, 2), (0, 3))),
        (dilated(ops.Conv2D((1, 1), Padding.VALID, activation=ops.Activation.RELU)), None),
    ],
)
def test_a_convolution_in_batches_is_dilated(graph: Graph, pads: ops.Pads | None) -> None:
    verify(graph)
    after = dilate(graph)
    verify(after)
    (made,) = after.operators
    assert isinstance(made.attributes, ops.Conv2D)
    activation = graph.operators[1].attributes.activation
    assert made.attributes == ops.Conv2D((1, 1), Padding.VALID, (2, 3), activation, pads)
    values = any_values(graph, 1)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    padded = dilate(graph, lambda _, operator: getattr(operator.attributes, "pads", None) is None)
    assert kinds(padded) == (["PAD", "CONV_2D"] if pads else ["CONV_2D"])
    np.testing.assert_array_equal(computed(padded, values), computed(graph, values))
    assert dilate(graph, lambda _, operator: operator.kind != "CONV_2D") is graph


FITS = dilated()


@pytest.mark.parametrize(
    "graph",
    [
        with_operator(FITS, 1, kind="AVERAGE_POOL_2D", attributes=ops.Pool2D((1, 1), Padding.VALID, (3, 3))),
        with_operator(FITS, 0, kind="RESHAPE"),
        with_operator(FITS, 2, kind="RESHAPE"),
        replace(FITS, outputs=(9, 6)),
        dilated(ops.Conv2D((2, 1), Padding.VALID)),
        dilated(ops.Conv2D((1, 2), Padding.VALID)),
        dilated(ops.Conv2D((1, 1), Padding.VALID, (2, 1))),
        dilated(ops.Conv2D((1, 1), Padding.VALID, pads=((0, 0), (0, 0)))),
        with_tensor(FITS, 3, quantisation=OTHER),
        with_tensor(FITS, 6, quantisation=OTHER),
        with_tensor(FITS, 9, quantisation=OTHER),
        with_tensor(FITS, 7, data=np.array([3, 2], np.int32)),
        with_tensor(FITS, 0, shape=(1, 10, 11)),
        with_tensor(FITS, 9, shape=(6, 5, 4)),
        with_tensor(FITS, 4, shape=(4, 3, 6)),
        *(with_tensor(FITS, number, data=None) for number in (1, 2, 7, 8)),
        dilated(edges=((2, 0), (1, 0)), made=(8, 5)),
        dilated(crops=((1, 0), (0, 1)), made=(5, 5)),
        dilated(crops=((0, 0), (1, 1)), made=(6, 4)),
        replace(FITS, operators=FITS.operators[1:]),
        replace(FITS, operators=FITS.operators[2:]),
    ],
)
def test_what_is_no_dilation_stays(graph: Graph) -> None:
    assert kinds(dilate(FITS)) == ["CONV_2D"]
    assert dilate(graph) is graph


def test_batches_that_others_read_are_made_for_them_alone() -> None:
    graph = replace(FITS, outputs=(9, 3))
    after = dilate(graph)
    assert kinds(after) == ["SPACE_TO_BATCH_ND", "CONV_2D"]
    assert after.operators[1].inputs[0] == 0
    verify(after)


def heard(view: str = "RESHAPE", *, scale: float = 0.5, rows: int = 1) -> Graph:
    """Sound of 40x2 in batches of 2, a convolution of maps of ``rows``, and back.

    Tensors: 0 source, 1 blocks, 2 edges, 3 cells, 4 shape, 5 seen, 6 weights, 7 bias, 8 middle, 9 shape, 10 back,
    11 blocks, 12 crops, 13 target.
    """
    sheet = Sheet()
    source = sheet.map(1, 40, 2)
    cells = sheet.op("SPACE_TO_BATCH_ND", [source, sheet.whole([2]), sheet.whole([[2, 0]])], sheet.map(2, 21, 2))
    seen = sheet.op(
        view, [cells, sheet.whole([2, rows, 21 // rows, 2])], sheet.map(2, rows, 21 // rows, 2, scale=scale)
    )
    weights, bias = sheet.weights(4, 1, 3, 2)
    middle = sheet.map(2, rows, 21 // rows - 2, 4, scale=9.0)
    sheet.op("CONV_2D", [seen, weights, bias], middle, CONV)
    length = rows * (21 // rows - 2)
    back = sheet.op("RESHAPE", [middle, sheet.whole([2, length, 4])], sheet.map(2, length, 4, scale=9.0))
    numbers = [sheet.whole([2]), sheet.whole([[1, 0]])]
    sheet.op("BATCH_TO_SPACE_ND", [back, *numbers], sheet.map(1, 2 * length - 1, 4, scale=9.0))
    return sheet.graph()


def test_sound_in_batches_is_a_row() -> None:
    graph = heard()
    verify(graph)
    after = dilate(graph)
    verify(after)
    assert kinds(after) == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert after.operators[1].attributes == ops.Conv2D((1, 1), Padding.VALID, (1, 2), pads=((0, 0), (1, 0)))
    assert after.operators[2].index == graph.operators[-1].index
    values = any_values(graph, 1)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    assert dilate(graph, lambda _, operator: operator.kind != "CONV_2D") is graph


HEARD = heard()


@pytest.mark.parametrize(
    "graph",
    [
        heard(scale=0.25),
        heard(rows=3),
        with_operator(HEARD, 1, kind="TRANSPOSE"),
        with_operator(HEARD, 2, kind="MAX_POOL_2D", attributes=ops.Pool2D((1, 1), Padding.VALID, (1, 3))),
        with_operator(HEARD, 3, kind="TRANSPOSE"),
        with_operator(HEARD, 0, kind="PAD"),
        *(replace(HEARD, outputs=(13, number)) for number in (3, 5, 8, 10)),
        with_tensor(HEARD, 10, quantisation=OTHER),
        with_tensor(HEARD, 3, quantisation=OTHER),
        with_tensor(HEARD, 13, quantisation=OTHER),
        *(with_tensor(HEARD, number, data=None) for number in (1, 2, 11, 12)),
        with_tensor(HEARD, 1, data=np.array([2, 1], np.int32)),
        with_tensor(HEARD, 0, shape=(1, 40, 1, 2)),
        with_tensor(HEARD, 13, shape=(1, 37, 1, 4)),
        with_tensor(HEARD, 5, shape=(2, 21, 2)),
        with_tensor(HEARD, 8, shape=(2, 19, 4)),
    ],
)
def test_what_is_no_dilated_sound_stays(graph: Graph) -> None:
    assert dilate(graph) is graph


def mirrored(edges: object, shape: tuple[int, ...] = (1, 4, 5, 2), *, symmetric: bool = False) -> Graph:
    sheet, around = Sheet(), np.asarray(edges)
    made = sheet.map(*(n + int(sum(edge)) for n, edge in zip(shape, around, strict=True)))
    sheet.op("MIRROR_PAD", [sheet.map(*shape), sheet.whole(around)], made, ops.MirrorPad(symmetric))
    return sheet.graph()


@settings(max_examples=40)
@given(st.tuples(*[st.integers(0, 3)] * 4), st.booleans())
def test_mirrors(around: tuple[int, ...], symmetric: bool) -> None:
    graph = mirrored([(0, 0), around[:2], around[2:], (0, 0)], symmetric=symmetric)
    after = mirror(graph)
    verify(after)
    if not any(around):
        assert after is graph
        return
    assert set(kinds(after)) == {"SLICE", "CONCATENATION"}
    assert kinds(after).count("SLICE") == sum(around)
    values = any_values(graph, sum(around))
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


@pytest.mark.parametrize(
    "graph",
    [
        mirrored([(0, 0), (1, 1), (1, 1), (1, 0)]),
        mirrored([(0, 0), (1, 1), (1, 1), (0, 1)]),
        mirrored([(1, 0), (1, 1), (1, 1), (0, 0)], (2, 4, 5, 2)),
        mirrored([(1, 1), (1, 1), (0, 0)], (4, 5, 2)),
        with_tensor(mirrored([(0, 0), (1, 1), (1, 1), (0, 0)]), 2, data=None),
        with_tensor(mirrored([(0, 0), (1, 1), (1, 1), (0, 0)]), 0, quantisation=OTHER),
        with_operator(mirrored([(0, 0), (1, 1), (1, 1), (0, 0)]), 0, kind="PAD"),
        with_operator(mirrored([(0, 0), (1, 1), (1, 1), (0, 0)]), 0, attributes=PLAIN),
        replace(mirrored([(0, 0), (1, 1), (1, 1), (0, 0)]), problems={0: "it does not fit"}),
    ],
)
def test_other_mirrors_stay(graph: Graph) -> None:
    assert mirror(graph) is graph


Shape = tuple[int, ...]


def repeated(
    source: Shape, spread: Shape, grown: Shape, target: Shape, kind: str = "TILE", view: str = "RESHAPE"
) -> Graph:
    sheet = Sheet()
    first = sheet.op(view, [sheet.map(*source), sheet.whole(spread)], sheet.map(*spread))
    times = grown if kind == "BROADCAST_TO" else [n // o for n, o in zip(grown, spread, strict=True)]
    more = sheet.op(kind, [first, sheet.whole(times)], sheet.map(*grown))
    sheet.op("RESHAPE", [more, sheet.whole(target)], sheet.map(*target))
    return sheet.graph()


@pytest.mark.parametrize("kind", ["TILE", "BROADCAST_TO"])
@pytest.mark.parametrize(
    ("shapes", "taken"),
    [
        (((1, 2, 3, 5), (1, 2, 1, 3, 5), (1, 2, 4, 3, 5), (1, 8, 3, 5)), True),
        (((1, 2, 3, 5), (1, 2, 3, 1, 5), (1, 2, 3, 4, 5), (1, 2, 12, 5)), True),
        (((1, 2, 3, 5), (1, 2, 1, 3, 1, 5), (1, 2, 2, 3, 4, 5), (1, 4, 12, 5)), True),
        (((1, 2, 3, 5), (1, 1, 2, 3, 5), (1, 4, 2, 3, 5), (1, 8, 3, 5)), False),
        (((1, 2, 3, 5), (1, 2, 1, 3, 5), (1, 2, 4, 3, 5), (1, 2, 12, 5)), False),
        (((1, 2, 3, 5), (1, 2, 3, 1, 5), (1, 2, 3, 4, 5), (1, 8, 3, 5)), False),
        (((1, 2, 3, 5), (1, 2, 3, 5, 1), (1, 2, 3, 5, 2), (1, 2, 3, 10)), False),
        (((1, 2, 3, 1), (1, 2, 3, 1), (1, 2, 3, 4), (1, 2, 12, 1)), False),
        (((1, 2, 3, 5), (1, 2, 1, 3, 5), (1, 2, 3, 3, 5), (1, 3, 6, 5)), False),
        (((1, 2, 3, 5), (1, 2, 1, 3, 5), (1, 2, 4, 3, 5), (1, 24, 1, 5)), False),
    ],
)
def test_repeated_pixels(shapes: tuple[Shape, Shape, Shape, Shape], taken: bool, kind: str) -> None:
    graph = repeated(*shapes, kind)
    verify(graph)
    after = upsample(graph)
    assert kinds(after) == (["RESIZE_NEAREST_NEIGHBOR"] if taken else ["RESHAPE", kind, "RESHAPE"])
    if taken:
        values = any_values(graph, 1)
        np.testing.assert_array_equal(computed(after, values), computed(graph, values))


def test_a_tile_that_does_more_than_a_broadcast_stays() -> None:
    graph = repeated((1, 2, 3, 5), (1, 2, 3, 5), (1, 4, 3, 5), (1, 4, 3, 5))
    assert upsample(graph) is graph


def resized(source: Shape, target: Shape, scale: float = 0.5) -> Graph:
    sheet = Sheet()
    inputs = [sheet.map(*source), sheet.whole(target[1:3])]
    sheet.op("RESIZE_BILINEAR", inputs, sheet.map(*target, scale=scale), ops.Resize(align_corners=True))
    return sheet.graph()


def test_a_single_pixel_is_repeated() -> None:
    graph = resized((1, 1, 1, 5), (1, 3, 4, 5))
    after = upsample(graph)
    assert kinds(after) == ["RESIZE_NEAREST_NEIGHBOR"]
    assert after.operators[0].attributes == ops.Resize()
    values = any_values(graph, 1)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    assert upsample(graph, lambda *_: False) is graph


@pytest.mark.parametrize(
    "graph",
    [
        resized((1, 2, 1, 5), (1, 3, 4, 5)),
        resized((1, 1, 2, 5), (1, 3, 4, 5)),
        resized((2, 1, 1, 5), (2, 3, 4, 5)),
        resized((1, 1, 1, 5), (1, 3, 4, 5), scale=0.25),
        with_tensor(resized((1, 1, 1, 5), (1, 3, 4, 5)), 0, dtype=DType.INT16),
        replace(resized((1, 1, 1, 5), (1, 3, 4, 5)), problems={0: "it does not fit"}),
    ],
)
def test_other_pixels_stay(graph: Graph) -> None:
    assert upsample(graph) is graph


REPEATED = ((1, 2, 3, 5), (1, 2, 1, 3, 5), (1, 2, 4, 3, 5), (1, 8, 3, 5))


@pytest.mark.parametrize("number", [0, 2, 4, 6])
def test_all_four_tensors_have_one_scale(number: int) -> None:
    graph = with_tensor(repeated(*REPEATED), number, quantisation=OTHER)
    assert upsample(graph) is graph


@pytest.mark.parametrize("view", ["RESHAPE", "EXPAND_DIMS"])
def test_views_that_spread(view: str) -> None:
    graph = repeated(*REPEATED, view=view)
    assert kinds(upsample(graph)) == ["RESIZE_NEAREST_NEIGHBOR"]
    for place in (0, 1, 2):
        changed = with_operator(graph, place, kind="TRANSPOSE")
        assert upsample(changed) is changed
    for number in (2, 4):
        seen = replace(graph, outputs=(6, number))
        assert upsample(seen) is seen
