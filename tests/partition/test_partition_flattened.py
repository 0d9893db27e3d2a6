"""Fully connected layers of maps: they are taken with their RESHAPE, or where they can do alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan


def flattened(size: int, channels: int, layers: Sequence[str], returned: bool = False) -> Graph:
    """A map, its row, and readers of the row: plain layers, layers whose activation is no clamp, or SOFTMAX."""
    builder, values = ModelBuilder(), size * size * channels
    x = builder.tensor((1, size, size, channels), DType.INT8, scale=0.05, zero_point=3)
    row = builder.tensor((1, values), DType.INT8, scale=0.05, zero_point=3)
    shape = builder.tensor((2,), DType.INT32, data=np.array([1, values], np.int32))
    builder.operator("RESHAPE", [x, shape], [row])
    outputs = [row] if returned else []
    for number, layer in enumerate(layers):
        if layer == "softmax":
            outputs.append(builder.tensor((1, values), DType.INT8, scale=1 / 256, zero_point=-128))
            builder.operator("SOFTMAX", [row], outputs[-1:], ops.Softmax())
            continue
        weights = np.random.default_rng(number).integers(-9, 10, (4, values)).astype(np.int8)
        kernel = builder.tensor((4, values), DType.INT8, scale=0.01, data=weights)
        outputs.append(builder.tensor((1, 4), DType.INT8, scale=10.0))
        attributes = ops.FullyConnected(ops.Activation.NONE if layer == "plain" else ops.Activation.TANH)
        builder.operator("FULLY_CONNECTED", [row, kernel, None], outputs[-1:], attributes)
    return parse(builder.build([x], outputs), "flattened")


@pytest.mark.parametrize(
    ("graph", "taken"),
    [
        (flattened(31, 18, ["plain"]), "npu npu"),
        (flattened(31, 18, ["plain", "plain"]), "npu npu npu"),
        (flattened(31, 18, ["plain"], returned=True), "cpu cpu"),
        (flattened(28, 16, ["plain", "softmax"]), "cpu cpu cpu"),
        (flattened(28, 16, ["plain", "tanh"]), "cpu cpu cpu"),
        (flattened(4, 16, ["plain"], returned=True), "cpu npu"),
        (flattened(4, 16, ["plain", "softmax"]), "cpu npu cpu"),
    ],
    ids=[
        "alone",
        "two layers",
        "returned",
        "read elsewhere",
        "one refused",
        "small, returned",
        "small, read elsewhere",
    ],
)
def test_a_layer_without_its_reshape_must_do_alone(graph: Graph, taken: str) -> None:
    found = plan(graph)
    assert " ".join("npu" if decision.supported else "cpu" for decision in found.decisions) == taken
    assert all(decision.reason for decision in found.decisions if not decision.supported)
    assert len(found.parts) == int("npu" in taken)
    for part in found.parts:
        assert compile_graph(part).tasks
