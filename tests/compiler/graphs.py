"""Random graphs of several operators: branches, residuals, joins, slices, views, and outputs in the middle.

``graph_case(seed)`` grows a graph operator by operator. Each step takes tensors that exist already, recent ones with
preference, so that maps have several readers, are joined in place, cut, added to what they were made from, or returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import SCHEMES, Bench, Case, Seeded
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from strategies import FUSED, reach, weigh

CHANNELS = (16, 32, 1, 3, 8, 15, 17, 24, 31, 33, 48, 64, 65, 80, 96)
ALIGNED = (16, 32, 48, 64)
SIZES = (1, 2, 3, 4, 5, 7, 8, 9)
BYTE_KINDS = ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU")
CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1")
ACTIVATIONS = (*(Activation.NONE,) * 4, *FUSED[1:])


@dataclass(frozen=True)
class Value:
    """A tensor of the growing graph."""

    number: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def like(self) -> tuple[float, int]:
        return self.scale, self.zero_point

    @property
    def features(self) -> tuple[int, float, int]:
        return self.number, self.scale, self.zero_point


class Growing:
    """A graph under construction. A step returns whether it found tensors that suit it."""

    def __init__(self, seed: int) -> None:
        self.choose = Seeded(seed)
        self.bench = Bench.of(self.choose, SCHEMES)
        self.values: list[Value] = []
        self.given: list[int] = []
        self.read: set[int] = set()
        self.kinds: list[str] = []

    def input(self, shape: Sequence[int], like: tuple[float, int] | None = None) -> Value:
        number, scale, zero_point = self.bench.input(shape, like)
        self.given.append(number)
        self.values.append(Value(number, tuple(shape), scale, zero_point))
        return self.values[-1]

    def put(
        self, kind: str, inputs: Sequence[int | None], shape: Sequence[int], like: tuple[float, int], attributes: Any
    ) -> Value:
        scale = float(np.float32(like[0]))
        found = Value(self.bench.tensor(shape, scale, like[1]), tuple(shape), scale, like[1])
        self.bench.builder.operator(kind, inputs, [found.number], attributes)
        self.note(kind, inputs)
        self.values.append(found)
        return found

    def note(self, kind: str, inputs: Sequence[int | None]) -> None:
        self.read.update(number for number in inputs if number is not None)
        self.kinds.append(kind)

    def some(self, fits: Callable[[Value], bool] = lambda _: True) -> Value | None:
        """Choose a map of four dimensions, the last ones with preference."""
        return self.any(lambda value: len(value.shape) == 4 and fits(value))

    def any(self, fits: Callable[[Value], bool] = lambda _: True) -> Value | None:
        """Choose a tensor, the last ones with preference."""
        found = [value for value in self.values if fits(value)]
        return self.choose.pick([*found, *found[-3:], *found[-3:]]) if found else None

    def spread(self, mean: float, deviation: float) -> tuple[float, int]:
        """Quantisation of an output around ``mean`` that sometimes saturates."""
        widths = self.choose.pick((2.5, 2.5, 4.0, 1.0))
        scale = max(2 * widths * deviation / 255, 1e-6)
        low = self.bench.low
        return scale, int(np.clip(round(low - (mean - widths * deviation) / scale), low, self.bench.high))

    def conv(self) -> bool:
        x = self.some()
        assert x is not None
        kernels = self.choose.pick((*CHANNELS, x.shape[3], x.shape[3], x.shape[3]))
        self.convolved(x, kernels, self.choose.pick(ACTIVATIONS))
        return True

    def convolved(
        self, x: Value, kernels: int, activation: Activation = Activation.NONE, like: tuple[float, int] | None = None
    ) -> Value:
        """Add a convolution; with ``like`` it keeps the size and has that quantisation."""
        size = self.choose.pick(((1, 1), (1, 1), (3, 3), (3, 1), (2, 2)))
        stride, padding = (1, 1), Padding.SAME
        if like is None and self.choose.pick((True, False, False)):
            stride = (self.choose.pick((1, 2, 3)), self.choose.pick((1, 2)))
            padding = self.choose.pick((Padding.SAME, Padding.VALID))
        if padding is Padding.VALID and (size[0] > x.shape[1] or size[1] > x.shape[2]):
            padding = Padding.SAME
        depth = x.shape[3]
        if depth % 2 == 0 and kernels % 2 == 0 and self.choose.pick((True, *(False,) * 7)):
            depth //= 2
        found = weigh(
            self.bench, x.features, (kernels, *size, depth), 0, math.prod(size) * depth, activation, always=True
        )
        shape = [
            1,
            *(reach(n, k, s, 1, padding) for n, k, s in zip(x.shape[1:3], size, stride, strict=True)),
            kernels,
        ]
        like = like or self.spread(found.mean, found.spread)
        return self.put("CONV_2D", found.after(x.number), shape, like, ops.Conv2D(stride, padding, (1, 1), activation))

    def depthwise(self) -> bool:
        x, activation = self.some(lambda value: value.shape[3] <= 96), self.choose.pick(ACTIVATIONS)
        if x is None:
            return False
        size, multiplier = self.choose.pick(((3, 3), (1, 1), (2, 3))), self.choose.pick((1, 1, 1, 2))
        stride, outputs = (self.choose.pick((1, 1, 2)),) * 2, x.shape[3] * multiplier
        found = weigh(self.bench, x.features, (1, *size, outputs), 3, math.prod(size), activation, always=True)
        shape = [
            1,
            *(reach(n, k, s, 1, Padding.SAME) for n, k, s in zip(x.shape[1:3], size, stride, strict=True)),
            outputs,
        ]
        attributes = ops.DepthwiseConv2D(stride, Padding.SAME, (1, 1), activation, multiplier)
        self.put("DEPTHWISE_CONV_2D", found.after(x.number), shape, self.spread(found.mean, found.spread), attributes)
        return True

    def arithmetic(self) -> bool:
        x = self.any()
        assert x is not None
        kind = self.choose.pick(("ADD", "ADD", "ADD", "SUB", "MUL"))
        vector = (*(1,) * (len(x.shape) - 1), x.shape[-1])
        y = self.any(lambda value: value.shape in (x.shape, vector))
        if y is None or self.choose.pick((True, *(False,) * 5)):
            data = self.bench.random.integers(self.bench.low, self.bench.high, vector, endpoint=True)
            number = self.bench.builder.tensor(vector, self.bench.dtype, scale=x.scale, zero_point=0, data=data)
            y = Value(number, vector, x.scale, 0)
        steps = [
            (self.bench.random.integers(self.bench.low, self.bench.high, 400, endpoint=True) - value.zero_point)
            * value.scale
            for value in (x, y)
        ]
        real = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[kind](*steps)
        like = self.spread(float(real.mean()), float(real.std()))
        inputs = [y.number, x.number] if self.choose.pick((True, False)) else [x.number, y.number]
        self.put(kind, inputs, x.shape, like, ops.Arithmetic(self.choose.pick(ACTIVATIONS)))
        return True

    def residual(self) -> bool:
        """Add a convolution's output to a map of its size, mostly to its own input."""
        x = self.some()
        assert x is not None
        made = self.convolved(x, x.shape[3], like=(x.scale * self.choose.pick((1.0, 0.5, 1.7)), x.zero_point))
        y = self.some(lambda value: value.shape == made.shape and value.number != made.number) or x
        inputs = [y.number, made.number] if self.choose.pick((True, False)) else [made.number, y.number]
        scale = max(made.scale, y.scale) * self.choose.pick((1.0, 1.4, 0.8))
        attributes = ops.Arithmetic(self.choose.pick(ACTIVATIONS))
        self.put("ADD", inputs, made.shape, (scale, self.bench.zero_point()), attributes)
        return True

    def extreme(self) -> bool:
        x = self.any()
        assert x is not None
        y = self.any(lambda value: (value.shape, value.like) == (x.shape, x.like))
        assert y is not None
        kind = self.choose.pick(("MAXIMUM", "MINIMUM"))
        self.put(kind, [x.number, y.number], x.shape, x.like, ops.NoAttributes())
        return True

    def joined(self) -> bool:
        """Join maps along an axis: existing ones of one quantisation, and convolutions made for it."""
        axis = self.choose.pick((3, 3, 3, 3, 1, 2, -1))
        x = self.some()
        assert x is not None
        parts = [x] if self.choose.pick((True, False)) else []
        count = self.choose.pick((2, 2, 3, 4))
        while len(parts) < count:
            other = self.some(lambda value: value.like == x.like and _joins(value.shape, x.shape, axis))
            if other is not None and self.choose.pick((True, False, False)):
                parts.append(other)
            elif self.choose.pick((True, False, False, False)) and self.bench.dtype is DType.UINT8:
                other = self.some(lambda value: _joins(value.shape, x.shape, axis))
                parts.extend([other] if other else [])
            else:
                sized = self.some(lambda value: value.shape[1:3] == x.shape[1:3])
                assert sized is not None
                kernels = self.choose.pick((*ALIGNED, *ALIGNED, *CHANNELS)) if axis in {3, -1} else x.shape[3]
                parts.append(self.convolved(sized, kernels, like=x.like))
        if self.choose.pick((True, False)):
            parts.reverse()
        shape = list(x.shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        if max(shape) > 260:
            return False
        self.put("CONCATENATION", [part.number for part in parts], shape, x.like, ops.Concatenation(axis))
        return True

    def split(self) -> bool:
        count = self.choose.pick((2, 2, 3))
        axis = self.choose.pick((-1, -1, -3, -2))
        x = self.any(lambda value: len(value.shape) >= -axis and value.shape[axis] % count == 0)
        if x is None:
            return False
        shape = list(x.shape)
        shape[axis] //= count
        numbers = [self.bench.tensor(shape, *x.like) for _ in range(count)]
        self.bench.builder.operator("SPLIT", [self.bench.constant(axis), x.number], numbers, ops.NoAttributes())
        self.note("SPLIT", [x.number])
        self.values.extend(Value(number, tuple(shape), *x.like) for number in numbers)
        return True

    def cut(self) -> bool:
        x = self.some()
        assert x is not None
        rows, channels = x.shape[1], x.shape[3]
        top = self.choose.integer(0, rows - 1)
        first = self.choose.pick((0, 16, 5)) % channels
        size = (1, self.choose.integer(1, rows - top), x.shape[2], self.choose.integer(1, channels - first))
        inputs = [x.number, self.bench.constant((0, top, 0, first)), self.bench.constant(size)]
        self.put("SLICE", inputs, size, x.like, ops.NoAttributes())
        return True

    def clamp(self) -> bool:
        x = self.any()
        assert x is not None
        like = self.choose.pick((x.like, x.like, (x.scale * 0.7, x.zero_point)))
        self.put(self.choose.pick(CLAMPS), [x.number], x.shape, like, ops.NoAttributes())
        return True

    def table(self) -> bool:
        x, kind = self.any(), self.choose.pick(BYTE_KINDS)
        assert x is not None
        attributes = ops.LeakyRelu(0.1) if kind == "LEAKY_RELU" else ops.NoAttributes()
        like = {"LOGISTIC": (1 / 256, self.bench.low), "TANH": (1 / 128, (self.bench.low + self.bench.high + 1) // 2)}
        self.put(kind, [x.number], x.shape, like.get(kind, x.like), attributes)
        return True

    def pool(self) -> bool:
        x, kind = self.some(), self.choose.pick(("AVERAGE_POOL_2D", "MAX_POOL_2D", "MAX_POOL_2D"))
        assert x is not None
        kernel = (min(self.choose.pick((2, 3, 1)), x.shape[1]), min(self.choose.pick((2, 3)), x.shape[2]))
        stride, padding = (self.choose.pick((1, 2)),) * 2, self.choose.pick((Padding.SAME, Padding.VALID))
        shape = [
            1,
            *(reach(n, k, s, 1, padding) for n, k, s in zip(x.shape[1:3], kernel, stride, strict=True)),
            x.shape[3],
        ]
        attributes = ops.Pool2D(stride, padding, kernel, self.choose.pick(ACTIVATIONS))
        self.put(kind, [x.number], shape, x.like, attributes)
        return True

    def mean(self) -> bool:
        x = self.some()
        assert x is not None
        shape, axes = (1, 1, 1, x.shape[3]), self.bench.constant((1, 2))
        self.put(
            "MEAN", [x.number, axes], shape, (x.scale * self.choose.pick((1.0, 0.5)), x.zero_point), ops.Reduce(True)
        )
        return True

    def pad(self) -> bool:
        x = self.some()
        assert x is not None
        edges = [(self.choose.integer(0, 2), self.choose.integer(0, 2)) for _ in range(2)]
        channels = self.choose.pick(((0, 0), (0, 0), (0, 0), (0, 3), (2, 16)))
        every = [(0, 0), *edges, channels]
        shape = [n + sum(edge) for n, edge in zip(x.shape, every, strict=True)]
        padded = self.put("PAD", [x.number, self.bench.constant(every)], shape, x.like, ops.NoAttributes())
        if self.choose.pick((True, False)) and not any(channels) and min(shape[1:3]) >= 3:
            found = weigh(
                self.bench, padded.features, (16, 3, 3, shape[3]), 0, 9 * shape[3], Activation.NONE, always=True
            )
            out, like = (1, shape[1] - 2, shape[2] - 2, 16), self.spread(found.mean, found.spread)
            self.put("CONV_2D", found.after(padded.number), out, like, ops.Conv2D((1, 1), Padding.VALID))
        return True

    def view(self) -> bool:
        x = self.some()
        assert x is not None
        rows, columns, channels = x.shape[1:]
        pixels = rows * columns
        shapes = ((1, columns, rows), (1, 1, pixels), (1, pixels, 1), (1, pixels), (pixels,), (pixels, 1))
        shape = (*self.choose.pick(shapes), channels)
        self.put("RESHAPE", [x.number, self.bench.constant(shape)], shape, x.like, ops.NoAttributes())
        return True

    def rows(self) -> bool:
        """Join tensors of fewer dimensions, or connect their rows fully."""
        x = self.any(lambda value: len(value.shape) < 4)
        if x is None:
            return False
        if self.choose.pick((True, False)):
            axis = self.choose.pick((-1, -2))
            other = self.any(lambda value: value.like == x.like and _joins(value.shape, x.shape, axis)) or x
            shape = list(x.shape)
            shape[axis] += other.shape[axis]
            attributes = ops.Concatenation(axis)
            self.put("CONCATENATION", [x.number, other.number], shape, x.like, attributes)
        elif len(x.shape) == 2:
            self.connect(x, x.shape[0], x.shape[1])
        return True

    def softmax(self) -> bool:
        """An operator of the CPU, which divides the graph."""
        x = self.any()
        assert x is not None
        self.put("SOFTMAX", [x.number], x.shape, (1 / 256, self.bench.low), ops.Softmax(1.0))
        return True

    def requantise(self) -> bool:
        x = self.any()
        assert x is not None
        self.put("QUANTIZE", [x.number], x.shape, (x.scale * 0.8, self.bench.zero_point()), ops.NoAttributes())
        return True

    def slope(self) -> bool:
        x = self.some()
        assert x is not None
        shape = (1, 1, x.shape[3])
        data = self.bench.random.integers(self.bench.low, self.bench.high, shape, endpoint=True)
        slopes = self.bench.builder.tensor(shape, self.bench.dtype, scale=0.01, zero_point=0, data=data)
        self.put("PRELU", [x.number, slopes], x.shape, x.like, ops.NoAttributes())
        return True

    def connected(self) -> bool:
        x = self.some(lambda value: math.prod(value.shape) <= 1024)
        if x is None:
            return False
        elements, row = math.prod(x.shape), x
        if self.choose.pick((True, False)):
            row = self.put(
                "RESHAPE", [x.number, self.bench.constant((1, -1))], (1, elements), x.like, ops.NoAttributes()
            )
        self.connect(row, 1, elements)
        return True

    def connect(self, row: Value, rows: int, elements: int) -> None:
        units, activation = self.choose.pick((1, 10, 16, 33)), self.choose.pick(ACTIVATIONS)
        scheme, self.bench.scheme = self.bench.scheme, self.bench.dtype.value
        found = weigh(self.bench, row.features, (units, elements), 0, elements, activation)
        self.bench.scheme = scheme
        inputs = [row.number, found.weights, found.bias]
        like = self.spread(found.mean, found.spread)
        self.put("FULLY_CONNECTED", inputs, (rows, units), like, ops.FullyConnected(activation))


def _joins(shape: Sequence[int], other: Sequence[int], axis: int) -> bool:
    if len(shape) != len(other):
        return False
    place = axis % len(shape)
    return all(one == two or number == place for number, (one, two) in enumerate(zip(shape, other, strict=True)))


STEPS = (
    *(Growing.conv,) * 3,
    *(Growing.residual,) * 3,
    *(Growing.joined,) * 3,
    *(Growing.arithmetic,) * 2,
    Growing.depthwise,
    Growing.extreme,
    Growing.split,
    Growing.cut,
    Growing.clamp,
    Growing.table,
    Growing.pool,
    Growing.mean,
    Growing.pad,
    *(Growing.view,) * 2,
    Growing.rows,
    Growing.connected,
    Growing.softmax,
    Growing.requantise,
    Growing.slope,
)


def graph_case(seed: int) -> Case:
    """Make the graph that belongs to a seed, of two to about eight operators."""
    growing = Growing(seed)
    choose = growing.choose
    growing.input((1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS)))
    if choose.pick((True, False, False)):
        first = growing.values[0]
        growing.input(first.shape, first.like if choose.pick((True, False)) else None)
    wanted = choose.integer(2, 6)
    for _ in range(4 * wanted):
        if len(growing.kinds) >= wanted:
            break
        choose.pick(STEPS)(growing)
    made = [value.number for value in growing.values if value.number not in growing.given]
    returned = [number for number in made if number not in growing.read]
    extra = [number for number in made if number in growing.read and choose.pick((True, *(False,) * 4))]
    model = growing.bench.builder.build(growing.given, [*returned, *extra])
    return Case(f"seed {seed}: {', '.join(growing.kinds)} {growing.bench.scheme}", model, growing.bench.seed)
