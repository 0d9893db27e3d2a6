"""Rules of operators that only move values: PAD, CONCATENATION, SPLIT and SLICE."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.partition.rules.moves import constant_paddings, joins_a_map, known_slices, one_scale_if_signed
from rocketnpu.partition.rules.tensors import in_reference_range, same_scale, unquantised
from rocketnpu.rockchip.rules.common import COMMON, Rule, is_cut
from rocketnpu.rockchip.soc import Soc


def joined_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """All inputs are computed or given, INT8 or UINT8 as the output, with one scale each, and maps of batch 1 of at
    most 2047 columns, 2047x2047 pixels and 8192 channels.
    """
    output = graph.tensors[operator.outputs[0]]
    for tensor in [*(graph.input_of(operator, position) for position in range(len(operator.inputs))), output]:
        if tensor.is_constant or tensor.is_dynamic:
            return f"tensor {tensor.index} is {'constant' if tensor.is_constant else 'of unknown shape'}"
        failed = unquantised(tensor)
        if failed or tensor.dtype is not output.dtype:
            return failed or f"{tensor.dtype.value} and {output.dtype.value}"
        shape = map_shape(tensor)
        if not is_cut(shape, soc):
            return f"tensor {tensor.index} has shape {tensor.shape}"
    return None


PADDED: tuple[Rule, ...] = (*COMMON, same_scale, constant_paddings)
"""PAD and PADV2: exact."""
JOINED: tuple[Rule, ...] = (joined_maps, joins_a_map, one_scale_if_signed, in_reference_range)
"""CONCATENATION: exact where scales are equal, else at most 1 from the reference."""
SLICED: tuple[Rule, ...] = (*COMMON, same_scale, known_slices)
"""SPLIT, SPLIT_V, SLICE and STRIDED_SLICE: exact."""
