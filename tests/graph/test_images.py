"""One image of a batch: what works on each alone, and what mixes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.images import per_image
from rocketnpu.graph.verify import verify
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from sheets import PLAIN, Sheet

UP = ops.TransposeConv((2, 2), Padding.SAME)
MASKED = ops.StridedSlice(begin_mask=1, end_mask=1)


def batch(kind: str, constant: tuple[int, ...] | None = None) -> Graph:
    builder = ModelBuilder()
    x, y = (builder.tensor((2, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(2))
    if constant is None:
        builder.operator(kind, [x], [y])
    else:
        data = builder.tensor(constant, DType.INT8, scale=0.1, data=np.ones(constant, np.int8))
        builder.operator(kind, [x, data], [y], ops.Arithmetic())
    return parse(builder.build([x], [y]))


@pytest.mark.parametrize("graph", [batch("RELU"), batch("ADD", (1, 1, 1, 16)), batch("ADD", (16,))])
def test_what_gives_each_image_what_it_would_get_alone(graph: Graph) -> None:
    single, count = per_image(graph)
    assert (count, dict(single.problems)) == (2, {})
    assert single.tensors[graph.outputs[0]].shape == (1, 4, 4, 16)


def test_a_constant_for_each_image_mixes_them() -> None:
    graph = batch("ADD", (2, 4, 4, 16))
    single, count = per_image(graph)
    assert count == 2
    assert list(single.problems) == [0]
    assert single.tensors[graph.outputs[0]].is_dynamic


FEWER = [((2, 2, 2, 16), (2, 16)), ((2, 2, 1, 16), (2, 1, 16)), ((2, 4, 4, 16), (16,))]
"""Batches, and operands of fewer dimensions: a row for each column, a pixel for each row, one pixel for all."""


@pytest.mark.parametrize("kind", ["ADD", "MUL", "MAXIMUM"])
@pytest.mark.parametrize(("maps", "other"), FEWER)
def test_an_operand_of_fewer_dimensions_is_no_batch(kind: str, maps: tuple[int, ...], other: tuple[int, ...]) -> None:
    builder = ModelBuilder()
    x, z, y = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in (maps, other, maps))
    builder.operator(kind, [x, z], [y], ops.NoAttributes() if kind == "MAXIMUM" else ops.Arithmetic())
    single, count = per_image(parse(builder.build([x, z], [y])))
    assert (count, list(single.problems)) == (2, [0])


def of(kind: str, shapes: list[tuple[int, ...]], constants: list[object], attributes: ops.Attributes = PLAIN) -> Graph:
    """An operator of a map and constants; the last shape is what it makes, those before it are given."""
    sheet = Sheet()
    inputs = [sheet.map(*shape) for shape in shapes[:-1]] + [sheet.whole(values) for values in constants]
    if kind == "TRANSPOSE_CONV":
        inputs = [inputs[1], sheet.weights(*shapes[-1][3:], 2, 2, *shapes[0][3:])[0], inputs[0]]
    sheet.op(kind, inputs, sheet.map(*shapes[-1]), attributes)
    return sheet.graph()


BEGIN, END = [0, 1, 0, 0], [3, 5, 6, 2]


@pytest.mark.parametrize(
    ("graph", "made"),
    [
        (of("RESHAPE", [(3, 2, 4, 5), (3, 40)], [(3, 40)]), (1, 40)),
        (of("RESHAPE", [(3, 2, 4, 5), (3, 40)], [(-1, 40)]), (1, 40)),
        (of("RESHAPE", [(3, 2, 4, 5), (3, 40)], []), (1, 40)),
        (of("SLICE", [(3, 2, 4, 5), (3, 1, 4, 5)], [[0] * 4, (3, 1, 4, 5)]), (1, 1, 4, 5)),
        (of("SLICE", [(3, 2, 4, 5), (3, 1, 4, 5)], [[0] * 4, (-1, 1, 4, 5)]), (1, 1, 4, 5)),
        (of("BROADCAST_TO", [(3, 2, 1, 5), (3, 2, 4, 5)], [(3, 2, 4, 5)]), (1, 2, 4, 5)),
        (of("TRANSPOSE_CONV", [(3, 2, 4, 5), (3, 4, 8, 6)], [(3, 4, 8, 6)], UP), (1, 4, 8, 6)),
        (of("STRIDED_SLICE", [(3, 5, 6, 2), (3, 2, 3, 2)], [BEGIN, END, [1, 2, 2, 1]], MASKED), (1, 2, 3, 2)),
        (of("STRIDED_SLICE", [(3, 5, 6, 2), (3, 5, 6, 2)], [[]] * 3, MASKED), (1, 5, 6, 2)),
        (of("RESHAPE", [(3, 3, 4, 5), (3, 60)], [(3, 60)]), (1, 60)),
    ],
)
def test_constant_shapes_speak_of_one_image(graph: Graph, made: tuple[int, ...]) -> None:
    single, count = per_image(graph)
    assert (count, dict(single.problems)) == (3, {})
    assert single.tensors[single.outputs[0]].shape == made
    verify(single)


@pytest.mark.parametrize(
    "graph",
    [
        of("STRIDED_SLICE", [(3, 5, 6, 2), (3, 5, 6, 2)], [[0] * 4, END, [-1, 1, 1, 1]], MASKED),
        of("STRIDED_SLICE", [(3, 5, 6, 2), (2, 5, 6, 2)], [[1, 0, 0, 0], END, [1] * 4], ops.StridedSlice(0, 15)),
        of("RESHAPE", [(3, 2, 4, 5), (6, 20)], [(6, 20)]),
        of("RESHAPE", [(3, 2, 4, 5), (1, 120)], [(1, 120)]),
        of("TRANSPOSE", [(3, 2, 4, 5), (2, 3, 4, 5)], [(1, 0, 2, 3)]),
        of("MEAN", [(3, 2, 4, 5), (2, 4, 5)], [[0]], ops.Reduce()),
        of("CONCATENATION", [(3, 2, 4, 5), (3, 2, 4, 5), (6, 2, 4, 5)], [], ops.Concatenation(0)),
    ],
)
def test_what_mixes_images_is_a_problem(graph: Graph) -> None:
    single, count = per_image(graph)
    assert count == 3
    assert list(single.problems) == [0]
    assert single.tensors[single.outputs[0]].is_dynamic


@pytest.mark.parametrize(
    ("graph", "count"),
    [
        (of("RELU", [(2, 4, 4, 3), (2, 4, 4, 3)], []), 2),
        (of("RELU", [(1, 4, 4, 3), (1, 4, 4, 3)], []), 1),
        (of("RELU", [(2, 4, 3), (2, 4, 3)], []), 1),
        (of("RELU", [(2, 4), (2, 4)], []), 1),
        (of("ADD", [(2, 4, 4, 3), (3,), (2, 4, 4, 3)], [], ops.Arithmetic()), 2),
        (of("ADD", [(2, 4, 4, 3), (1, 4, 4, 3), (2, 4, 4, 3)], [], ops.Arithmetic()), 1),
        (of("RELU", [(3,), (3,)], []), 1),
    ],
)
def test_what_a_batch_is(graph: Graph, count: int) -> None:
    single, found = per_image(graph)
    assert found == count
    assert (single is graph) == (count == 1)


def test_a_chain_that_says_the_shape_is_no_mixing_of_images() -> None:
    """SHAPE, STRIDED_SLICE and PACK of a batch of two: their results follow the number of images."""
    sheet = Sheet()
    source = sheet.map(2, 4, 4, 3)
    shape = sheet.op("SHAPE", [source], sheet.map(4, dtype=DType.INT32))
    numbers = [sheet.whole([n]) for n in (0, 1, 1)]
    size = sheet.op(
        "STRIDED_SLICE", [shape, *numbers], sheet.map(dtype=DType.INT32), ops.StridedSlice(shrink_axis_mask=1)
    )
    wanted = sheet.op("PACK", [size, sheet.whole(48)], sheet.map(2, dtype=DType.INT32), ops.Pack(0))
    sheet.op("RESHAPE", [source, wanted], sheet.map(2, 48))
    graph = sheet.graph()
    plain = {n: replace(t, quantisation=None) if t.dtype is DType.INT32 else t for n, t in graph.tensors.items()}
    single, count = per_image(replace(graph, tensors=plain))
    assert (count, dict(single.problems)) == (2, {})
    assert single.tensors[single.outputs[0]].shape == (1, 48)


def test_each_of_several_shapes_speaks_of_one_image() -> None:
    sheet = Sheet()
    first = sheet.op("RESHAPE", [sheet.map(2, 2, 3, 4), sheet.whole([2, 24])], sheet.map(2, 24))
    other = sheet.op("RELU", [first], sheet.map(2, 24))
    sheet.op("RESHAPE", [other, sheet.whole([2, 6, 4])], sheet.map(2, 6, 4))
    single, count = per_image(sheet.graph())
    assert (count, dict(single.problems)) == (2, {})
    assert [single.tensors[o.outputs[0]].shape for o in single.operators] == [(1, 24), (1, 24), (1, 6, 4)]


@pytest.mark.parametrize(("constant", "mixes"), [((2, 1, 1, 3), True), ((1, 4, 2, 3), False), ((2, 3), False)])
@pytest.mark.parametrize("kind", ["ADD", "PRELU"])
def test_constants_of_each_image(kind: str, constant: tuple[int, ...], mixes: bool) -> None:
    sheet = Sheet()
    shape = (2, 4, 2, 3)
    inputs = [sheet.map(*shape), sheet.constant(np.ones(constant))]
    sheet.op(kind, inputs, sheet.map(*shape), ops.Arithmetic() if kind == "ADD" else PLAIN)
    single, count = per_image(sheet.graph())
    assert count == 2
    assert bool(single.problems) == mixes
