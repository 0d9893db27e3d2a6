"""Rules of operators that move values or change a shape."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph import Activation, DType, Graph, Operator
from rocketnpu.graph.maps import AXES, joined_axis, map_ranges, map_shape
from rocketnpu.graph.operators import Concatenation
from rocketnpu.graph.passes.fold_padding import pad_value, paddings
from rocketnpu.partition.rules.tensors import equal_scales, features, input_tensor


def constant_paddings(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Paddings and their value are constant, and the batch is not padded."""
    edges, value = paddings(graph, operator), pad_value(graph, operator)
    if edges is None or value is None:
        return "they are computed at run time"
    batch = edges[:-3] if len(edges) > 3 else []
    return f"the batch is padded by {batch[0]}" if any(map(any, batch)) else None


def joins_a_map(graph: Graph, operator: Operator, soc: object) -> str | None:
    """It joins channels, rows or columns, and has no fused activation."""
    assert isinstance(operator.attributes, Concatenation)
    if operator.attributes.activation is not Activation.NONE:
        return str(operator.attributes.activation.value)
    axis = joined_axis(graph, operator)
    return None if axis in AXES else f"axis {operator.attributes.axis}"


def one_scale_if_signed(graph: Graph, operator: Operator, soc: object) -> str | None:
    """INT8 inputs have the output's scale and zero point: LiteRT refuses others, and rescales UINT8 only."""
    signed = graph.tensors[operator.outputs[0]].dtype is DType.INT8
    return equal_scales(graph, operator, soc) if signed else None


def known_slices(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Slices are constant ranges of step 1 of rows, columns and channels."""
    ranges, source = map_ranges(graph, operator), map_shape(features(graph, operator)[0])
    if ranges is None or source is None:
        return "they are no such ranges"
    for part in ranges:
        if 0 in (part.rows[1], part.columns[1], part.channels[1]):
            return "an empty slice"
    return None


def known_shape(graph: Graph, operator: Operator, soc: object) -> str | None:
    """The new shape is constant."""
    shape = input_tensor(graph, operator, 1)
    return None if shape is None or shape.is_constant else f"tensor {shape.index} is computed"


def over_the_map(graph: Graph, operator: Operator, soc: object) -> str | None:
    """The mean is over rows, columns or both, of a tensor of four dimensions."""
    axes = input_tensor(graph, operator, 1)
    source = features(graph, operator)[0]
    if axes is None or axes.data is None or len(source.shape) != 4:
        return f"input of shape {source.shape}"
    found = sorted({int(axis) % 4 for axis in np.ravel(axes.data).astype(np.int64)})
    return None if found in ([1], [2], [1, 2]) else f"axes {found}"
