"""Our operators' attributes, written as the option tables of a TFLite file.

The exact inverse of :mod:`rocketnpu.model.attributes`. Operators whose options this project never reads get theirs
from the shapes and types of their tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import Activation, Attributes, Padding
from rocketnpu.third_party import tflite_schema as schema

Tensors = Sequence[Tensor | None]


def _activation(activation: Activation) -> int:
    return int(getattr(schema.ActivationFunctionType, activation.value))


def _padding(padding: Padding) -> int:
    return int(getattr(schema.Padding, padding.value))


def _conv(kind: str, attributes: ops.Conv2D | ops.DepthwiseConv2D) -> Any:
    if attributes.pads is not None:
        raise UnsupportedError(f"{kind} with explicit padding {attributes.pads} has no place in a TFLite file")
    table = schema.Conv2DOptionsT() if kind == "CONV_2D" else schema.DepthwiseConv2DOptionsT()
    table.strideH, table.strideW = attributes.stride
    table.padding = _padding(attributes.padding)
    table.dilationHFactor, table.dilationWFactor = attributes.dilation
    table.fusedActivationFunction = _activation(attributes.activation)
    if isinstance(attributes, ops.DepthwiseConv2D):
        table.depthMultiplier = attributes.depth_multiplier
    return table


def _transpose_conv(_: str, attributes: ops.TransposeConv) -> Any:
    table = schema.TransposeConvOptionsT()
    table.strideH, table.strideW = attributes.stride
    table.padding = _padding(attributes.padding)
    table.fusedActivationFunction = _activation(attributes.activation)
    return table


def _fully_connected(_: str, attributes: ops.FullyConnected) -> Any:
    table = schema.FullyConnectedOptionsT()
    table.fusedActivationFunction = _activation(attributes.activation)
    table.keepNumDims = attributes.keep_dims
    table.weightsFormat = int(attributes.shuffled_weights)
    return table


def _pool(kind: str, attributes: ops.Pool2D) -> Any:
    if attributes.pads is not None:
        raise UnsupportedError(f"{kind} with explicit padding {attributes.pads} has no place in a TFLite file")
    table = schema.Pool2DOptionsT()
    table.strideH, table.strideW = attributes.stride
    table.filterHeight, table.filterWidth = attributes.kernel
    table.padding = _padding(attributes.padding)
    table.fusedActivationFunction = _activation(attributes.activation)
    return table


def _arithmetic(kind: str, attributes: ops.Arithmetic) -> Any:
    table = getattr(schema, f"{kind.title()}OptionsT")()
    table.fusedActivationFunction = _activation(attributes.activation)
    return table


def _concatenation(_: str, attributes: ops.Concatenation) -> Any:
    table = schema.ConcatenationOptionsT()
    table.axis = attributes.axis
    table.fusedActivationFunction = _activation(attributes.activation)
    return table


def _resize(kind: str, attributes: ops.Resize) -> Any:
    bilinear = kind == "RESIZE_BILINEAR"
    table = schema.ResizeBilinearOptionsT() if bilinear else schema.ResizeNearestNeighborOptionsT()
    table.alignCorners, table.halfPixelCenters = attributes.align_corners, attributes.half_pixel_centers
    return table


def _strided_slice(_: str, attributes: ops.StridedSlice) -> Any:
    table = schema.StridedSliceOptionsT()
    table.beginMask, table.endMask = attributes.begin_mask, attributes.end_mask
    table.ellipsisMask, table.newAxisMask = attributes.ellipsis_mask, attributes.new_axis_mask
    table.shrinkAxisMask, table.offset = attributes.shrink_axis_mask, attributes.offset
    return table


def _gather(_: str, attributes: ops.Gather) -> Any:
    table = schema.GatherOptionsT()
    table.axis, table.batchDims = attributes.axis, attributes.batch_dims
    return table


def _pack(attributes: ops.Pack, inputs: Tensors, _: Tensors) -> Any:
    table = schema.PackOptionsT()
    table.axis, table.valuesCount = attributes.axis, len(inputs)
    return table


def _unpack(attributes: ops.Pack, _: Tensors, outputs: Tensors) -> Any:
    table = schema.UnpackOptionsT()
    table.axis, table.num = attributes.axis, len(outputs)
    return table


def _single(table: Any, field: str, value: Any) -> Any:
    setattr(table, field, value)
    return table


_WRITERS: dict[str, tuple[type[Any], Callable[[str, Any], Any]]] = {
    "CONV_2D": (ops.Conv2D, _conv),
    "DEPTHWISE_CONV_2D": (ops.DepthwiseConv2D, _conv),
    "TRANSPOSE_CONV": (ops.TransposeConv, _transpose_conv),
    "FULLY_CONNECTED": (ops.FullyConnected, _fully_connected),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (ops.Pool2D, _pool)),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), (ops.Arithmetic, _arithmetic)),
    "CONCATENATION": (ops.Concatenation, _concatenation),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"),
        (ops.Reduce, lambda _, found: _single(schema.ReducerOptionsT(), "keepDims", found.keep_dims)),
    ),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), (ops.Resize, _resize)),
    "LEAKY_RELU": (ops.LeakyRelu, lambda _, found: _single(schema.LeakyReluOptionsT(), "alpha", found.alpha)),
    "SOFTMAX": (ops.Softmax, lambda _, found: _single(schema.SoftmaxOptionsT(), "beta", found.beta)),
    "GELU": (ops.Gelu, lambda _, found: _single(schema.GeluOptionsT(), "approximate", found.approximate)),
    "STRIDED_SLICE": (ops.StridedSlice, _strided_slice),
    "GATHER": (ops.Gather, _gather),
    "SQUEEZE": (
        ops.Squeeze,
        lambda _, found: _single(schema.SqueezeOptionsT(), "squeezeDims", np.array(found.axes, np.int32)),
    ),
    "DEPTH_TO_SPACE": (
        ops.Block,
        lambda _, found: _single(schema.DepthToSpaceOptionsT(), "blockSize", found.size),
    ),
    "SPACE_TO_DEPTH": (
        ops.Block,
        lambda _, found: _single(schema.SpaceToDepthOptionsT(), "blockSize", found.size),
    ),
    "MIRROR_PAD": (
        ops.MirrorPad,
        lambda _, found: _single(schema.MirrorPadOptionsT(), "mode", int(found.symmetric)),
    ),
}


def _reshape(_: Tensors, outputs: Tensors) -> Any:
    return _single(schema.ReshapeOptionsT(), "newShape", list(_known(outputs[0]).shape))


def _squeeze(inputs: Tensors, outputs: Tensors) -> Any:
    """List the axes of size 1 that the output lacks."""
    remaining = list(_known(outputs[0]).shape)
    dropped = []
    for axis, size in enumerate(_known(inputs[0]).shape):
        if remaining and remaining[0] == size:
            remaining.pop(0)
        else:
            dropped.append(axis)
    return _single(schema.SqueezeOptionsT(), "squeezeDims", dropped)


def _depth_and_space(inputs: Tensors, outputs: Tensors) -> Any:
    wide, high = _known(inputs[0]).shape[1], _known(outputs[0]).shape[1]
    table = schema.DepthToSpaceOptionsT() if high >= wide else schema.SpaceToDepthOptionsT()
    return _single(table, "blockSize", max(wide, high) // max(1, min(wide, high)))


def _split(_: Tensors, outputs: Tensors) -> Any:
    return _single(schema.SplitOptionsT(), "numSplits", len(outputs))


def _known(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise UnsupportedError("the operator's options follow from a tensor that is absent")
    return tensor


def _empty(name: str) -> Callable[[Tensors, Tensors], Any]:
    return lambda inputs, outputs: getattr(schema, f"{name}OptionsT")()


def _cast(inputs: Tensors, outputs: Tensors) -> Any:
    table = schema.CastOptionsT()
    table.inDataType, table.outDataType = (
        getattr(schema.TensorType, _known(tensors[0]).dtype.name) for tensors in (inputs, outputs)
    )
    return table


_COUNTED: dict[str, Callable[[ops.Pack, Tensors, Tensors], Any]] = {"PACK": _pack, "UNPACK": _unpack}
_DERIVED: dict[str, Callable[[Tensors, Tensors], Any]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "SPLIT": _split,
    "SPLIT_V": lambda _, outputs: _single(schema.SplitVOptionsT(), "numSplits", len(outputs)),
    "DEPTH_TO_SPACE": _depth_and_space,
    "SPACE_TO_DEPTH": _depth_and_space,
    "PAD": _empty("Pad"),
    "PADV2": _empty("PadV2"),
    "QUANTIZE": _empty("Quantize"),
    "DEQUANTIZE": _empty("Dequantize"),
    "HARD_SWISH": _empty("HardSwish"),
    "MAXIMUM": _empty("MaximumMinimum"),
    "MINIMUM": _empty("MaximumMinimum"),
    "EXPAND_DIMS": _empty("ExpandDims"),
    "SLICE": _empty("Slice"),
    "TRANSPOSE": _empty("Transpose"),
    "ABS": _empty("Abs"),
    "CAST": _cast,
    "SHAPE": lambda _, outputs: _single(
        schema.ShapeOptionsT(), "outType", getattr(schema.TensorType, _known(outputs[0]).dtype.name)
    ),
    "SPACE_TO_BATCH_ND": _empty("SpaceToBatchND"),
    "BATCH_TO_SPACE_ND": _empty("BatchToSpaceND"),
    "SQUARED_DIFFERENCE": _empty("SquaredDifference"),
    **{
        kind: _empty("".join(word.title() for word in kind.split("_")))
        for kind in ("FILL", "RANGE", "TILE", "BROADCAST_TO", "NEG", "SQUARE", "FLOOR_DIV", "RANK", "ZEROS_LIKE", "POW")
    },
    **dict.fromkeys(("SQRT", "FLOOR", "CEIL", "ROUND", "SIN", "COS", "BROADCAST_ARGS"), lambda *_: None),
    "EXP": _empty("Exp"),
    "LOG": lambda *_: None,
    "RSQRT": lambda *_: None,
    **dict.fromkeys(("LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "ELU", "PRELU"), lambda *_: None),
}


def options(kind: str, attributes: Attributes, inputs: Tensors, outputs: Tensors) -> Any:
    """Make the option table (a flatbuffer object, or None where the operator has none).

    ``inputs`` and ``outputs`` are the operator's tensors, None where an optional input is absent.

    Raises:
        UnsupportedError: the operator is not known, or the attributes are another operator's.
    """
    if kind in _COUNTED and isinstance(attributes, ops.Pack):
        return _COUNTED[kind](attributes, inputs, outputs)
    wanted, writer = _WRITERS.get(kind, (ops.NoAttributes, None))
    if writer is not None and isinstance(attributes, wanted):
        return writer(kind, attributes)
    if kind in _COUNTED or (writer is not None and kind not in _DERIVED):
        name = ops.Pack.__name__ if kind in _COUNTED else wanted.__name__
        raise UnsupportedError(f"{kind} takes {name} attributes, not {attributes!r}")
    if kind not in _DERIVED:
        raise UnsupportedError(f"the options of {kind} cannot be written; known are {', '.join(known_kinds())}")
    if not isinstance(attributes, ops.NoAttributes):
        raise UnsupportedError(f"{kind} takes no attributes, not {attributes!r}")
    return _DERIVED[kind](inputs, outputs)


def known_kinds() -> tuple[str, ...]:
    """Name the operators whose options can be written, in alphabetical order."""
    return tuple(sorted({*_WRITERS, *_DERIVED, *_COUNTED}))


_PLAIN = {
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "HARD_SWISH", "PRELU", "ELU", "DIV", "RELU_N1_TO_1", "DEPTH_TO_SPACE"),
    *("SHAPE", "RANK"),
}
_NONE_BEFORE_SECOND = {"BROADCAST_TO"}
_SECOND_FOR_UINT8 = {"LEAKY_RELU", "RELU", "RELU6", "GELU"}


def version(kind: str, attributes: Attributes, inputs: Tensors) -> int:
    """Return the operator version that first had what is asked for (TFLite's ``op_version.cc`` is the authority)."""
    present = [tensor for tensor in inputs if tensor is not None]
    dtypes = {tensor.dtype for tensor in present}
    rank = max((len(tensor.shape) for tensor in present), default=0)
    signed = DType.INT8 in dtypes
    special = _special_version(kind, attributes, inputs, signed)
    if special is not None:
        return special
    if kind in _PLAIN:
        return 1
    if kind in {"ADD", "SUB", "MUL"} and rank > 4:
        return 6 if kind == "MUL" else 4
    if kind in _NONE_BEFORE_SECOND or (kind in _SECOND_FOR_UINT8 and DType.UINT8 in dtypes):
        return 2
    return 2 if signed else 1


def _special_version(kind: str, attributes: Attributes, inputs: Tensors, signed: bool) -> int | None:
    if isinstance(attributes, ops.Conv2D | ops.DepthwiseConv2D):
        dilated = kind == "DEPTHWISE_CONV_2D" and attributes.dilation != (1, 1)
        return 3 if signed else 2 if dilated else 1
    if isinstance(attributes, ops.TransposeConv):
        return 4 if attributes.activation is not Activation.NONE else 3 if len(inputs) > 3 else 2 if signed else 1
    if isinstance(attributes, ops.FullyConnected):
        return _fully_connected_version(attributes, inputs, signed)
    if isinstance(attributes, ops.Resize):
        moved = attributes.half_pixel_centers or (kind == "RESIZE_NEAREST_NEIGHBOR" and attributes.align_corners)
        return 3 if moved else 2 if signed else 1
    if kind == "QUANTIZE":
        return 1 if cast(Tensor, inputs[0]).dtype is DType.FLOAT32 else 2
    return None


def _fully_connected_version(attributes: ops.FullyConnected, inputs: Tensors, signed: bool) -> int:
    weights = inputs[1]
    if weights is not None and weights.quantisation is not None and weights.quantisation.is_per_channel and signed:
        return 12
    if len(inputs) < 3 or inputs[2] is None:
        return 6
    if attributes.keep_dims:
        return 5
    return 4 if signed else 2 if attributes.shuffled_weights else 1
