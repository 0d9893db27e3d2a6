"""Rules that many operators share, and what rules are made of."""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.partition.rules.tensors import byte_features, eight_bits, features, static_shapes, variable_input
from rocketnpu.rockchip.soc import Soc

Rule = Callable[[Graph, Operator, Soc], str | None]
"""Returns None where the operator satisfies it, else the value that fails. Its docstring is the published rule."""


def feature_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are maps of batch 1, of at most 2047 rows and columns and 8192 channels."""
    for tensor in features(graph, operator):
        shape = map_shape(tensor)
        if shape is None or max(shape[:2]) > soc.max_size or shape[2] > soc.max_cube:
            return f"tensor {tensor.index} has shape {tensor.shape}"
    return None


COMMON: tuple[Rule, ...] = (static_shapes, eight_bits, variable_input, byte_features, feature_maps)
"""Rules of every operator that computes on bytes of one type."""
