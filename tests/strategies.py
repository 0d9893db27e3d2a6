"""Single-operator models for property tests, and seven pictures to show them.

``case(family, seed)`` makes one from a number; ``cases(*families)`` is the hypothesis strategy which makes the same
models and shrinks them. Scales are chosen from sampled accumulators, so that outputs use their range and sometimes
saturate. The same numbers always make the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bench import PATTERNS, SCHEMES, Bench, Case, Chooser, Drawn, Seeded, limits, picture
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops

__all__ = ["FAMILIES", "PATTERNS", "SCHEMES", "Case", "case", "cases", "limits", "picture"]

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17)
CHANNELS = (1, 3, 2, 4, 5, 8, 15, 16, 17, 31, 32, 33, 40, 64, 65)
STRIDES = (1, 2, 1, 2, 3, 4, 5, 6, 7)
KERNELS = (1, 3, 2, 4, 5, 7)
FUSED = (Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1)


@dataclass(frozen=True)
class Weights:
    """Weights and bias of a convolution, and where its real outputs lie."""

    weights: int
    bias: int | None
    mean: float
    spread: float

    def after(self, features: int) -> list[int | None]:
        """The inputs of a convolution."""
        return [features, self.weights, *([] if self.bias is None else [self.bias])]


def weigh(
    bench: Bench,
    x: tuple[int, float, int],
    shape: Sequence[int],
    axis: int,
    reduce: int,
    activation: Activation,
    *,
    always: bool = False,
) -> Weights:
    """Add weights of ``shape`` with output channels on ``axis``, ``reduce`` products a sum, and a bias.

    Without ``always`` the bias is sometimes left out, which LiteRT allows for FULLY_CONNECTED and TRANSPOSE_CONV.
    """
    _, x_scale, x_zero = x
    channels = shape[axis]
    signed = bench.dtype is DType.INT8
    zero = 0 if signed else bench.choose.pick((128, 117, 151, 0, 255))
    low, high = (-127, 127) if signed else (0, 255)
    values = np.clip(np.rint(bench.random.normal(zero, bench.random.uniform(8, 70), shape)), low, high).astype(np.int64)
    kernels = np.moveaxis(values, axis, 0).reshape(channels, -1)[:, :reduce] - zero
    pixels = bench.random.integers(bench.low, bench.high, (48, kernels.shape[1]), endpoint=True) - x_zero
    sums = pixels @ kernels.T
    wanted = {Activation.RELU6: 4.0, Activation.RELU_N1_TO_1: 1.0}.get(activation, float(bench.random.uniform(0.5, 8)))
    base = wanted / max(1.0, float(sums.std())) / x_scale
    steps = bench.random.uniform(-2, 1, channels) if bench.scheme == SCHEMES[2] else np.zeros(1)
    scales = (base * 2.0**steps).astype(np.float32)
    mean = float(bench.random.uniform(-1.5, 1.5)) * wanted
    bias = None
    if always or bench.choose.pick((True, True, True, False)):
        bias_scales = np.float32(x_scale) * scales
        values_bias = np.rint(
            mean / bias_scales - sums.mean(0) + bench.random.normal(0, 0.3, channels) / base / x_scale
        )
        limited = np.clip(values_bias, -(1 << 29), 1 << 29)
        bias = bench.builder.tensor((channels,), DType.INT32, scale=bias_scales, data=limited.astype(np.int64))
    real = sums * x_scale * scales
    number = bench.builder.tensor(shape, bench.dtype, scale=scales, zero_point=zero, axis=axis, data=values)
    return Weights(number, bias, mean if bias is not None else float(real.mean()), max(float(real.std()), 1e-3))


def reach(size: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    """Output size of a window that slides over ``size``."""
    extent = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding is Padding.SAME else (size - extent) // stride + 1


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window: pairs are rows, columns."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    out: tuple[int, int]


def window(choose: Chooser, dilated: bool = False) -> Window:
    """Choose a window that fits its picture. LiteRT takes different strides and dilations for rows and columns."""
    kernel = (choose.pick(KERNELS), choose.pick(KERNELS))
    stride = (choose.pick(STRIDES), choose.pick(STRIDES))
    dilation = (choose.pick((1, 1, 2, 3)), choose.pick((1, 1, 2, 3))) if dilated else (1, 1)
    padding = choose.pick((Padding.SAME, Padding.VALID))
    extents = [(k - 1) * d + 1 if padding is Padding.VALID else 1 for k, d in zip(kernel, dilation, strict=True)]
    size = (extents[0] - 1 + choose.pick(SIZES), extents[1] - 1 + choose.pick(SIZES))
    out = [reach(size[a], kernel[a], stride[a], dilation[a], padding) for a in (0, 1)]
    return Window(size, kernel, stride, dilation, padding, (out[0], out[1]))


def conv(choose: Chooser) -> Case:
    bench, w, activation = Bench.of(choose, SCHEMES), window(choose, dilated=True), choose.pick(FUSED)
    channels, kernels = choose.pick(CHANNELS), choose.pick(CHANNELS)
    x = bench.input((1, *w.size, channels))
    found = weigh(bench, x, (kernels, *w.kernel, channels), 0, math.prod(w.kernel) * channels, activation, always=True)
    y = bench.output((1, *w.out, kernels), found.mean, found.spread)
    attributes = ops.Conv2D(w.stride, w.padding, w.dilation, activation)
    return bench.finish("CONV_2D", found.after(x[0]), y, attributes, [x[0]])


def depthwise(choose: Chooser) -> Case:
    bench, w, activation = Bench.of(choose, SCHEMES), window(choose, dilated=True), choose.pick(FUSED)
    channels, multiplier = choose.pick(CHANNELS), choose.pick((1, 1, 1, 2, 3, 8))
    x = bench.input((1, *w.size, channels))
    found = weigh(bench, x, (1, *w.kernel, channels * multiplier), 3, math.prod(w.kernel), activation, always=True)
    y = bench.output((1, *w.out, channels * multiplier), found.mean, found.spread)
    attributes = ops.DepthwiseConv2D(w.stride, w.padding, w.dilation, activation, multiplier)
    return bench.finish("DEPTHWISE_CONV_2D", found.after(x[0]), y, attributes, [x[0]])


def fully_connected(choose: Chooser) -> Case:
    bench, activation = Bench.of(choose), choose.pick(FUSED)
    channels, kernels = choose.pick((*CHANNELS, 100, 257)), choose.pick((*CHANNELS, 10))
    shape = choose.pick(((1, channels), (1, 1, 1, channels), (3, channels)))
    x = bench.input(shape)
    found = weigh(bench, x, (kernels, channels), 0, channels, activation)
    y = bench.output((shape[0], kernels), found.mean, found.spread)
    inputs = [x[0], found.weights, found.bias]
    return bench.finish("FULLY_CONNECTED", inputs, y, ops.FullyConnected(activation), [x[0]])


def transpose_conv(choose: Chooser) -> Case:
    bench = Bench.of(choose, SCHEMES)
    kernel, stride = choose.pick((2, 3, 4, 5, 1)), choose.pick((1, 2, 3, 4))
    padding = choose.pick((Padding.SAME, Padding.VALID))
    size = (choose.pick(SIZES[:8]), choose.pick(SIZES[:8]))
    channels, kernels = choose.pick(CHANNELS), choose.pick(CHANNELS)
    rows, columns = (n * stride if padding is Padding.SAME else (n - 1) * stride + kernel for n in size)
    shape = (1, rows, columns, kernels)
    x = bench.input((1, *size, channels))
    found = weigh(bench, x, (kernels, kernel, kernel, channels), 0, channels * kernel, Activation.NONE)
    y = bench.output(shape, found.mean, found.spread)
    inputs = [bench.constant(shape), found.weights, x[0], *([] if found.bias is None else [found.bias])]
    return bench.finish("TRANSPOSE_CONV", inputs, y, ops.TransposeConv((stride, stride), padding), [x[0]])


def elementwise(choose: Chooser) -> Case:
    kind, bench = choose.pick(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")), Bench.of(choose)
    shape = (1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    same = kind in {"MAXIMUM", "MINIMUM"}
    x = bench.input(shape)
    other = choose.pick((shape, shape, (1, 1, 1, shape[3]), (shape[3],), (1, *shape[1:3], 1), (1,)))
    scale, zero_point = x[1:] if same else (x[1] * float(2.0 ** bench.random.uniform(-3, 3)), bench.zero_point())
    given = [x[0]]
    if choose.pick((False, False, True)):
        data = bench.random.integers(bench.low, bench.high, other, endpoint=True)
        second = bench.builder.tensor(other, bench.dtype, scale=scale, zero_point=zero_point, data=data)
    else:
        second = bench.tensor(other, scale, zero_point)
        given.append(second)
    samples = [
        (bench.random.integers(bench.low, bench.high, 500, endpoint=True) - zero) * factor
        for factor, zero in (x[1:], (scale, zero_point))
    ]
    real = {"SUB": np.subtract, "MUL": np.multiply}.get(kind, np.add)(*samples)
    y = bench.tensor(shape, *x[1:]) if same else bench.output(shape, float(real.mean()), float(real.std()))
    attributes = ops.NoAttributes() if same else ops.Arithmetic(choose.pick(FUSED))
    inputs = [second, x[0]] if choose.pick((False, False, True)) else [x[0], second]
    return bench.finish(kind, inputs, y, attributes, given)


def pool(choose: Chooser) -> Case:
    kind, bench, w = choose.pick(("AVERAGE_POOL_2D", "MAX_POOL_2D")), Bench.of(choose), window(choose)
    channels = choose.pick(CHANNELS)
    x = bench.input((1, *w.size, channels))
    y = bench.tensor((1, *w.out, channels), *x[1:])
    return bench.finish(kind, [x[0]], y, ops.Pool2D(w.stride, w.padding, w.kernel, choose.pick(FUSED)), [x[0]])


def mean(choose: Chooser) -> Case:
    bench, keep = Bench.of(choose), choose.pick((True, False))
    rows, columns, channels = choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS)
    x = bench.input((1, rows, columns, channels))
    axes = choose.pick(((1, 2), (2, 1), (-3, -2), (1,), (3,)))
    kept = [i for i in range(4) if i not in {axis % 4 for axis in axes}]
    sizes = (1, rows, columns, channels)
    shape = [sizes[i] if i in kept else 1 for i in range(4)] if keep else [sizes[i] for i in kept]
    factor = choose.pick((1.0, 1.0, 0.3, 1.7))
    y = bench.tensor(shape, x[1] * factor, x[2] if factor == 1.0 else bench.zero_point())
    return bench.finish("MEAN", [x[0], bench.constant(axes)], y, ops.Reduce(keep), [x[0]])


def concatenation(choose: Chooser) -> Case:
    bench, axis = Bench.of(choose), choose.pick((3, -1, 1, 2))
    shape = [1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS)]
    inputs, sizes = [], []
    like = bench.input(shape)
    for place in range(choose.pick((2, 2, 3, 4))):
        part = list(shape)
        part[axis] = shape[axis] if place == 0 else choose.pick(CHANNELS if axis in {3, -1} else SIZES)
        own = bench.dtype is DType.UINT8 and choose.pick((False, True))
        quantisation = (like[1] * bench.random.uniform(0.5, 2), bench.zero_point()) if own else like[1:]
        inputs.append(like[0] if place == 0 else bench.input(part, quantisation)[0])
        sizes.append(part[axis])
    shape[axis] = sum(sizes)
    y = bench.tensor(shape, *like[1:])
    return bench.finish("CONCATENATION", inputs, y, ops.Concatenation(axis), inputs)


def pad(choose: Chooser) -> Case:
    bench = Bench.of(choose)
    shape = (1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    edges = [(0, 0), *[(choose.integer(0, 4), choose.integer(0, 4)) for _ in range(2)]]
    edges.append((0, 0) if choose.pick((True, True, False)) else (choose.integer(0, 3), choose.integer(0, 3)))
    x = bench.input(shape)
    y = bench.tensor([n + sum(edge) for n, edge in zip(shape, edges, strict=True)], *x[1:])
    return bench.finish("PAD", [x[0], bench.constant(edges)], y, ops.NoAttributes(), [x[0]])


def resize(choose: Chooser) -> Case:
    kind, bench = choose.pick(("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")), Bench.of(choose)
    rows, columns, channels = choose.pick(SIZES[:8]), choose.pick(SIZES[:8]), choose.pick(CHANNELS)
    factor = choose.pick((2, 1, 3, 4))
    size = (rows * factor, columns * factor) if choose.pick((True, True, False)) else (choose.pick(SIZES), 11)
    flags = choose.pick(((False, False), (False, True), (True, False)))
    x = bench.input((1, rows, columns, channels))
    y = bench.tensor((1, *size, channels), *x[1:])
    return bench.finish(kind, [x[0], bench.constant(size)], y, ops.Resize(*flags), [x[0]])


def activation(choose: Chooser) -> Case:
    kinds = (
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "LEAKY_RELU",
        "HARD_SWISH",
        "LOGISTIC",
        "TANH",
        "SOFTMAX",
        "PRELU",
        "GELU",
    )
    kind, bench = choose.pick(kinds), Bench.of(choose)
    shape = (1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    x = bench.input(shape, (bench.scale() * 4, bench.zero_point()))
    attributes, inputs = ops.NoAttributes(), [x[0]]
    if kind == "LEAKY_RELU":
        attributes = ops.LeakyRelu(choose.pick((0.5, 0.1, 0.01, 0.0)))
    elif kind == "SOFTMAX":
        attributes = ops.Softmax(choose.pick((1.0, 0.5)))
    elif kind == "GELU":
        attributes = ops.Gelu(choose.pick((True, False)))
    elif kind == "PRELU":
        slopes = bench.random.integers(bench.low, bench.high, (1, 1, shape[3]), endpoint=True)
        inputs.append(bench.builder.tensor(slopes.shape, bench.dtype, scale=0.01, zero_point=0, data=slopes))
    middle = (bench.low + bench.high + 1) // 2
    if kind in {"LOGISTIC", "SOFTMAX"}:
        y = bench.tensor(shape, 1 / 256, bench.low)
    elif kind == "TANH":
        y = bench.tensor(shape, 1 / 128, middle)
    else:
        y = bench.tensor(shape, x[1] * choose.pick((1.0, 0.5, 0.9)), choose.pick((bench.low, middle, x[2])))
    return bench.finish(kind, inputs, y, attributes, [x[0]])


FAMILIES: dict[str, Callable[[Chooser], Case]] = {
    family.__name__: family
    for family in (
        conv,
        depthwise,
        fully_connected,
        transpose_conv,
        elementwise,
        pool,
        mean,
        concatenation,
        pad,
        resize,
        activation,
    )
}


def case(family: str, seed: int) -> Case:
    """Make the model of a family that belongs to a seed."""
    return FAMILIES[family](Seeded(seed))


@st.composite
def cases(draw: Callable[[Any], Any], *families: str) -> Case:
    """Models of the named families, or of all."""
    family = draw(st.sampled_from(families or tuple(FAMILIES)))
    return FAMILIES[family](Drawn(draw))
