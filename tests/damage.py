"""Small valid models and repeatable damage to their bytes."""

from __future__ import annotations

import struct

import numpy as np

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 127, 128, 255, 256, 4096, 65535, 1 << 24, (1 << 31) - 1, -1, -2, -128)


def convolutions() -> bytes:
    """Convolution, depthwise, softmax."""
    builder, random = ModelBuilder(), np.random.default_rng(5)
    x = builder.tensor((1, 6, 6, 3), DType.INT8, scale=0.05, zero_point=-3, name="x")
    w = builder.tensor(
        (4, 3, 3, 3), DType.INT8, scale=[0.01, 0.02, 0.03, 0.04], data=random.integers(-9, 9, (4, 3, 3, 3))
    )
    b = builder.tensor((4,), DType.INT32, scale=[5e-4, 1e-3, 1.5e-3, 2e-3], data=[1, -20, 300, 4])
    y = builder.tensor((1, 3, 3, 4), DType.INT8, scale=0.1, name="y")
    builder.operator("CONV_2D", [x, w, b], [y], ops.Conv2D((2, 2), Padding.SAME, activation=Activation.RELU6))
    v = builder.tensor((1, 2, 2, 4), DType.INT8, scale=0.02, data=random.integers(-9, 9, (1, 2, 2, 4)))
    c = builder.tensor((4,), DType.INT32, scale=0.002, data=[5, 6, 7, 8])
    z = builder.tensor((1, 2, 2, 4), DType.INT8, scale=0.1, name="z")
    builder.operator(
        "DEPTHWISE_CONV_2D", [y, v, c], [z], ops.DepthwiseConv2D((1, 1), Padding.VALID, depth_multiplier=1)
    )
    p = builder.tensor((1, 2, 2, 4), DType.INT8, scale=1 / 256, zero_point=-128, name="p")
    builder.operator("SOFTMAX", [z], [p], ops.Softmax())
    return builder.build([x], [p])


def many_operators() -> bytes:
    """Most other operators, so that damage meets their options and constants."""
    builder = ModelBuilder()

    def tensor(*shape: int) -> int:
        return builder.tensor(shape, DType.UINT8, scale=0.05, zero_point=100)

    def constant(values: object) -> int:
        array = np.array(values, np.int32)
        return builder.tensor(array.shape, DType.INT32, data=array)

    x, y = tensor(1, 4, 4, 2), tensor(1, 1, 1, 2)
    a, padded, small, big, joined = (
        tensor(1, 4, 4, 2),
        tensor(1, 6, 7, 2),
        tensor(1, 3, 3, 2),
        tensor(1, 6, 6, 2),
        tensor(1, 6, 6, 4),
    )
    builder.operator("ADD", [x, y], [a], ops.Arithmetic(Activation.RELU))
    builder.operator("PAD", [a, constant([[0, 0], [1, 1], [1, 2], [0, 0]])], [padded])
    builder.operator("AVERAGE_POOL_2D", [padded], [small], ops.Pool2D((2, 2), Padding.VALID, (2, 3)))
    builder.operator("RESIZE_BILINEAR", [small, constant([6, 6])], [big], ops.Resize(half_pixel_centers=True))
    builder.operator("CONCATENATION", [big, big], [joined], ops.Concatenation(3))
    mean, flat, full = tensor(1, 1, 1, 4), tensor(1, 4), tensor(1, 3)
    builder.operator("MEAN", [joined, constant([1, 2])], [mean], ops.Reduce(keep_dims=True))
    builder.operator("RESHAPE", [mean, constant([1, 4])], [flat])
    w = builder.tensor((3, 4), DType.UINT8, scale=0.02, zero_point=120, data=np.arange(12).reshape(3, 4) * 20)
    b = builder.tensor((3,), DType.INT32, scale=0.001, data=[1, 2, 3])
    builder.operator("FULLY_CONNECTED", [flat, w, b], [full], ops.FullyConnected())
    k = builder.tensor((2, 3, 3, 4), DType.UINT8, scale=0.02, zero_point=120, data=np.arange(72).reshape(2, 3, 3, 4))
    up, cut, turned = tensor(1, 12, 12, 2), tensor(1, 6, 12, 2), tensor(1, 2, 6, 12)
    builder.operator(
        "TRANSPOSE_CONV", [constant([1, 12, 12, 2]), k, joined], [up], ops.TransposeConv((2, 2), Padding.SAME)
    )
    begin, end, step = constant([0, 0, 0, 0]), constant([1, 12, 12, 2]), constant([1, 2, 1, 1])
    builder.operator("STRIDED_SLICE", [up, begin, end, step], [cut], ops.StridedSlice())
    builder.operator("TRANSPOSE", [cut, constant([0, 3, 1, 2])], [turned])
    left, right, more = tensor(1, 1, 6, 12), tensor(1, 1, 6, 12), tensor(1, 1, 6, 12)
    builder.operator("SPLIT", [constant(1), turned], [left, right])
    builder.operator("MUL", [left, right], [more], ops.Arithmetic())
    return builder.build([x, y], [full, more])


MODELS = (convolutions, many_operators)


def damaged(data: bytes, seed: int) -> bytes:
    """Flip bits, set bytes or numbers, truncate, or splice; one to four times."""
    random = np.random.default_rng(seed)
    found = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        how, place = int(random.integers(0, 20)), int(random.integers(0, max(1, len(found))))
        if not found:
            break
        if how < 7:
            found[place] ^= 1 << int(random.integers(0, 8))
        elif how < 11:
            found[place] = int(random.integers(0, 256))
        elif how < 17:
            value = NUMBERS[int(random.integers(0, len(NUMBERS)))]
            place = min(place & ~3, max(0, len(found) - 4) & ~3)
            found[place : place + 4] = struct.pack("<i", value)
        elif how < 19:
            size, source = int(random.integers(1, 65)), int(random.integers(0, len(found)))
            if how == 17:
                found[place : place + size] = found[source : source + size]
            else:
                piece = found[source & ~3 : (source & ~3) + (size & ~3)]
                found[place & ~3 : (place & ~3) + len(piece)] = piece
        else:
            del found[place:]
    return bytes(found)
