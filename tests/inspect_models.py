"""A chain of four convolutions, for tests that need a small network."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph import Activation, DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.program.program import Program

SIZE, CHANNELS = 28, 16
LAYERS = ((32, 3, 1, False), (32, 3, 2, True), (48, 1, 1, False), (16, 3, 1, False))
"""Outputs, kernel, stride, and whether depthwise."""


def chain() -> bytes:
    """Dense 3x3, depthwise 3x3 with stride 2, pointwise, dense 3x3."""
    builder, random = ModelBuilder(), np.random.default_rng(3588)
    first = last = builder.tensor((1, SIZE, SIZE, CHANNELS), DType.UINT8, scale=0.05, zero_point=128)
    size, channels = SIZE, CHANNELS
    for outputs, kernel, stride, depthwise in (
        (32, 3, 1, False),
        (32, 3, 2, True),
        (48, 1, 1, False),
        (16, 3, 1, False),
    ):
        shape = (1, kernel, kernel, channels) if depthwise else (outputs, kernel, kernel, channels)
        scale = 0.006 / (kernel * (1 if depthwise else channels**0.5))
        weights = builder.tensor(shape, DType.UINT8, scale=scale, zero_point=128, data=random.integers(0, 256, shape))
        values = random.integers(-999, 999, outputs)
        bias = builder.tensor((outputs,), DType.INT32, scale=scale * 0.05, data=values)
        size, channels = -(-size // stride), outputs
        made = builder.tensor((1, size, size, channels), DType.UINT8, scale=0.05, zero_point=128)
        strides = (stride, stride)
        if depthwise:
            attributes = ops.DepthwiseConv2D(strides, ops.Padding.SAME, activation=Activation.RELU6)
            builder.operator("DEPTHWISE_CONV_2D", [last, weights, bias], [made], attributes)
        else:
            builder.operator("CONV_2D", [last, weights, bias], [made], ops.Conv2D(strides, ops.Padding.SAME))
        last = made
    return builder.build([first], [last])


def chain_program() -> Program:
    """The chain, compiled."""
    from rocketnpu.compiler import compile_graph
    from rocketnpu.model.tflite import parse

    return compile_graph(parse(chain()))


def chain_picture() -> np.ndarray:
    """An input of the chain."""
    return np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, CHANNELS), np.uint8)
