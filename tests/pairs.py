"""Models of a few operators, for passes and placement: neighbours that fit, and neighbours that do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bench import SCHEMES, Bench, Case, Chooser, Drawn, Seeded
from rocketnpu.graph import Padding
from rocketnpu.graph import operators as ops
from strategies import CHANNELS, FUSED, KERNELS, SIZES, STRIDES, reach, weigh

Tensor = tuple[int, float, int]
"""Number, scale and zero point."""
CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1")


class Network:
    """A model that grows operator by operator."""

    def __init__(self, choose: Chooser, schemes: tuple[str, ...] = SCHEMES) -> None:
        self.bench, self.choose = Bench.of(choose, schemes), choose
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.given: list[int] = []

    def input(self, shape: tuple[int, ...]) -> Tensor:
        found = self.bench.input(shape)
        self.shapes[found[0]] = shape
        self.given.append(found[0])
        return found

    def tensor(self, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
        number = self.bench.tensor(shape, scale, zero_point)
        self.shapes[number] = shape
        return number, scale, zero_point

    def conv(
        self,
        x: Tensor,
        kernels: int,
        size: tuple[int, int] = (1, 1),
        attributes: ops.Conv2D | None = None,
        like: tuple[float, int] | None = None,
        widths: float = 2.5,
    ) -> Tensor:
        """Add CONV_2D whose output shows ``widths`` standard deviations, or has the quantisation ``like``."""
        attributes = attributes or ops.Conv2D((1, 1), Padding.SAME)
        _, rows, columns, channels = self.shapes[x[0]]
        found = weigh(
            self.bench, x, (kernels, *size, channels), 0, math.prod(size) * channels, attributes.activation, always=True
        )
        low, high = self.bench.low, self.bench.high
        scale = max(2 * widths * found.spread / 255, 1e-6)
        zero_point = int(np.clip(round(low - (found.mean - widths * found.spread) / scale), low, high))
        shape = [
            reach(n, k, s, d, attributes.padding)
            for n, k, s, d in zip((rows, columns), size, attributes.stride, attributes.dilation, strict=True)
        ]
        y = self.tensor((1, *shape, kernels), *(like or (float(np.float32(scale)), zero_point)))
        self.bench.builder.operator("CONV_2D", found.after(x[0]), [y[0]], attributes)
        return y

    def depthwise(self, x: Tensor, size: tuple[int, int], attributes: ops.DepthwiseConv2D) -> Tensor:
        """Add DEPTHWISE_CONV_2D."""
        _, rows, columns, channels = self.shapes[x[0]]
        found = weigh(self.bench, x, (1, *size, channels), 3, math.prod(size), attributes.activation, always=True)
        steps = zip((rows, columns), size, attributes.stride, attributes.dilation, strict=True)
        shape = (1, *(reach(n, k, s, d, attributes.padding) for n, k, s, d in steps), channels)
        number = self.bench.output(shape, found.mean, found.spread)
        self.shapes[number] = shape
        self.bench.builder.operator("DEPTHWISE_CONV_2D", found.after(x[0]), [number], attributes)
        return number, 0.0, 0

    def add(self, kind: str, inputs: list[int], output: int, attributes: Any) -> None:
        self.bench.builder.operator(kind, inputs, [output], attributes)

    def case(self, name: str, outputs: list[int]) -> Case:
        return Case(f"{name} {self.bench.scheme}", self.bench.builder.build(self.given, outputs), self.bench.seed)


def conv_add(choose: Chooser) -> Case:
    """A convolution whose output is added to its input, to another input, or to another convolution's output."""
    net = Network(choose)
    shape = (1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS))
    size = choose.pick(((1, 1), (3, 3), (3, 1)))
    x = net.input(shape)
    widths = choose.pick((2.5, 4.0, 1.5, 0.7))
    first = net.conv(x, shape[3], size, widths=widths)
    other = choose.pick(("input", "conv", "same"))
    if other == "input":
        second = net.input(shape)
    elif other == "conv":
        second = net.conv(x, shape[3], (1, 1))
    else:
        second = x
    scale = float(np.float32(max(first[1], second[1]) * choose.pick((1.0, 1.3, 0.8, 0.51, 0.3))))
    y = net.tensor(shape, scale, net.bench.zero_point())
    inputs = [second[0], first[0]] if choose.pick((False, True)) else [first[0], second[0]]
    net.add("ADD", inputs, y[0], ops.Arithmetic(choose.pick(FUSED)))
    return net.case("CONV_2D, ADD", [y[0]])


def pad_conv(choose: Chooser) -> Case:
    """PAD in front of a convolution, with VALID or SAME padding, sometimes with the padded map as an output."""
    net = Network(choose)
    edges = [(choose.pick((0, 1, 2, 3)), choose.pick((0, 1, 2, 3))) for _ in range(2)]
    shape = (1, choose.pick(SIZES[2:]), choose.pick(SIZES[2:]), choose.pick(CHANNELS))
    x = net.input(shape)
    padded = net.tensor((1, shape[1] + sum(edges[0]), shape[2] + sum(edges[1]), shape[3]), *x[1:])
    net.add("PAD", [x[0], net.bench.constant([(0, 0), *edges, (0, 0)])], padded[0], ops.NoAttributes())
    size = (min(choose.pick(KERNELS), net.shapes[padded[0]][1]), min(choose.pick(KERNELS), net.shapes[padded[0]][2]))
    padding = choose.pick((Padding.VALID, Padding.VALID, Padding.SAME))
    stride = (choose.pick(STRIDES), choose.pick(STRIDES))
    attributes = ops.Conv2D(stride, padding, activation=choose.pick(FUSED))
    if choose.pick((False, False, True)):
        y = net.depthwise(padded, size, ops.DepthwiseConv2D(stride, padding, activation=attributes.activation))
    else:
        y = net.conv(padded, choose.pick(CHANNELS), size, attributes)
    return net.case("PAD, CONV_2D", [y[0], padded[0]] if choose.pick((False, False, True)) else [y[0]])


def conv_activation(choose: Chooser) -> Case:
    """A convolution, and a rectifier of the same or another scale."""
    net = Network(choose)
    x = net.input((1, choose.pick(SIZES), choose.pick(SIZES), choose.pick(CHANNELS)))
    first = net.conv(x, choose.pick(CHANNELS), choose.pick(((1, 1), (3, 3))))
    scale = first[1] * choose.pick((1.0, 1.0, 0.7))
    y = net.tensor(net.shapes[first[0]], scale, first[2])
    net.add(choose.pick(CLAMPS), [first[0]], y[0], ops.NoAttributes())
    return net.case("CONV_2D, RELU", [y[0], first[0]] if choose.pick((False, False, True)) else [y[0]])


def flattened(choose: Chooser) -> Case:
    """A map that a fully connected layer reads as a row, behind RESHAPE or without."""
    net = Network(choose, SCHEMES[:2])
    shape = (1, choose.pick((1, 2, 3, 5, 7)), choose.pick((1, 2, 4, 7)), choose.pick(CHANNELS))
    x, units = net.input(shape), choose.pick((1, 10, 16, 33))
    if choose.pick((True, False)):
        x = net.conv(x, shape[3])
    row = x
    if choose.pick((True, True, False)):
        row = net.tensor((1, math.prod(shape)), *x[1:])
        net.add("RESHAPE", [x[0], net.bench.constant([1, -1])], row[0], ops.NoAttributes())
    activation = choose.pick(FUSED)
    found = weigh(net.bench, row, (units, math.prod(shape)), 0, math.prod(shape), activation)
    y = net.bench.output((1, units), found.mean, found.spread)
    inputs = [row[0], found.weights, found.bias]
    net.bench.builder.operator("FULLY_CONNECTED", inputs, [y], ops.FullyConnected(activation))
    return net.case("RESHAPE, FULLY_CONNECTED", [y])


def joined(choose: Chooser) -> Case:
    """Convolutions and inputs that are joined, joined again, and read by another convolution."""
    net = Network(choose)
    rows, columns = choose.pick(SIZES), choose.pick(SIZES)
    axis = choose.pick((3, 3, 3, -1, 1, 2))
    x = net.input((1, rows, columns, choose.pick(CHANNELS)))
    like = (net.bench.scale(), net.bench.zero_point())
    groups = (16, 32, 48, 64) if choose.pick((True, True, False)) else CHANNELS
    same = choose.pick(groups)
    made = [
        net.conv(x, choose.pick(groups) if axis in {3, -1} else same, like=like) for _ in range(choose.pick((2, 3)))
    ]
    if choose.pick((False, True)):
        extra = net.bench.input((1, rows, columns, same), like)
        net.shapes[extra[0]] = (1, rows, columns, same)
        net.given.append(extra[0])
        made.insert(choose.integer(0, len(made)), extra)
    if choose.pick((False, True)):
        made.reverse()
    outputs = []
    for again in choose.pick(((False,), (True, False))):
        shape = [1, rows, columns, same]
        shape[axis] = sum(net.shapes[part[0]][axis] for part in made)
        whole = net.tensor(tuple(shape), *like)
        net.add("CONCATENATION", [part[0] for part in made], whole[0], ops.Concatenation(axis))
        if choose.pick((False, True)):
            outputs.append(made[0][0])
        last = whole
        if not again or axis not in {3, -1}:
            break
        made = [whole, net.conv(x, choose.pick(groups), like=like)]
    y = net.conv(last, choose.pick((5, 16)))
    given = set(net.given)
    return net.case(
        "CONCATENATION", [y[0], last[0], *(n for n in dict.fromkeys(outputs) if n not in {*given, last[0]})]
    )


PAIRS: dict[str, Callable[[Chooser], Case]] = {
    family.__name__: family for family in (conv_add, pad_conv, conv_activation, flattened, joined)
}


def pair(family: str, seed: int) -> Case:
    """Make the model of a family that belongs to a seed."""
    return PAIRS[family](Seeded(seed))


@st.composite
def pairs(draw: Callable[[Any], Any], *families: str) -> Case:
    """Models of the named families, or of all."""
    family = draw(st.sampled_from(families or tuple(PAIRS)))
    return PAIRS[family](Drawn(draw))
