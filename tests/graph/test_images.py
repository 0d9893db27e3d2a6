"""One image of a batch: what works on each alone, and what mixes them."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.graph.images import per_image
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse


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
