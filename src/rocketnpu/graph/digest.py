"""A fingerprint of a graph: equal for equal networks, whatever file or host they came from."""

from __future__ import annotations

import hashlib

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.quantisation import Quantisation


def digest(graph: Graph, *context: object) -> str:
    """Return a SHA-256 over everything that decides what the graph computes, and over ``context``.

    Tensor and graph names do not count. ``context`` is whatever else decides the result; its ``repr`` is hashed.
    """
    state = hashlib.sha256(repr((context, graph.inputs, graph.outputs)).encode())
    for operator in graph.operators:
        state.update(repr(operator).encode())
    for number, tensor in sorted(graph.tensors.items()):
        head = (number, tensor.shape, tensor.dtype.value, tensor.is_dynamic, tensor.is_variable)
        state.update(repr((head, _quantisation(tensor.quantisation), tensor.is_constant)).encode())
        if tensor.data is not None:
            state.update(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _quantisation(quantisation: Quantisation | None) -> object:
    if quantisation is None:
        return None
    return quantisation.scales.tobytes(), quantisation.zero_points.tobytes(), quantisation.axis
