"""Rules that many operators share, and what rules are made of."""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.partition.rules.tensors import byte_features, eight_bits, features, static_tensors, variable_input
from rocketnpu.rockchip.soc import Soc

Rule = Callable[[Graph, Operator, Soc], str | None]
"""Returns None where the operator satisfies it, else the value that fails. Its docstring is the published rule."""


def is_held(shape: tuple[int, int, int] | None, soc: Soc) -> bool:
    """Say whether memory holds a map so that tasks find its rows: planes are as large as 2047x2047 pixels at most."""
    return shape is not None and shape[0] * shape[1] <= soc.max_size**2 and shape[2] <= soc.max_cube


def is_cut(shape: tuple[int, int, int] | None, soc: Soc) -> bool:
    """Say whether a map can be cut into tasks: along its rows, of which it may have any number."""
    return shape is not None and is_held(shape, soc) and shape[1] <= soc.max_size


def feature_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are maps of batch 1, of at most 2047 columns, 2047x2047 pixels and 8192 channels."""
    found = (tensor for tensor in features(graph, operator) if not is_cut(map_shape(tensor), soc))
    return next((f"tensor {tensor.index} has shape {tensor.shape}" for tensor in found), None)


def held_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are maps of batch 1, of at most 2047x2047 pixels, however they lie, and 8192 channels."""
    found = (tensor for tensor in features(graph, operator) if not is_held(map_shape(tensor), soc))
    return next((f"tensor {tensor.index} has shape {tensor.shape}" for tensor in found), None)


COMMON: tuple[Rule, ...] = (static_tensors, eight_bits, variable_input, byte_features, feature_maps)
"""Rules of every operator that computes on bytes of one type."""
