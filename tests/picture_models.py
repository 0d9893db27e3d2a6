"""Two small models of pictures: a classifier and a detector."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder


def classifier() -> bytes:
    """A picture of 16 x 16 to ten scores."""
    builder, random = ModelBuilder(), np.random.default_rng(5)
    source = builder.tensor((1, 16, 16, 3), DType.UINT8, scale=1 / 128, zero_point=128)
    middle = builder.tensor((1, 4, 4, 10), DType.UINT8, scale=0.05, zero_point=100)
    sink = builder.tensor((1, 1, 1, 10), DType.UINT8, scale=0.05, zero_point=100)
    weights = builder.tensor(
        (10, 4, 4, 3), DType.UINT8, scale=0.01, zero_point=128, data=random.integers(0, 256, (10, 4, 4, 3))
    )
    bias = builder.tensor((10,), DType.INT32, scale=0.01 / 128, data=random.integers(-9, 9, 10))
    builder.operator("CONV_2D", [source, weights, bias], [middle], ops.Conv2D((4, 4), Padding.VALID))
    builder.operator("AVERAGE_POOL_2D", [middle], [sink], ops.Pool2D((1, 1), Padding.VALID, (4, 4)))
    return builder.build([source], [sink])


def detector() -> bytes:
    """A picture of 32 x 32 to 16 rows of YOLOv5 with two classes: nothing sensible, but boxes."""
    builder, random = ModelBuilder(), np.random.default_rng(7)
    source = builder.tensor((1, 32, 32, 3), DType.UINT8, scale=1 / 255, zero_point=0)
    maps = builder.tensor((1, 4, 4, 7), DType.UINT8, scale=1 / 255, zero_point=0)
    rows = builder.tensor((1, 16, 7), DType.UINT8, scale=1 / 255, zero_point=0)
    weights = builder.tensor(
        (7, 8, 8, 3), DType.UINT8, scale=0.0005, zero_point=128, data=random.integers(0, 256, (7, 8, 8, 3))
    )
    bias = builder.tensor((7,), DType.INT32, scale=0.0005 / 255, data=np.full(7, 230000))
    builder.operator("CONV_2D", [source, weights, bias], [maps], ops.Conv2D((8, 8), Padding.VALID))
    shape = builder.tensor((3,), DType.INT32, data=np.array([1, 16, 7], np.int32))
    builder.operator("RESHAPE", [maps, shape], [rows])
    return builder.build([source], [rows])
