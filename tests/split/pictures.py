"""Inputs for graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from rocketnpu.graph import Graph


def pictures(graph: Graph, seed: int) -> list[Any]:
    """Return random bytes for each input."""
    random = np.random.default_rng(seed)
    tensors = [graph.tensors[number] for number in graph.inputs]
    return [random.integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype.value) for tensor in tensors]
