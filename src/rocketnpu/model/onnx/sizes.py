"""Sizes that no model has, found before the onnx package's C++ works with them: it ends its process over some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from rocketnpu.errors import ModelError

if TYPE_CHECKING:
    import onnx

_MOST = (1 << 31) - 1
"""Largest size along an axis."""
_LARGEST_SCALE = 1 << 16
"""How many times larger Resize may make an axis."""
_WINDOW = ("kernel_shape", "strides", "dilations", "pads", "output_padding", "output_shape")
"""Attributes of windows: none of them holds a negative number."""


def check_sizes(graph: onnx.GraphProto, tensors: Iterable[onnx.TensorProto]) -> None:
    """Check the sizes that a graph declares; negative ones, which some exporters write, become open ones.

    Args:
        graph: is changed.
        tensors: all of its constants.

    Raises:
        ModelError: a size, a window or a factor is beyond what any model has.
    """
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.dim_value < 0:
                dim.ClearField("dim_value")
            elif dim.dim_value > _MOST:
                raise ModelError(f"{value.name!r} has a dimension of {dim.dim_value}")
    scales = {node.input[place] for node in graph.node if node.op_type in _ENLARGING for place in _places(node)}
    for tensor in tensors:
        if any(not 0 <= size <= _MOST for size in tensor.dims):
            raise ModelError(f"{tensor.name!r} has a shape of {list(tensor.dims)}")
        if tensor.name in scales:
            _check_scales(tensor)
    for node in graph.node:
        _check_window(node)


_ENLARGING = ("Resize", "Upsample")


def _places(node: onnx.NodeProto) -> list[int]:
    """Return where an enlarging node may be told its factors."""
    return [place for place in (1, 2) if place < len(node.input) and node.input[place]]


def _check_scales(tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    try:
        found = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"{tensor.name!r}: {' '.join(str(error).split())[:200]}") from None
    if found.dtype.kind == "f" and not np.all((found >= 0) & (found <= _LARGEST_SCALE)):
        raise ModelError(f"{tensor.name!r} enlarges by {found.reshape(-1)[:8].tolist()}")


def _check_window(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        numbers = attribute.ints if attribute.name in _WINDOW else ()
        if any(not 0 <= number <= _MOST for number in numbers) and node.op_type != "Pad":
            raise ModelError(f"{node.op_type} {node.name!r} has {attribute.name} {list(numbers)[:8]}")
