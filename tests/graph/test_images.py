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
