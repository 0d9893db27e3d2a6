"""The output shapes that an operator's inputs and attributes imply, with TFLite's meanings.

One function a family of operators. Each takes the operator and its tensors, checks that the inputs fit one another,
and returns the shape of every output, or None where it depends on values that the model does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from rocketnpu.errors import ModelError
from rocketnpu.graph import operators as ops
from rocketnpu.graph.moved_shapes import MOVED
from rocketnpu.graph.needs import Shape, Tensors, axis_of, need, shape_of, values_of
from rocketnpu.graph.operators import Operator, Padding

Rule = Callable[[Operator, Tensors, Tensors], "list[Shape] | None"]
_MAX_STEP = 1 << 15
"""Strides and dilations beyond this are refused by LiteRT's convolutions (int16); a larger kernel stalls its pools."""


def output_shapes(operator: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    """Return the shapes of an operator's outputs, or None where they cannot be known from the graph.

    Raises:
        ModelError: the inputs' shapes or values contradict one another or the attributes.
    """
    rule = _RULES.get(operator.kind)
    return None if rule is None else rule(operator, inputs, outputs)


def window(size: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    """Return how many positions a window has along an axis of ``size``.

    Raises:
        ModelError: a number is not positive, or the window has no position at all.
    """
    need(0 < kernel < _MAX_STEP, f"kernel {kernel} is not positive, or too large")
    need(0 < stride < _MAX_STEP and 0 < dilation < _MAX_STEP, f"stride {stride} or dilation {dilation} out of range")
    extent = (kernel - 1) * dilation + 1
    positions = -(-size // stride) if padding is Padding.SAME else (size - extent) // stride + 1
    need(positions > 0, f"a window of {extent} has no place in {size}")
    return positions


def _bias(inputs: Tensors, position: int, channels: int) -> None:
    bias = inputs[position] if position < len(inputs) else None
    if bias is not None:
        need(bias.elements == channels, f"the bias has {bias.elements} values for {channels} output channels")


def _slide(shape: Shape, kernel: Sequence[int], attributes: ops.Conv2D | ops.DepthwiseConv2D) -> tuple[int, int]:
    pads = attributes.pads or ((0, 0), (0, 0))
    need(attributes.pads is None or attributes.padding is Padding.VALID, "explicit padding beside SAME")
    return cast(
        tuple[int, int],
        tuple(
            window(
                shape[1 + a] + sum(pads[a]), kernel[a], attributes.stride[a], attributes.dilation[a], attributes.padding
            )
            for a in (0, 1)
        ),
    )


def _conv(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    return [_conv_shape(cast(ops.Conv2D, operator.attributes), inputs, 2)]


def _conv_shape(attributes: ops.Conv2D, inputs: Tensors, bias: int) -> Shape:
    x, weights = shape_of(inputs, 0, 4), shape_of(inputs, 1, 4)
    channels, per_group = weights[0], weights[3]
    need(per_group > 0 and x[3] % per_group == 0, f"weights {weights} do not fit features {x}")
    need(x[3] > 0 and channels % (x[3] // per_group) == 0, f"{channels} kernels do not split into groups")
    _bias(inputs, bias, channels)
    return (x[0], *_slide(x, weights[1:3], attributes), channels)


def _conv_add(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    shape = _conv_shape(cast(ops.ConvAdd, operator.attributes).convolution, inputs, 3)
    need(shape_of(inputs, 2) == shape, f"an addend of shape {shape_of(inputs, 2)} for a convolution of {shape}")
    return [shape]


def _depthwise(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    x, weights = shape_of(inputs, 0, 4), shape_of(inputs, 1, 4)
    need(weights[0] == 1, f"depthwise weights {weights} do not begin with 1")
    need(x[3] > 0 and weights[3] % x[3] == 0, f"weights {weights} do not fit features {x}")
    _bias(inputs, 2, weights[3])
    return [(x[0], *_slide(x, weights[1:3], cast(ops.DepthwiseConv2D, operator.attributes)), weights[3])]


def _transpose_conv(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    attributes = cast(ops.TransposeConv, operator.attributes)
    weights, x, wanted = shape_of(inputs, 1, 4), shape_of(inputs, 2, 4), values_of(inputs, 0)
    need(weights[3] == x[3], f"weights {weights} do not fit features {x}")
    _bias(inputs, 3, weights[0])
    if wanted is None:
        return None
    need(len(wanted) == 4 and min(wanted) > 0, f"{wanted} is no output shape")
    for a in (1, 2):
        back = window(wanted[a], weights[a], attributes.stride[a - 1], 1, attributes.padding)
        need(back == x[a], f"an output of {wanted} does not come from features {x}")
    need(wanted[0] == x[0] and wanted[3] == weights[0], f"output {wanted} fits neither {x} nor weights {weights}")
    return [tuple(wanted)]


def _fully_connected(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    attributes = cast(ops.FullyConnected, operator.attributes)
    x, (units, depth) = shape_of(inputs, 0), shape_of(inputs, 1, 2)
    need(depth > 0 and math.prod(x) % depth == 0, f"features {x} do not split into rows of {depth}")
    _bias(inputs, 2, units)
    if attributes.keep_dims:
        need(bool(x) and x[-1] == depth, f"features {x} do not end in {depth}")
        return [(*x[:-1], units)]
    return [(math.prod(x) // depth, units)]


def _pool(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    attributes, x = cast(ops.Pool2D, operator.attributes), shape_of(inputs, 0, 4)
    pads = attributes.pads or ((0, 0), (0, 0))
    need(attributes.pads is None or attributes.padding is Padding.VALID, "explicit padding beside SAME")
    rows, columns = (
        window(x[1 + a] + sum(pads[a]), attributes.kernel[a], attributes.stride[a], 1, attributes.padding)
        for a in (0, 1)
    )
    return [(x[0], rows, columns, x[3])]


def _elementwise(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    shapes = [shape_of(inputs, 0), shape_of(inputs, 1)]
    try:
        return [np.broadcast_shapes(*shapes)]
    except ValueError:
        raise ModelError(f"{shapes[0]} and {shapes[1]} do not broadcast") from None


def _same(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    return [shape_of(inputs, 0)]


def _softmax(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    need(bool(shape_of(inputs, 0)), "SOFTMAX of a scalar")
    return [shape_of(inputs, 0)]


def _prelu(operator: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    need(_elementwise(operator, inputs, outputs) == [shape_of(inputs, 0)], "the slopes do not fit the features")
    return [shape_of(inputs, 0)]


def _concatenation(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    shapes = [shape_of(inputs, position) for position in range(len(inputs))]
    axis = axis_of(cast(ops.Concatenation, operator.attributes).axis, len(shapes[0]))
    rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    need(len(rests) == 1 and len({len(shape) for shape in shapes}) == 1, f"{shapes} do not join along axis {axis}")
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _reduce(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    x, axes = shape_of(inputs, 0), values_of(inputs, 1)
    if axes is None:
        return None
    gone = {axis_of(axis, len(x)) for axis in axes}
    if cast(ops.Reduce, operator.attributes).keep_dims:
        return [tuple(1 if axis in gone else size for axis, size in enumerate(x))]
    return [tuple(size for axis, size in enumerate(x) if axis not in gone)]


def _resize(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, size = shape_of(inputs, 0, 4), values_of(inputs, 1)
    if size is None:
        return None
    need(len(size) == 2 and min(size) > 0 and min(x) > 0, f"{x} cannot be resized to {size}")
    return [(x[0], *size, x[3])]


UNARY: tuple[str, ...] = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH", "LOGISTIC", "TANH", "QUANTIZE"),
    *("DEQUANTIZE", "CAST", "ABS", "NEG", "EXP", "SQRT", "RSQRT", "LOG", "LOG_SOFTMAX", "SQUARE", "FLOOR", "CEIL"),
    *("ROUND", "SIN", "COS", "LOGICAL_NOT", "L2_NORMALIZATION", "LOCAL_RESPONSE_NORMALIZATION"),
    "BYTE_FUNCTION",
)
"""Operators of one input whose output has its shape."""
_RULES: dict[str, Rule] = {
    "CONV_2D": _conv,
    ops.CONV_ADD: _conv_add,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"), _elementwise),
    "CONCATENATION": _concatenation,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduce),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    **dict.fromkeys(UNARY, _same),
    "SOFTMAX": _softmax,
    "PRELU": _prelu,
    **MOVED,
}
