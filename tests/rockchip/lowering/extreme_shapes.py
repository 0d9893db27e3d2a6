"""Operators with shapes at the limits of the hardware's fields and buffers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from operator_checks import parsed

from bench import Case
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

MOST_VALUES = 1 << 20
"""Elements of a tensor: enough to leave every field, small enough for a test."""
SIZES = (1, 2, 3, 7, 31, 32, 217, 292, 2040, 2047, 2048)
CHANNELS = (1, 15, 16, 17, 64, 100, 512, 1000, 4096, 4097, 6000, 8192, 8193)
KERNELS = (1, 2, 3, 5, 7, 15, 16, 25, 31, 32)
STEPS = (1, 2, 3, 7, 8, 32)
SCALES = (1e-4, 0.004, 0.1, 1.0, 30.0)


class Model:
    """A model in the making; byte tensors are INT8."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.builder = ModelBuilder()
        self.draw = draw

    def whole(self, values: tuple[int, ...]) -> int:
        return self.draw(st.sampled_from(values))

    def shape(self) -> tuple[int, int, int, int]:
        """A map whose elements stay within bounds: large along one or two axes."""
        height, width, channels = self.whole(SIZES), self.whole(SIZES), self.whole(CHANNELS)
        while height * width * channels > MOST_VALUES:
            if channels >= max(height, width):
                channels = max(channels // 3, 1)
            elif height > width:
                height = max(height // 3, 1)
            else:
                width = max(width // 3, 1)
        return 1, height, width, channels

    def bytes(self, shape: tuple[int, ...], *, constant: bool = False, scale: float | None = None) -> int:
        factor = scale or self.draw(st.sampled_from(SCALES))
        data = None
        if constant:
            data = np.random.default_rng(len(shape)).integers(-127, 128, shape).astype(np.int8)
        return self.builder.tensor(shape, DType.INT8, scale=factor, zero_point=0, data=data)

    def numbers(self, values: object) -> int:
        array = np.asarray(values, np.int32)
        return self.builder.tensor(array.shape, DType.INT32, data=array)

    def finish(self, kind: str, inputs: list[int | None], given: list[int], output: int, how: ops.Attributes) -> Case:
        self.builder.operator(kind, inputs, [output], how)
        return parsed(self.builder, given, [output], kind)


def _window(size: int, kernel: int, step: int, padding: Padding) -> int:
    return -(-size // step) if padding is Padding.SAME else max(-(-(size - kernel + 1) // step), 0)


def _pads(model: Model, shape: tuple[int, ...], kernel: list[int], stride: list[int]) -> tuple[Padding, list[int]]:
    padding = Padding.SAME if model.draw(st.booleans()) else Padding.VALID
    sizes = [_window(*axis, padding) for axis in zip(shape[1:3], kernel, stride, strict=True)]
    if 0 in sizes:
        padding = Padding.SAME
        sizes = [_window(*axis, padding) for axis in zip(shape[1:3], kernel, stride, strict=True)]
    return padding, sizes


def depthwise(model: Model) -> Case:
    shape = model.shape()
    kernel, stride = [model.whole(KERNELS) for _ in range(2)], [model.whole(STEPS)] * 2
    padding, sizes = _pads(model, shape, kernel, stride)
    x = model.bytes(shape)
    w = model.bytes((1, *kernel, shape[3]), constant=True)
    bias = model.numbers(np.zeros(shape[3], np.int32))
    y = model.bytes((1, *sizes, shape[3]))
    return model.finish("DEPTHWISE_CONV_2D", [x, w, bias], [x], y, ops.DepthwiseConv2D(tuple(stride), padding))


def dense(model: Model) -> Case:
    shape = model.shape()
    kernel, stride, outputs = [model.whole(KERNELS) for _ in range(2)], [model.whole(STEPS)] * 2, model.whole(CHANNELS)
    while outputs * kernel[0] * kernel[1] * shape[3] > MOST_VALUES and (outputs > 1 or max(kernel) > 1):
        outputs, kernel = max(outputs // 2, 1), kernel if outputs > 1 else [1, 1]
    padding, sizes = _pads(model, shape, kernel, stride)
    x = model.bytes(shape)
    w = model.bytes((outputs, *kernel, shape[3]), constant=True)
    bias = model.numbers(np.zeros(outputs, np.int32))
    y = model.bytes((1, *sizes, outputs))
    return model.finish("CONV_2D", [x, w, bias], [x], y, ops.Conv2D(tuple(stride), padding))


def connected(model: Model) -> Case:
    """Rows of the last axis, with and without the other axes kept; or the whole map as one row."""
    shape, outputs, keep = model.shape(), model.whole(CHANNELS), model.draw(st.booleans())
    taps = int(np.prod(shape)) if model.draw(st.booleans()) and np.prod(shape) < MOST_VALUES // 4 else shape[3]
    outputs = min(outputs, MOST_VALUES // taps)
    keep = keep and taps == shape[3]
    x, w = model.bytes(shape), model.bytes((outputs, taps), constant=True)
    y = model.bytes((*shape[:3], outputs) if keep else (int(np.prod(shape)) // taps, outputs))
    return model.finish("FULLY_CONNECTED", [x, w, None], [x], y, ops.FullyConnected(keep_dims=keep))


def pool(model: Model) -> Case:
    shape = model.shape()
    kernel, stride = [model.whole(KERNELS) for _ in range(2)], [model.whole(STEPS) for _ in range(2)]
    padding, sizes = _pads(model, shape, kernel, stride)
    kind, scale = model.draw(st.sampled_from(("AVERAGE_POOL_2D", "MAX_POOL_2D"))), model.draw(st.sampled_from(SCALES))
    activation = model.draw(st.sampled_from((Activation.NONE, Activation.RELU6)))
    x, y = model.bytes(shape, scale=scale), model.bytes((1, *sizes, shape[3]), scale=scale)
    return model.finish(kind, [x], [x], y, ops.Pool2D(tuple(stride), padding, tuple(kernel), activation))


def mean(model: Model) -> Case:
    shape = model.shape()
    x, y = model.bytes(shape), model.bytes((1, 1, 1, shape[3]))
    return model.finish("MEAN", [x, model.numbers([1, 2])], [x], y, ops.Reduce(True))


def pad(model: Model) -> Case:
    shape = model.shape()
    edges = [(0, 0), *(tuple(model.whole((0, 1, 7, 15, 40)) for _ in range(2)) for _ in range(3))]
    scale = model.draw(st.sampled_from(SCALES))
    wider = [size + sum(edge) for size, edge in zip(shape, edges, strict=True)]
    x, y = model.bytes(shape, scale=scale), model.bytes(tuple(wider), scale=scale)
    return model.finish("PAD", [x, model.numbers(edges)], [x], y, ops.NoAttributes())


def resize(model: Model) -> Case:
    shape, factor = model.shape(), [model.whole((1, 2, 8, 64)) for _ in range(2)]
    while shape[1] * factor[0] * shape[2] * factor[1] * shape[3] > 4 * MOST_VALUES:
        shape = (1, max(shape[1] // 2, 1), max(shape[2] // 2, 1), max(shape[3] // 2, 1))
    kind, scale = model.draw(st.sampled_from(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"))), 0.1
    size = [shape[1] * factor[0], shape[2] * factor[1]]
    x, y = model.bytes(shape, scale=scale), model.bytes((1, *size, shape[3]), scale=scale)
    return model.finish(kind, [x, model.numbers(size)], [x], y, ops.Resize(False, model.draw(st.booleans())))


def pair(model: Model) -> Case:
    """Two operands: both computed, or the second a constant."""
    shape = model.shape()
    other = model.draw(st.sampled_from((shape, (1, 1, 1, shape[3]), (1, 1, 1, 1), (1, *shape[1:3], 1))))
    constant = model.draw(st.booleans()) and other == (1, 1, 1, shape[3])
    x, second, y = model.bytes(shape), model.bytes(other, constant=constant), model.bytes(shape)
    kind = model.draw(st.sampled_from(("ADD", "SUB", "MUL")))
    given = [x] if constant else [x, second]
    activation = model.draw(st.sampled_from((Activation.NONE, Activation.RELU, Activation.RELU_N1_TO_1)))
    return model.finish(kind, [x, second], given, y, ops.Arithmetic(activation))


def joined(model: Model) -> Case:
    shape, axis = model.shape(), model.whole((1, 2, 3))
    more = list(shape)
    more[axis] = model.whole((1, 16, 100, 2000))
    if np.prod(more) > MOST_VALUES:
        more[axis] = 1
    both = list(shape)
    both[axis] += more[axis]
    x, second, y = model.bytes(shape), model.bytes(tuple(more)), model.bytes(tuple(both))
    return model.finish("CONCATENATION", [x, second], [x, second], y, ops.Concatenation(axis))


def transposed(model: Model) -> Case:
    shape, outputs = model.shape(), model.whole(CHANNELS[:7])
    shape = (1, min(shape[1], 300), min(shape[2], 300), min(shape[3], 600))
    kernel, stride = [model.whole(KERNELS[:6]) for _ in range(2)], [model.whole(STEPS[:4]) for _ in range(2)]
    while outputs * shape[3] * kernel[0] * kernel[1] > MOST_VALUES:
        outputs //= 2
    size = [n * step for n, step in zip(shape[1:3], stride, strict=True)]
    while np.prod(size) * outputs > MOST_VALUES:
        outputs = outputs // 2 or 1
        if outputs == 1:
            break
    w, x = model.bytes((outputs, *kernel, shape[3]), constant=True), model.bytes(shape)
    y = model.bytes((1, *size, outputs))
    wanted = model.numbers([1, *size, outputs])
    return model.finish("TRANSPOSE_CONV", [wanted, w, x, None], [x], y, ops.TransposeConv(tuple(stride), Padding.SAME))


FAMILIES: tuple[Callable[[Model], Case], ...] = (
    *(depthwise, dense, connected, pool, mean, pad, resize, pair, joined, transposed),
)


@st.composite
def extremes(draw: st.DrawFn) -> Case:
    return draw(st.sampled_from(FAMILIES))(Model(draw))
