"""Rules of operators that only move values: PAD, CONCATENATION, SPLIT and SLICE."""

from __future__ import annotations

from rocketnpu.graph import Activation, DType, Graph, Operator
from rocketnpu.graph.operators import Concatenation
from rocketnpu.graph.passes.fold_padding import pad_value, paddings
from rocketnpu.rockchip.lowering.context import map_shape
from rocketnpu.rockchip.lowering.placement import CHANNELS, COLUMNS, ROWS, joined_axis
from rocketnpu.rockchip.lowering.slices import map_ranges
from rocketnpu.rockchip.rules.common import COMMON, Rule, equal_scales, features, unquantised
from rocketnpu.rockchip.soc import Soc


def same_scale(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and outputs have the same scale and zero point."""
    source, *targets = features(graph, operator)
    assert source.quantisation is not None
    for tensor in targets:
        if not source.quantisation.same_as(tensor.quantisation):
            return f"{source.quantisation} and {tensor.quantisation}"
    return None


def constant_paddings(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Paddings and their value are constant, and the batch is not padded."""
    edges, value = paddings(graph, operator), pad_value(graph, operator)
    if edges is None or value is None:
        return "they are computed at run time"
    batch = edges[:-3] if len(edges) > 3 else []
    return f"the batch is padded by {batch[0]}" if any(map(any, batch)) else None


def joined_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """All inputs are computed or given, INT8 or UINT8 as the output, with one scale each, and maps of batch 1 of at
    most 2047 rows and columns and 8192 channels.
    """
    output = graph.tensors[operator.outputs[0]]
    for tensor in [*(graph.input_of(operator, position) for position in range(len(operator.inputs))), output]:
        if tensor.is_constant or tensor.is_dynamic:
            return f"tensor {tensor.index} is {'constant' if tensor.is_constant else 'of unknown shape'}"
        failed = unquantised(tensor)
        if failed or tensor.dtype is not output.dtype:
            return failed or f"{tensor.dtype.value} and {output.dtype.value}"
        shape = map_shape(tensor)
        if shape is None or max(shape[:2]) > soc.max_size or shape[2] > soc.max_cube:
            return f"tensor {tensor.index} has shape {tensor.shape}"
    return None


def joins_a_map(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """It joins channels, rows or columns, and has no fused activation."""
    assert isinstance(operator.attributes, Concatenation)
    if operator.attributes.activation is not Activation.NONE:
        return str(operator.attributes.activation.value)
    axis = joined_axis(graph, operator)
    return None if axis in (ROWS, COLUMNS, CHANNELS) else f"axis {operator.attributes.axis}"


def one_scale_if_signed(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """INT8 inputs have the output's scale and zero point: LiteRT refuses others, and rescales UINT8 only."""
    signed = graph.tensors[operator.outputs[0]].dtype is DType.INT8
    return equal_scales(graph, operator, soc) if signed else None


def known_slices(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Slices are constant ranges of step 1 of rows, columns and channels."""
    ranges, source = map_ranges(graph, operator), map_shape(features(graph, operator)[0])
    if ranges is None or source is None:
        return "they are no such ranges"
    for part in ranges:
        if 0 in (part.rows[1], part.columns[1], part.channels[1]):
            return "an empty slice"
    return None


PADDED: tuple[Rule, ...] = (*COMMON, same_scale, constant_paddings)
"""PAD and PADV2: exact."""
JOINED: tuple[Rule, ...] = (joined_maps, joins_a_map, one_scale_if_signed)
"""CONCATENATION: exact where scales are equal, else at most 1 from the reference."""
SLICED: tuple[Rule, ...] = (*COMMON, same_scale, known_slices)
"""SPLIT, SPLIT_V, SLICE and STRIDED_SLICE: exact."""
