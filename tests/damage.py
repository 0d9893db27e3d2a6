"""Small valid models and repeatable damage to their bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.third_party import tflite_schema as schema

NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 127, 128, 255, 256, 4096, 65535, 1 << 24, (1 << 31) - 1, -1, -2, -128)
REALS = (0.0, 1e-45, 1e-30, 1e-6, 0.5, 1.0, 255.0, 1e6, 1e30, -1.0, float("inf"), float("nan"))


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


def rewritten(data: bytes, seed: int) -> bytes:
    """Change one to three fields of the model's tables and write it anew: a sound flatbuffer with damaged contents."""
    random = np.random.default_rng(seed)
    while True:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        for _ in range(int(random.integers(1, 4))):
            places = list(_places(model))
            _change(*places[int(random.integers(0, len(places)))], random)
        builder = flatbuffers.Builder(len(data))
        try:
            builder.Finish(model.Pack(builder), b"TFL3")
        except (TypeError, AttributeError, OverflowError):  # a number too large for its field: try the next
            continue
        return bytes(builder.Output())


def _places(table: Any) -> Iterator[tuple[Any, str]]:
    """Every field of a table and of all tables below it, but not the elements of vectors of numbers."""
    for key, value in vars(table).items():
        yield table, key
        below = value if isinstance(value, list) else [value]
        for item in below:
            if hasattr(item, "__dict__"):
                yield from _places(item)


def _change(owner: Any, key: str, random: np.random.Generator) -> None:
    value = getattr(owner, key)
    number = NUMBERS[int(random.integers(0, len(NUMBERS)))]
    if isinstance(value, bool):
        setattr(owner, key, not value)
    elif isinstance(value, float):
        setattr(owner, key, REALS[int(random.integers(0, len(REALS)))])
    elif isinstance(value, int):
        small = key in {"type", "fusedActivationFunction", "padding", "detailsType", "builtinCode"}
        setattr(owner, key, int(random.integers(0, 20)) if small else number)
    elif isinstance(value, np.ndarray) and value.size:
        changed = value.copy()
        place = int(random.integers(0, value.size))
        pool = REALS if value.dtype.kind == "f" else NUMBERS if value.itemsize > 1 else (int(random.integers(0, 256)),)
        changed[place] = pool[int(random.integers(0, len(pool)))]
        choice = int(random.integers(0, 6))
        setattr(
            owner, key, changed[:-1] if choice == 0 else np.append(changed, changed[:1]) if choice == 1 else changed
        )
    elif isinstance(value, list) and value:
        place, other = int(random.integers(0, len(value))), int(random.integers(0, len(value)))
        choice = int(random.integers(0, 3))
        value[place] = value[other] if choice == 0 else value[place]
        setattr(owner, key, value[:place] + value[place + 1 :] if choice == 1 else value)
    elif value is not None and not key.endswith("Type"):
        setattr(owner, key, None)


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
