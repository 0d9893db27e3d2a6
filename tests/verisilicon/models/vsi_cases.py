"""Single-operator models of the kinds that these chips take, with the strides and shapes that they take."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench import SCHEMES, Bench, Case, Chooser
from rocketnpu.graph import Padding
from rocketnpu.graph import operators as ops
from strategies import CHANNELS, FAMILIES, FUSED, SIZES, Window, reach, weigh

KERNELS = (1, 3, 2, 5, 7, 4, 11)


def window(choose: Chooser, kernels: tuple[int, ...] = KERNELS) -> Window:
    """A window of stride 1 or 2 that fits its picture."""
    stride = choose.pick((1, 2))
    kernel = choose.pick(kernels)
    shape = (kernel, choose.pick((kernel, kernel, choose.pick(kernels))))
    padding = choose.pick((Padding.SAME, Padding.VALID))
    size = [choose.pick(SIZES) + (k - 1 if padding is Padding.VALID else 0) for k in shape]
    out = [reach(size[axis], shape[axis], stride, 1, padding) for axis in (0, 1)]
    return Window((size[0], size[1]), shape, (stride, stride), (1, 1), padding, (out[0], out[1]))


def dense(choose: Chooser) -> Case:
    bench, w, activation = Bench.of(choose, SCHEMES), window(choose), choose.pick(FUSED)
    channels, kernels = choose.pick(CHANNELS), choose.pick(CHANNELS)
    x = bench.input((1, *w.size, channels))
    found = weigh(bench, x, (kernels, *w.kernel, channels), 0, math.prod(w.kernel) * channels, activation, always=True)
    y = bench.output((1, *w.out, kernels), found.mean, found.spread)
    return bench.finish("CONV_2D", found.after(x[0]), y, ops.Conv2D(w.stride, w.padding, (1, 1), activation), [x[0]])


def channelwise(choose: Chooser) -> Case:
    bench, w, activation = Bench.of(choose, SCHEMES), window(choose, (3, 5, 1, 2, 7)), choose.pick(FUSED)
    channels, multiplier = choose.pick(CHANNELS), choose.pick((1, 1, 1, 2))
    x = bench.input((1, *w.size, channels))
    found = weigh(bench, x, (1, *w.kernel, channels * multiplier), 3, math.prod(w.kernel), activation, always=True)
    y = bench.output((1, *w.out, channels * multiplier), found.mean, found.spread)
    attributes = ops.DepthwiseConv2D(w.stride, w.padding, (1, 1), activation, multiplier)
    return bench.finish("DEPTHWISE_CONV_2D", found.after(x[0]), y, attributes, [x[0]])


def total(choose: Chooser) -> Case:
    kind, bench = choose.pick(("ADD", "SUB")), Bench.of(choose)
    shape = (1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    x = bench.input(shape)
    scale, zero_point = x[1] * float(2.0 ** bench.random.uniform(-3, 3)), bench.zero_point()
    other = choose.pick(("map", "map", "map", "same", "one", "channels"))
    given = [x[0]]
    if other == "same":
        second, scale, zero_point = x
    elif other == "map":
        second = bench.tensor(shape, scale, zero_point)
        given.append(second)
    else:
        size = (1,) if other == "one" else (shape[3],)
        data = bench.random.integers(bench.low, bench.high, size, endpoint=True)
        second = bench.builder.tensor(size, bench.dtype, scale=scale, zero_point=zero_point, data=data)
    samples = [
        (bench.random.integers(bench.low, bench.high, 500, endpoint=True) - zero) * factor
        for factor, zero in (x[1:], (scale, zero_point))
    ]
    real = (np.subtract if kind == "SUB" else np.add)(*samples)
    y = bench.output(shape, float(real.mean()), float(real.std()))
    inputs = [second, x[0]] if other != "same" and choose.pick((False, False, True)) else [x[0], second]
    return bench.finish(kind, inputs, y, ops.Arithmetic(choose.pick(FUSED)), given)


def average(choose: Chooser) -> Case:
    bench, w = Bench.of(choose), window(choose, (2, 3, 1, 5, 7))
    channels = choose.pick(CHANNELS)
    whole = choose.pick((False, True))
    kernel, out = (w.size, (1, 1)) if whole else (w.kernel, w.out)
    padding = Padding.VALID if whole else w.padding
    x = bench.input((1, *w.size, channels))
    y = bench.tensor((1, *out, channels), *x[1:])
    return bench.finish("AVERAGE_POOL_2D", [x[0]], y, ops.Pool2D(w.stride, padding, kernel, choose.pick(FUSED)), [x[0]])


def reshape(choose: Chooser) -> Case:
    bench = Bench.of(choose)
    sizes = [choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS)]
    x = bench.input((1, *sizes))
    flat = math.prod(sizes)
    shape = choose.pick(
        ([1, flat], [1, sizes[1], sizes[2], sizes[0]], [1, sizes[2], sizes[0] * sizes[1]], [1, 1, flat, 1])
    )
    y = bench.tensor(shape, *x[1:])
    return bench.finish("RESHAPE", [x[0], bench.constant(shape)], y, ops.NoAttributes(), [x[0]])


def cut(choose: Chooser) -> Case:
    bench = Bench.of(choose)
    sizes = (choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    first = [choose.integer(0, size - 1) for size in sizes]
    count = [choose.integer(1, size - start) for size, start in zip(sizes, first, strict=True)]
    x = bench.input((1, *sizes))
    y = bench.tensor((1, *count), *x[1:])
    inputs = [x[0], bench.constant([0, *first]), bench.constant([1, *count])]
    return bench.finish("SLICE", inputs, y, ops.NoAttributes(), [x[0]])


KINDS: dict[str, Callable[[Chooser], Case]] = {
    **{family.__name__: family for family in (dense, channelwise, total, average, reshape, cut)},
    **{name: FAMILIES[name] for name in ("fully_connected", "mean", "concatenation", "pad", "activation")},
}
