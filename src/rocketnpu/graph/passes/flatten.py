"""A fully connected layer that reads a whole map becomes a convolution whose kernel is the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, FullyConnected, Operator, Padding
from rocketnpu.graph.passes.rewrite import (
    Accepts,
    anything,
    fresh_index,
    fresh_tensor,
    only_reader,
    rewrite,
    same_quantisation,
)
from rocketnpu.graph.quantisation import Quantisation
from rocketnpu.graph.tensors import DType, Tensor

_NEW_TENSORS = 3
"""Tensors that come with the convolution: its kernels, its output, and a bias of zeros."""


def flatten(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace FULLY_CONNECTED of a map of more than one pixel, behind a RESHAPE or without, by CONV_2D.

    Memory holds a map pixel by pixel in groups of 16 channels, so its row of all values exists nowhere; but kernels
    of the map's size read the same values in the same order, where the chip has such kernels. The result is exactly
    the same. A RESHAPE that nobody else reads goes. LiteRT's RESHAPE copies bytes whatever its tensors' quantisation
    says, so the row's counts: where the map has another, the convolution reads it through a view that has the row's.
    """
    for connected in graph.operators:
        if connected.kind == "FULLY_CONNECTED":
            graph = _flatten(graph, connected, accepts)
    return graph


def flattened_map(graph: Graph, connected: Operator) -> tuple[Tensor, Operator | None] | None:
    """Return the map that a fully connected layer reads and the RESHAPE between, or None where it reads no map."""
    source = graph.input_of(connected, 0)
    reshape = graph.producers.get(source.index)
    if reshape is not None and reshape.kind == "RESHAPE":
        source = graph.input_of(reshape, 0)
    else:
        reshape = None
    if len(source.shape) != 4 or source.shape[0] != 1 or source.is_constant or source.is_dynamic:
        return None
    height, width = source.shape[1:3]
    return (source, reshape) if height * width > 1 else None


def _flatten(graph: Graph, connected: Operator, accepts: Accepts) -> Graph:
    attributes, weights = connected.attributes, graph.input_of(connected, 1)
    found = flattened_map(graph, connected)
    if found is None or not isinstance(attributes, FullyConnected) or attributes.shuffled_weights:
        return graph
    source, reshape = found
    if weights.data is None or len(weights.shape) != 2 or weights.shape[1] != source.elements:
        return graph
    row = graph.input_of(connected, 0)
    if row.quantisation is None or weights.quantisation is None:
        return graph
    counted = source if same_quantisation(source, row) else _counted(graph, source, row)
    dense, tensors = _convolution(graph, connected, counted, weights)
    view = Operator(fresh_index(graph), "RESHAPE", dense.outputs, connected.outputs)
    steps: tuple[Operator, ...] = (dense, view)
    if counted is not source:
        steps = (Operator(fresh_index(graph) + 1, "RESHAPE", (source.index,), (counted.index,)), *steps)
        tensors = (*tensors, counted)
    changes: dict[int, tuple[Operator, ...]] = {connected.index: steps}
    if reshape is not None and only_reader(graph, reshape.outputs[0]) is not None:
        changes[reshape.index] = ()
    candidate = rewrite(graph, changes, tensors)
    return candidate if accepts(candidate, dense) else graph


def _counted(graph: Graph, source: Tensor, row: Tensor) -> Tensor:
    """Return the map with the quantisation of the row that it becomes."""
    name = f"{source.name} as {row.name} counts"
    return replace(source, index=fresh_tensor(graph) + _NEW_TENSORS, name=name, quantisation=row.quantisation)


def _convolution(
    graph: Graph, connected: Operator, source: Tensor, weights: Tensor
) -> tuple[Operator, tuple[Tensor, ...]]:
    """Make the convolution, and the tensors that are new with it."""
    first, output = fresh_tensor(graph), graph.tensors[connected.outputs[0]]
    shape = (weights.shape[0], *source.shape[1:])
    assert weights.data is not None
    kernels = replace(weights, index=first, shape=shape, data=weights.data.reshape(shape))
    pixel = replace(output, index=first + 1, name=f"{output.name} as a map", shape=(1, 1, 1, shape[0]))
    # CONV_2D cannot do without a bias.
    bias = connected.input(2)
    zeros = _no_bias(first + 2, source, weights)
    assert isinstance(connected.attributes, FullyConnected)
    attributes = Conv2D((1, 1), Padding.VALID, activation=connected.attributes.activation)
    inputs = (source.index, kernels.index, zeros.index if bias is None else bias)
    return Operator(connected.index, "CONV_2D", inputs, (pixel.index,), attributes), (kernels, pixel, zeros)


def _no_bias(number: int, source: Tensor, weights: Tensor) -> Tensor:
    assert source.quantisation is not None
    assert weights.quantisation is not None
    scales = np.float32(source.quantisation.scale) * weights.quantisation.scales
    quantisation = Quantisation(scales, np.zeros(len(scales), np.int64))
    outputs = weights.shape[:1]
    return Tensor(number, "no bias", outputs, DType.INT32, quantisation, np.zeros(outputs, np.int32))
