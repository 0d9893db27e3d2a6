"""Models that are no full-integer ones, named."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.numerics import EDGE_TPU, remark


def layer(activations: DType, weights: DType, dequantised: bool = False) -> bytes:
    """Build a fully connected layer with such activations and weights."""
    builder = ModelBuilder()
    scale = None if activations is DType.FLOAT32 else 0.1
    x, y = (builder.tensor((1, 4), activations, scale=scale) for _ in range(2))
    scale = 0.1 if weights is DType.INT8 else None
    stored = builder.tensor((4, 4), weights, scale=scale, data=np.ones((4, 4), weights.value))
    read = stored
    if dequantised:
        read = builder.tensor((4, 4), DType.FLOAT32)
        builder.operator("DEQUANTIZE", [stored], [read])
    builder.operator("FULLY_CONNECTED", [x, read, None], [y], ops.FullyConnected())
    return builder.build([x], [y])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (layer(DType.FLOAT32, DType.INT8), "dynamic-range"),
        (layer(DType.FLOAT32, DType.INT8, dequantised=True), "weight-only"),
        (layer(DType.FLOAT32, DType.FLOAT16, dequantised=True), "float16"),
        (layer(DType.FLOAT32, DType.FLOAT32), "a float model"),
        (layer(DType.INT16, DType.INT8), "INT16"),
        (layer(DType.INT8, DType.INT8), ""),
    ],
)
def test_what_is_not_quantised_is_named(model: bytes, words: str) -> None:
    found = remark(tflite.parse(model))
    assert words in found
    assert bool(found) == bool(words)


def test_a_file_for_the_edge_tpu_is_named() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4), DType.UINT8, scale=0.1) for _ in range(2))
    builder.operator(EDGE_TPU, [x], [y])
    assert "edgetpu_compiler" in remark(tflite.parse(builder.build([x], [y])))
