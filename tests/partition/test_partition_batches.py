"""Batches: what the plan takes of them can be compiled, part by part."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.family import chips
from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


def beside_its_mean(kind: str, *, swapped: bool) -> Graph:
    """A batch beside what an operator makes of all its images together."""
    builder = ModelBuilder()
    images, mean, made = (builder.tensor((n, 4, 4, 16), DType.INT8, scale=0.1) for n in (2, 1, 2))
    axes = builder.tensor((1,), DType.INT32, data=[0])
    builder.operator("MEAN", [images, axes], [mean], ops.Reduce(keep_dims=True))
    attributes = ops.NoAttributes() if kind == "MAXIMUM" else ops.Arithmetic()
    builder.operator(kind, [mean, images] if swapped else [images, mean], [made], attributes)
    return parse(builder.build([images], [made]))


@pytest.mark.parametrize("chip", chips())
@pytest.mark.parametrize("kind", ["ADD", "MUL", "MAXIMUM"])
@pytest.mark.parametrize("swapped", [False, True])
def test_what_reads_something_of_all_images_stays_on_the_cpu(chip: str, kind: str, *, swapped: bool) -> None:
    divided = plan(beside_its_mean(kind, swapped=swapped), Policy(chip=chip))
    for part in divided.parts:
        compile_graph(part, divided.policy)
    assert not divided.parts


@pytest.mark.parametrize("chip", chips())
def test_a_batch_that_is_seen_as_one_row_stays_on_the_cpu(chip: str) -> None:
    builder = ModelBuilder()
    images, row = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in ((3, 2, 1, 3), (1, 18)))
    made, clamped = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in ((3, 16), (3, 2, 1, 3)))
    builder.operator("RESHAPE", [images, builder.tensor((2,), DType.INT32, data=[1, 18])], [row])
    weights = builder.tensor((16, 6), DType.INT8, scale=0.01, data=np.ones((16, 6)))
    builder.operator("FULLY_CONNECTED", [row, weights, None], [made], ops.FullyConnected())
    builder.operator("RELU", [images], [clamped])
    divided = plan(parse(builder.build([images], [made, clamped])), Policy(chip=chip))
    for part in divided.parts:
        compile_graph(part, divided.policy)
    assert [decision.kind for decision in divided.decisions if decision.supported] == ["RELU"]
