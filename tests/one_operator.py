"""One small model for each kind of operator that the NPU takes, with any quantisation of its input and its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

Affine = tuple[float, int]
"""A scale and a zero point."""
SHAPE = (1, 4, 6, 16)


@dataclass
class Sketch:
    """A model under construction: its input, the quantisation of its output, and what adds constants."""

    dtype: DType
    given: Affine
    made: Affine
    weight_zero_point: int = 0

    def __post_init__(self) -> None:
        self.builder, self.random = ModelBuilder(), np.random.default_rng(3)
        self.source = self.feature(SHAPE, self.given)

    def feature(self, shape: Sequence[int], affine: Affine) -> int:
        return self.builder.tensor(shape, self.dtype, scale=affine[0], zero_point=affine[1])

    def integers(self, values: object) -> int:
        array = np.array(values, np.int32)
        return self.builder.tensor(array.shape, DType.INT32, data=array)

    def weights(self, *shape: int) -> int:
        signed = self.dtype is DType.INT8
        values = self.random.integers(-90, 90, shape) + (0 if signed else 128)
        zero_point = self.weight_zero_point + (0 if signed else 128)
        return self.builder.tensor(shape, self.dtype, scale=0.01, zero_point=zero_point, data=values)

    def bias(self, channels: int) -> int:
        return self.builder.tensor((channels,), DType.INT32, scale=0.01 * self.given[0], data=np.arange(channels) * 9)

    def finish(
        self, kind: str, inputs: Sequence[int], shapes: Sequence[Sequence[int]], attributes: Any = None
    ) -> bytes:
        outputs = [self.feature(shape, self.made) for shape in shapes]
        self.builder.operator(kind, inputs, outputs, attributes or ops.NoAttributes())
        return self.builder.build([self.source], outputs)


def _same(attributes: Any = None) -> Callable[[Sketch, str], bytes]:
    return lambda sketch, kind: sketch.finish(kind, [sketch.source], [SHAPE], attributes)


def _convolution(sketch: Sketch, kind: str) -> bytes:
    if kind == "CONV_2D":
        inputs = [sketch.source, sketch.weights(8, 3, 3, 16), sketch.bias(8)]
        return sketch.finish(kind, inputs, [(1, 4, 6, 8)], ops.Conv2D((1, 1), Padding.SAME))
    if kind == "DEPTHWISE_CONV_2D":
        inputs = [sketch.source, sketch.weights(1, 3, 3, 16), sketch.bias(16)]
        return sketch.finish(kind, inputs, [SHAPE], ops.DepthwiseConv2D((1, 1), Padding.SAME))
    inputs = [sketch.integers([1, 8, 12, 8]), sketch.weights(8, 2, 2, 16), sketch.source]
    return sketch.finish(kind, inputs, [(1, 8, 12, 8)], ops.TransposeConv((2, 2), Padding.SAME))


def _connected(sketch: Sketch, kind: str) -> bytes:
    sketch.builder = ModelBuilder()
    sketch.source = sketch.feature((1, 32), sketch.given)
    return sketch.finish(kind, [sketch.source, sketch.weights(8, 32), sketch.bias(8)], [(1, 8)], ops.FullyConnected())


def _pair(sketch: Sketch, kind: str) -> bytes:
    values = sketch.random.integers(*((-100, 100) if sketch.dtype is DType.INT8 else (20, 230)), SHAPE)
    other = sketch.builder.tensor(SHAPE, sketch.dtype, scale=sketch.given[0], zero_point=sketch.given[1], data=values)
    attributes = None if kind in ("MAXIMUM", "MINIMUM") else ops.Arithmetic()
    return sketch.finish(kind, [sketch.source, other], [SHAPE], attributes)


def _pool(sketch: Sketch, kind: str) -> bytes:
    return sketch.finish(kind, [sketch.source], [(1, 2, 3, 16)], ops.Pool2D((2, 2), Padding.VALID, (2, 2)))


def _mean(sketch: Sketch, kind: str) -> bytes:
    return sketch.finish(kind, [sketch.source, sketch.integers([1, 2])], [(1, 1, 1, 16)], ops.Reduce(keep_dims=True))


def _parametric(sketch: Sketch, kind: str) -> bytes:
    return sketch.finish(kind, [sketch.source, sketch.weights(1, 1, 16)], [SHAPE])


def _resized(sketch: Sketch, kind: str) -> bytes:
    return sketch.finish(kind, [sketch.source, sketch.integers([8, 12])], [(1, 8, 12, 16)], ops.Resize())


def _padded(sketch: Sketch, kind: str) -> bytes:
    inputs = [sketch.source, sketch.integers([[0, 0], [1, 1], [2, 1], [0, 0]])]
    if kind == "PADV2":
        scale, zero = sketch.made
        inputs.append(sketch.builder.tensor((1,), sketch.dtype, scale=scale, zero_point=zero, data=[zero]))
    return sketch.finish(kind, inputs, [(1, 6, 9, 16)])


def _joined(sketch: Sketch, kind: str) -> bytes:
    other = sketch.feature(SHAPE, sketch.given)
    output = sketch.feature((1, 4, 6, 32), sketch.made)
    sketch.builder.operator(kind, [sketch.source, other], [output], ops.Concatenation(3))
    return sketch.builder.build([sketch.source, other], [output])


def _sliced(sketch: Sketch, kind: str) -> bytes:
    source, halves, half = sketch.source, [(1, 2, 6, 16)] * 2, [(1, 2, 6, 16)]
    if kind == "SPLIT":
        return sketch.finish(kind, [sketch.integers(1), source], halves)
    if kind == "SPLIT_V":
        return sketch.finish(kind, [source, sketch.integers([2, 2]), sketch.integers(1)], halves)
    begin, size = sketch.integers([0, 1, 0, 0]), sketch.integers([1, 2, 6, 16])
    if kind == "SLICE":
        return sketch.finish(kind, [source, begin, size], half)
    end = sketch.integers([1, 3, 6, 16])
    return sketch.finish(kind, [source, begin, end, sketch.integers([1, 1, 1, 1])], half, ops.StridedSlice())


def _viewed(sketch: Sketch, kind: str) -> bytes:
    """A view between two rectifiers, for a view alone is not handed over."""
    rectified = sketch.feature(SHAPE, sketch.given)
    sketch.builder.operator("RELU", [sketch.source], [rectified])
    inputs, shape, attributes = [rectified], (4, 6, 16), ops.NoAttributes()
    if kind == "RESHAPE":
        inputs, shape = [rectified, sketch.integers([1, 1, 24, 16])], (1, 1, 24, 16)
    elif kind == "EXPAND_DIMS":
        sketch.builder = ModelBuilder()
        sketch.source, rectified = (sketch.feature((1, 6, 16), sketch.given) for _ in range(2))
        sketch.builder.operator("RELU", [sketch.source], [rectified])
        inputs, shape = [rectified, sketch.integers(0)], (1, 1, 6, 16)
    seen, final = sketch.feature(shape, sketch.made), sketch.feature(shape, sketch.made)
    sketch.builder.operator(kind, inputs, [seen], attributes)
    sketch.builder.operator("RELU", [seen], [final])
    return sketch.builder.build([sketch.source], [final])


MAKERS: Mapping[str, Callable[[Sketch, str], bytes]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), _convolution),
    "FULLY_CONNECTED": _connected,
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), _pair),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    "MEAN": _mean,
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE", "LOGISTIC", "TANH", "HARD_SWISH"), _same()),
    **dict.fromkeys(("ELU", "EXP", "LOG", "RSQRT", "ABS"), _same()),
    "GELU": _same(ops.Gelu()),
    "LEAKY_RELU": _same(ops.LeakyRelu(0.1)),
    "PRELU": _parametric,
    **dict.fromkeys(("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"), _resized),
    **dict.fromkeys(("PAD", "PADV2"), _padded),
    "CONCATENATION": _joined,
    **dict.fromkeys(("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"), _sliced),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _viewed),
}


def one_operator(kind: str, dtype: DType, given: Affine, made: Affine, weight_zero_point: int = 0) -> bytes:
    """Make the model of a kind whose input and output have these scales and zero points.

    Weights and slopes have a zero point too, counted from the middle of their type.
    """
    return MAKERS[kind](Sketch(dtype, given, made, weight_zero_point), kind)
