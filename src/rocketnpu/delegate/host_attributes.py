"""The option structures of a host's nodes, read into our operators' attributes.

The twin of :mod:`rocketnpu.model.attributes`, which reads the same facts from a file. Activations have the same numbers
in both, paddings have not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rocketnpu.delegate.abi import ffi
from rocketnpu.errors import ModelError
from rocketnpu.graph import Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import Attributes
from rocketnpu.model.attributes import activation

_SYMMETRIC = 2
"""The host's number of MIRROR_PAD's symmetric mode."""
_PADDINGS = {1: Padding.SAME, 2: Padding.VALID}


def _padding(code: int) -> Padding:
    if code not in _PADDINGS:
        raise ModelError(f"unknown padding {code}")
    return _PADDINGS[code]


def _stride(found: Any) -> tuple[int, int]:
    return found.stride_height, found.stride_width


def _dilation(found: Any) -> tuple[int, int]:
    return found.dilation_height, found.dilation_width


def _conv(found: Any) -> Attributes:
    return ops.Conv2D(_stride(found), _padding(found.padding), _dilation(found), activation(found.activation))


def _depthwise(found: Any) -> Attributes:
    return ops.DepthwiseConv2D(
        _stride(found),
        _padding(found.padding),
        _dilation(found),
        activation(found.activation),
        found.depth_multiplier,
    )


def _transpose_conv(found: Any) -> Attributes:
    return ops.TransposeConv(_stride(found), _padding(found.padding), activation(found.activation))


def _pool(found: Any) -> Attributes:
    size = (found.height, found.width)
    return ops.Pool2D(_stride(found), _padding(found.padding), size, activation(found.activation))


def _fully_connected(found: Any) -> Attributes:
    return ops.FullyConnected(activation(found.activation), found.keep_dims, found.format != 0)


def _arithmetic(found: Any) -> Attributes:
    return ops.Arithmetic(activation(found.activation))


def _concatenation(found: Any) -> Attributes:
    return ops.Concatenation(found.axis, activation(found.activation))


def _reduce(found: Any) -> Attributes:
    return ops.Reduce(found.keep_dims)


def _resize(found: Any) -> Attributes:
    return ops.Resize(found.align_corners, found.half_pixel_centers)


def _strided_slice(found: Any) -> Attributes:
    return ops.StridedSlice(found.begin, found.end, found.ellipsis, found.new_axis, found.shrink_axis, found.offset)


def _squeeze(found: Any) -> Attributes:
    if not 0 <= found.count <= len(found.axes):
        raise ModelError(f"SQUEEZE of {found.count} dimensions")
    return ops.Squeeze(tuple(found.axes[place] for place in range(found.count)))


_READERS: dict[str, tuple[str, Callable[[Any], Attributes]]] = {
    "CONV_2D": ("ConvOptions", _conv),
    "DEPTHWISE_CONV_2D": ("DepthwiseOptions", _depthwise),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _transpose_conv),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _fully_connected),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), ("PoolOptions", _pool)),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), ("ActivationOptions", _arithmetic)),
    "CONCATENATION": ("ConcatenationOptions", _concatenation),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"),
        ("ReducerOptions", _reduce),
    ),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), ("ResizeOptions", _resize)),
    "LEAKY_RELU": ("LeakyReluOptions", lambda found: ops.LeakyRelu(found.alpha)),
    "SOFTMAX": ("SoftmaxOptions", lambda found: ops.Softmax(found.beta)),
    "GELU": ("GeluOptions", lambda found: ops.Gelu(found.approximate)),
    "STRIDED_SLICE": ("StridedSliceOptions", _strided_slice),
    "PACK": ("PackOptions", lambda found: ops.Pack(found.axis)),
    "UNPACK": ("PackOptions", lambda found: ops.Pack(found.axis)),
    "GATHER": ("GatherOptions", lambda found: ops.Gather(found.axis, found.batch_dims)),
    "SQUEEZE": ("SqueezeOptions", _squeeze),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), ("BlockOptions", lambda found: ops.Block(found.size))),
    "MIRROR_PAD": ("MirrorPadOptions", lambda found: ops.MirrorPad(found.mode == _SYMMETRIC)),
}


def read_attributes(kind: str, options: Any) -> Attributes:
    """Read the options of a node: ``kind`` is TFLite's operator name, ``options`` the host's ``void *``.

    Raises:
        ModelError: the host has no options for an operator that means nothing without them, or they name unknown
            values.
    """
    if kind not in _READERS:
        return ops.NoAttributes()
    name, reader = _READERS[kind]
    if options == ffi.NULL:
        raise ModelError(f"the host holds no options for {kind}")
    return reader(ffi.cast(f"{name} *", options))
