"""Sparse constants, written out: every level of dimensions is either dense or lists the indices that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Level:
    """One dimension in the order of traversal; blocks come after the dimensions that they cut."""

    size: int
    """Of a dense level."""
    segments: Indices | None = None
    """Of a sparse level: where the indices of each position of the level before begin, and the end of the last."""
    indices: Indices | None = None


@dataclass(frozen=True, eq=False)
class Sparsity:
    """How the values of a sparse tensor are spread."""

    order: tuple[int, ...]
    """Dimension of each level; those from the tensor's rank onwards are blocks."""
    block_map: tuple[int, ...]
    """Dimension that each block cuts."""
    levels: tuple[Level, ...]


def densify(sparsity: Sparsity, values: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Write a sparse tensor out; what it does not list is 0.

    Raises:
        ModelError: its lists contradict one another or the shape.
    """
    rank, count = len(shape), len(shape) + len(sparsity.block_map)
    if sorted(sparsity.order) != list(range(count)) or len(sparsity.levels) != count:
        raise ModelError(f"its sparsity orders dimensions {sparsity.order} of {count}")
    if any(not 0 <= dimension < rank for dimension in sparsity.block_map):
        raise ModelError(f"its sparsity cuts dimensions {sparsity.block_map} of {rank}")
    elements = math.prod(shape)
    places = np.zeros((1, count), np.int64)
    for dimension, level in zip(sparsity.order, sparsity.levels, strict=True):
        places = _spread(places, dimension, level, elements)
    blocks = {d: sparsity.levels[sparsity.order.index(rank + n)].size for n, d in enumerate(sparsity.block_map)}
    coordinates = [places[:, dimension] * blocks.get(dimension, 1) for dimension in range(rank)]
    for number, dimension in enumerate(sparsity.block_map):
        coordinates[dimension] = coordinates[dimension] + places[:, rank + number]
    if values.size != len(places):
        raise ModelError(f"it holds {values.size} values, its sparsity lists {len(places)}")
    if any((found < 0).any() or (found >= size).any() for found, size in zip(coordinates, shape, strict=True)):
        raise ModelError(f"its sparsity lists an index outside {tuple(shape)}")
    dense = np.zeros(tuple(shape), values.dtype)
    dense[tuple(coordinates)] = values.reshape(-1)
    dense.flags.writeable = False
    return dense


def _spread(places: Indices, dimension: int, level: Level, limit: int) -> Indices:
    """Give every position its positions of the next level."""
    if level.segments is None or level.indices is None:
        if level.size < 0 or level.size * len(places) > limit:
            raise ModelError(f"its sparsity lists more than the {limit} values that it has room for")
        found = np.repeat(places, level.size, axis=0)
        found[:, dimension] = np.tile(np.arange(level.size), len(places))
        return found
    segments, counts = level.segments, np.diff(level.segments)
    fits = len(segments) == len(places) + 1 and segments[0] == 0 and (counts >= 0).all()
    if not fits or segments[-1] != len(level.indices) or len(level.indices) > limit:
        raise ModelError("its sparsity's segments do not fit its indices")
    found = np.repeat(places, counts, axis=0)
    found[:, dimension] = level.indices
    return found
