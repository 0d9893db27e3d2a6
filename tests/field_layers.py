"""Layers of quantised networks with random weights, for models such as are found in the field.

Real values are kept in a usual range: features have a spread of about 1, weights one that keeps it so, and what has
an activation up to 6 is quantised from 0 to 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

PLAIN = ops.NoAttributes()
RELU6 = Activation.RELU6
NONE = Activation.NONE
LINEAR = (-4.0, 4.0)
"""Range of features without activation."""
UNIT = (-1.0, 1.0)
PROBABILITY = (0.0, 255 / 256)
"""Range of LOGISTIC and SOFTMAX; LiteRT wants exactly this one."""


class Layers(ModelBuilder):
    """Adds layers; ``scheme`` is ``uint8`` (per tensor) or ``int8`` (per channel)."""

    def __init__(self, scheme: str, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)
        self.dtype = DType(scheme)
        self.lowest = int(np.iinfo(scheme).min)
        self.per_channel = self.dtype is DType.INT8
        self.reals: dict[int, tuple[tuple[int, ...], float]] = {}
        """Shape and scale of each tensor of features."""

    def features(self, shape: Sequence[int], reals: tuple[float, float] = LINEAR, dtype: DType | None = None) -> int:
        """Add a quantised tensor that holds a range of real numbers."""
        scale = float(np.float32((reals[1] - reals[0]) / 255))
        zero_point = self.lowest + round(-reals[0] / scale)
        number = self.tensor(shape, dtype or self.dtype, scale=scale, zero_point=zero_point)
        self.reals[number] = tuple(shape), scale
        return number

    def numbers(self, values: Any) -> int:
        """Add constant whole numbers."""
        array = np.asarray(values, np.int32)
        return self.tensor(array.shape, DType.INT32, data=array)

    def weights(self, source: int, shape: Sequence[int], axis: int) -> list[int]:
        """Add weights and a bias; ``axis`` is that of the output channels."""
        fan_in = int(np.prod(shape)) // shape[axis]
        real = self.random.normal(0, 1.0 / np.sqrt(fan_in), shape)
        sizes = self.random.uniform(0.5, 2, shape[axis])
        real *= np.expand_dims(sizes, [place for place in range(len(shape)) if place != axis])
        others = tuple(place for place in range(len(shape)) if place != axis)
        largest = np.abs(real).max(others, keepdims=True) if self.per_channel else np.abs(real).max(keepdims=True)
        scales = (largest / 127).astype(np.float32)
        values = np.rint(real / scales).astype(int)
        zero_point = 0 if self.per_channel else 127
        kernel = self.tensor(
            shape, self.dtype, scale=scales.reshape(-1), zero_point=zero_point, axis=axis, data=values + zero_point
        )
        steps = scales.reshape(-1).astype(np.float64) * self.reals[source][1]
        biases = np.rint(self.random.normal(0.1, 0.2, shape[axis]) / steps).astype(np.int32)
        bias = self.tensor((shape[axis],), DType.INT32, scale=steps, data=biases)
        return [source, kernel, bias]

    def conv(
        self,
        source: int,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        activation: Activation = RELU6,
        padding: Padding = Padding.SAME,
        reals: tuple[float, float] = LINEAR,
    ) -> int:
        """Add a convolution."""
        shape = self.reals[source][0]
        inputs = self.weights(source, (channels, *kernel, shape[3]), 0)
        target = self.features(
            (1, *_positions(shape, kernel, stride, padding), channels), (0, 6) if activation is RELU6 else reals
        )
        self.operator("CONV_2D", inputs, [target], ops.Conv2D(stride, padding, activation=activation))
        return target

    def depthwise(
        self, source: int, kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1), dilation: int = 1
    ) -> int:
        """Add a depthwise convolution with ReLU6."""
        shape = self.reals[source][0]
        inputs = self.weights(source, (1, *kernel, shape[3]), 3)
        target = self.features((1, *_positions(shape, kernel, stride, Padding.SAME), shape[3]), (0, 6))
        attributes = ops.DepthwiseConv2D(stride, Padding.SAME, (dilation, dilation), RELU6)
        self.operator("DEPTHWISE_CONV_2D", inputs, [target], attributes)
        return target

    def separable(self, source: int, channels: int, stride: int = 1, dilation: int = 1) -> int:
        """Add a depthwise convolution of 3x3 and one of 1x1 behind it."""
        return self.conv(self.depthwise(source, stride=(stride, stride), dilation=dilation), channels)

    def bottleneck(self, source: int) -> int:
        """Add an inverted residual block."""
        channels = self.reals[source][0][3]
        inside = self.depthwise(self.conv(source, 4 * channels))
        return self.add(self.conv(inside, channels, activation=NONE), source)

    def add(self, one: int, other: int) -> int:
        """Add two feature maps."""
        target = self.features(self.reals[one][0], (-6, 6))
        self.operator("ADD", [one, other], [target], ops.Arithmetic())
        return target

    def dense(self, source: int, units: int) -> int:
        """Add a fully connected layer."""
        inputs = self.weights(source, (units, int(np.prod(self.reals[source][0]))), 0)
        target = self.features((1, units))
        self.operator("FULLY_CONNECTED", inputs, [target], ops.FullyConnected())
        return target

    def resize(self, source: int, size: int, kind: str = "RESIZE_BILINEAR") -> int:
        """Resize a map to ``size`` rows and columns."""
        shape = self.reals[source][0]
        target = self.alike(source, (1, size, size, shape[3]))
        self.operator(kind, [source, self.numbers([size, size])], [target], ops.Resize(half_pixel_centers=True))
        return target

    def reshape(self, source: int, shape: Sequence[int]) -> int:
        """Give a tensor another shape."""
        target = self.alike(source, shape)
        self.operator("RESHAPE", [source, self.numbers(shape)], [target])
        return target

    def concatenate(self, sources: Sequence[int], axis: int) -> int:
        """Join tensors of one scale."""
        shapes = [self.reals[source][0] for source in sources]
        joined = list(shapes[0])
        joined[axis] = sum(shape[axis] for shape in shapes)
        target = self.alike(sources[0], joined)
        self.operator("CONCATENATION", sources, [target], ops.Concatenation(axis))
        return target

    def unary(self, kind: str, source: int, reals: tuple[float, float], attributes: Any = PLAIN) -> int:
        """Add an operator that changes each value."""
        target = self.features(self.reals[source][0], reals)
        self.operator(kind, [source], [target], attributes)
        return target

    def quantised(self, shape: Sequence[int], reals: tuple[float, float] = UNIT) -> tuple[int, int]:
        """Add a float input and the QUANTIZE behind it; returns both tensors."""
        source, target = self.tensor(shape, DType.FLOAT32), self.features(shape, reals)
        self.operator("QUANTIZE", [source], [target])
        return source, target

    def dequantised(self, source: int) -> int:
        """Add a DEQUANTIZE; returns the float output."""
        target = self.tensor(self.reals[source][0], DType.FLOAT32)
        self.operator("DEQUANTIZE", [source], [target])
        return target

    def alike(self, source: int, shape: Sequence[int]) -> int:
        """Add a tensor with the quantisation of another."""
        found = self._get(source).quantisation
        assert found is not None
        number = self.tensor(shape, self.dtype, scale=found.scale, zero_point=found.zero_point)
        self.reals[number] = tuple(shape), found.scale
        return number


def _positions(
    shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> tuple[int, ...]:
    if padding is Padding.SAME:
        return tuple(-(-shape[1 + axis] // stride[axis]) for axis in (0, 1))
    return tuple((shape[1 + axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
