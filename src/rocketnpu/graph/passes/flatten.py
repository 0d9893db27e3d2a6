"""A fully connected layer that reads a whole map becomes a convolution whose kernel is the map."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, FullyConnected, Operator, Padding
from rocketnpu.graph.passes.rewrite import Accepts, anything, fresh_index, fresh_tensor, rewrite
from rocketnpu.graph.tensors import Tensor
from rocketnpu.soc import RK3588


def flatten(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace FULLY_CONNECTED of a map of more than one pixel, behind a RESHAPE or without, by CONV_2D.

    Memory holds a map pixel by pixel in groups of 16 channels, so its row of all values exists nowhere; but kernels
    of the map's size (at most 31x31) read the same values in the same order. The result is exactly the same. A
    RESHAPE that nobody else reads goes.
    """
    for connected in graph.operators:
        if connected.kind == "FULLY_CONNECTED":
            graph = _flatten(graph, connected, accepts)
    return graph


def flattened_map(graph: Graph, connected: Operator) -> tuple[Tensor, Operator | None] | None:
    """Return the map that a fully connected layer reads and the RESHAPE between, or None where it reads no map."""
    source = graph.tensors[connected.inputs[0] or 0]
    reshape = graph.producers.get(source.index)
    if reshape is not None and reshape.kind == "RESHAPE":
        source = graph.tensors[reshape.inputs[0] or 0]
    else:
        reshape = None
    if len(source.shape) != 4 or source.shape[0] != 1 or source.is_constant or source.is_dynamic:
        return None
    height, width = source.shape[1:3]
    small = height * width > 1 and max(height, width) <= RK3588.max_kernel
    return (source, reshape) if small else None


def _flatten(graph: Graph, connected: Operator, accepts: Accepts) -> Graph:
    attributes, weights = connected.attributes, graph.tensors[connected.inputs[1] or 0]
    found = flattened_map(graph, connected)
    if found is None or not isinstance(attributes, FullyConnected) or attributes.shuffled_weights:
        return graph
    source, reshape = found
    if weights.data is None or len(weights.shape) != 2 or weights.shape[1] != source.elements:
        return graph
    first, output = fresh_tensor(graph), graph.tensors[connected.outputs[0]]
    shape = (weights.shape[0], *source.shape[1:])
    kernels = replace(weights, index=first, shape=shape, data=weights.data.reshape(shape))
    pixel = replace(output, index=first + 1, name=f"{output.name} as a map", shape=(1, 1, 1, weights.shape[0]))
    dense = Operator(
        connected.index,
        "CONV_2D",
        (source.index, kernels.index, *connected.inputs[2:]),
        (pixel.index,),
        Conv2D((1, 1), Padding.VALID, activation=attributes.activation),
    )
    view = Operator(fresh_index(graph), "RESHAPE", (pixel.index,), (output.index,))
    changes: dict[int, tuple[Operator, ...]] = {connected.index: (dense, view)}
    if reshape is not None and len(graph.consumers[reshape.outputs[0]]) == 1:
        changes |= {} if reshape.outputs[0] in graph.outputs else {reshape.index: ()}
    candidate = rewrite(graph, changes, (kernels, pixel))
    return candidate if accepts(candidate, dense) else graph
