"""The option tables of a TFLite file, read into our operators' attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rocketnpu.errors import ModelError
from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import Activation, Attributes, Padding
from rocketnpu.third_party import tflite_schema as schema

_ACTIVATIONS = {getattr(schema.ActivationFunctionType, activation.value): activation for activation in Activation}
_PADDINGS = {schema.Padding.SAME: Padding.SAME, schema.Padding.VALID: Padding.VALID}


def activation(code: int) -> Activation:
    """Name a fused activation by TFLite's number.

    Raises:
        ModelError: there is no such activation.
    """
    if code not in _ACTIVATIONS:
        raise ModelError(f"unknown fused activation {code}")
    return _ACTIVATIONS[code]


def _padding(code: int) -> Padding:
    if code not in _PADDINGS:
        raise ModelError(f"unknown padding {code}")
    return _PADDINGS[code]


def _conv(table: Any) -> Attributes:
    return ops.Conv2D(
        (table.StrideH(), table.StrideW()),
        _padding(table.Padding()),
        (table.DilationHFactor(), table.DilationWFactor()),
        activation(table.FusedActivationFunction()),
    )


def _depthwise(table: Any) -> Attributes:
    return ops.DepthwiseConv2D(
        (table.StrideH(), table.StrideW()),
        _padding(table.Padding()),
        (table.DilationHFactor(), table.DilationWFactor()),
        activation(table.FusedActivationFunction()),
        table.DepthMultiplier(),
    )


def _transpose_conv(table: Any) -> Attributes:
    return ops.TransposeConv(
        (table.StrideH(), table.StrideW()),
        _padding(table.Padding()),
        activation(table.FusedActivationFunction()),
    )


def _fully_connected(table: Any) -> Attributes:
    return ops.FullyConnected(
        activation(table.FusedActivationFunction()), bool(table.KeepNumDims()), table.WeightsFormat() != 0
    )


def _pool(table: Any) -> Attributes:
    return ops.Pool2D(
        (table.StrideH(), table.StrideW()),
        _padding(table.Padding()),
        (table.FilterHeight(), table.FilterWidth()),
        activation(table.FusedActivationFunction()),
    )


def _arithmetic(table: Any) -> Attributes:
    return ops.Arithmetic(activation(table.FusedActivationFunction()))


def _concatenation(table: Any) -> Attributes:
    return ops.Concatenation(table.Axis(), activation(table.FusedActivationFunction()))


def _reduce(table: Any) -> Attributes:
    return ops.Reduce(bool(table.KeepDims()))


def _resize(table: Any) -> Attributes:
    return ops.Resize(bool(table.AlignCorners()), bool(table.HalfPixelCenters()))


def _strided_slice(table: Any) -> Attributes:
    return ops.StridedSlice(
        *(table.BeginMask(), table.EndMask(), table.EllipsisMask(), table.NewAxisMask(), table.ShrinkAxisMask()),
        bool(table.Offset()),
    )


def _squeeze(table: Any) -> Attributes:
    return ops.Squeeze(tuple(table.SqueezeDims(place) for place in range(table.SqueezeDimsLength())))


_READERS: dict[str, tuple[str, Callable[[Any], Attributes]]] = {
    "CONV_2D": ("Conv2DOptions", _conv),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _depthwise),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _transpose_conv),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _fully_connected),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _pool),
    "MAX_POOL_2D": ("Pool2DOptions", _pool),
    "ADD": ("AddOptions", _arithmetic),
    "SUB": ("SubOptions", _arithmetic),
    "MUL": ("MulOptions", _arithmetic),
    "DIV": ("DivOptions", _arithmetic),
    "CONCATENATION": ("ConcatenationOptions", _concatenation),
    "MEAN": ("ReducerOptions", _reduce),
    "SUM": ("ReducerOptions", _reduce),
    "REDUCE_MAX": ("ReducerOptions", _reduce),
    "REDUCE_MIN": ("ReducerOptions", _reduce),
    "REDUCE_ALL": ("ReducerOptions", _reduce),
    "REDUCE_ANY": ("ReducerOptions", _reduce),
    "REDUCE_PROD": ("ReducerOptions", _reduce),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _resize),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _resize),
    "LEAKY_RELU": ("LeakyReluOptions", lambda table: ops.LeakyRelu(table.Alpha())),
    "SOFTMAX": ("SoftmaxOptions", lambda table: ops.Softmax(table.Beta())),
    "GELU": ("GeluOptions", lambda table: ops.Gelu(bool(table.Approximate()))),
    "STRIDED_SLICE": ("StridedSliceOptions", _strided_slice),
    "PACK": ("PackOptions", lambda table: ops.Pack(table.Axis())),
    "UNPACK": ("UnpackOptions", lambda table: ops.Pack(table.Axis())),
    "GATHER": ("GatherOptions", lambda table: ops.Gather(table.Axis(), table.BatchDims())),
    "SQUEEZE": ("SqueezeOptions", _squeeze),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", lambda table: ops.Block(table.BlockSize())),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", lambda table: ops.Block(table.BlockSize())),
    "MIRROR_PAD": ("MirrorPadOptions", lambda table: ops.MirrorPad(table.Mode() == schema.MirrorPadMode.SYMMETRIC)),
}
_NEEDED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX"}
_COUNTED = {
    "SPLIT": ("SplitOptions", "NumSplits"),
    "SPLIT_V": ("SplitVOptions", "NumSplits"),
    "UNPACK": ("UnpackOptions", "Num"),
}
"""Operators whose options repeat the number of outputs; LiteRT trusts it."""


def read_attributes(kind: str, operator: Any) -> Attributes:
    """Read the options of a flatbuffer operator.

    Raises:
        ModelError: the options are missing where the operator means nothing without them, or name unknown values.
    """
    if kind in _COUNTED:
        type_name, field = _COUNTED[kind]
        count = getattr(_options(operator, type_name) or _Defaults(), field)()
        if count != operator.OutputsLength():
            raise ModelError(f"{kind} has {operator.OutputsLength()} outputs, its options say {count}")
    if kind not in _READERS:
        return ops.NoAttributes()
    type_name, reader = _READERS[kind]
    table = _options(operator, type_name)
    if table is None and kind in _NEEDED:
        raise ModelError(f"{kind} has no {type_name}")
    return reader(table or _Defaults())


def _options(operator: Any, type_name: str) -> Any:
    """Return the operator's option table, or None where it has none of this type."""
    union = operator.BuiltinOptions()
    if union is None or operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, type_name):
        return None
    table = getattr(schema, type_name)()
    table.Init(union.Bytes, union.Pos)
    return table


class _Defaults:
    """Stands for an options table that the file leaves out: every value is 0, as LiteRT takes it."""

    def __getattr__(self, _: str) -> Callable[[], int]:
        return lambda: 0
