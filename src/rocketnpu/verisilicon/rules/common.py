"""Rules that many operators share, and what rules are made of."""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.graph.maps import map_shape
from rocketnpu.partition.rules.tensors import byte_features, eight_bits, features, static_tensors, variable_input
from rocketnpu.verisilicon.soc import Soc

Rule = Callable[[Graph, Operator, Soc], str | None]
"""Returns None where the operator satisfies it, else the value that fails. Its docstring is the published rule."""

MAX_SIDE, MAX_CHANNELS = 8191, 16383
"""Fields of 13 and 14 bits (facts 4)."""


def not_a_map(tensor: Tensor) -> str | None:
    """Say why a tensor is no map that the hardware can address, or return None."""
    shape = map_shape(tensor)
    if shape is None or max(shape[:2]) > MAX_SIDE or shape[2] > MAX_CHANNELS:
        return f"tensor {tensor.index} has shape {tensor.shape}"
    return None


def feature_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are maps of batch 1, of at most 8191 rows and columns and 16383 channels."""
    return next((failed for tensor in features(graph, operator) if (failed := not_a_map(tensor))), None)


COMMON: tuple[Rule, ...] = (static_tensors, eight_bits, variable_input, byte_features, feature_maps)
"""Rules of every operator that computes on bytes of one type."""
