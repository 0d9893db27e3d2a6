"""Fold PAD into the convolutions and pools behind it, which pad for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, Operator, Padding, Pads, Pool2D
from rocketnpu.graph.passes.rewrite import Accepts, anything, rewrite, same_quantisation

PADS = ("PAD", "PADV2")


def fold_padding(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Give explicit padding to convolutions and pools with VALID padding that read a PAD or PADV2.

    The PAD adds rows and columns of the zero point, in front of MAX_POOL_2D of any value, fewer on each side than the
    kernel reaches over, so that no window lies in the padding alone. It goes when nobody reads it any more. The result
    is exactly the same.
    """
    for pad in graph.operators:
        found = _map_edges(graph, pad)
        if found is not None:
            graph = _fold(graph, pad, *found, accepts)
    return graph


def map_pads(graph: Graph, pad: Operator) -> Pads | None:
    """Return the padding of a PAD of a map with its zero point, or None where it pads anything else."""
    found = _map_edges(graph, pad)
    quantisation = graph.tensors[pad.outputs[0]].quantisation
    return found[0] if found is not None and quantisation is not None and found[1] == quantisation.zero_point else None


def _map_edges(graph: Graph, pad: Operator) -> tuple[Pads, int] | None:
    """Return the padding of a PAD of a map and the element that it adds, or None where it pads anything else."""
    if pad.kind not in PADS:
        return None
    source, target = graph.input_of(pad, 0), graph.tensors[pad.outputs[0]]
    edges = paddings(graph, pad)
    if edges is None or len(source.shape) != 4 or not same_quantisation(source, target):
        return None
    value = pad_value(graph, pad)
    return None if any(edges[0]) or any(edges[3]) or value is None else ((edges[1], edges[2]), value)


def paddings(graph: Graph, pad: Operator) -> list[tuple[int, int]] | None:
    """Return what is added before and behind along each axis, or None where it is computed at run time."""
    data = graph.input_of(pad, 1).data
    return None if data is None else [(int(before), int(behind)) for before, behind in data.astype(np.int64)]


def pad_value(graph: Graph, pad: Operator) -> int | None:
    """Return the element that is added: the zero point, or PADV2's third input; None where that is computed."""
    target = graph.tensors[pad.outputs[0]]
    if pad.kind == "PAD":
        return None if target.quantisation is None else target.quantisation.zero_point
    data = graph.input_of(pad, 2).data
    return None if data is None else int(data.astype(np.int64).reshape(-1)[0])


def _fold(graph: Graph, pad: Operator, pads: Pads, value: int, accepts: Accepts) -> Graph:
    number = pad.outputs[0]
    for reader in graph.consumers[number]:
        attributes = _padded(graph, reader, pads, value)
        if attributes is None:
            continue
        padded = replace(reader, inputs=(pad.inputs[0], *reader.inputs[1:]), attributes=attributes)
        candidate = rewrite(graph, {reader.index: (padded,)})
        if accepts(candidate, padded):
            graph = candidate
    if graph.consumers.get(number) == () and number not in graph.outputs:
        return rewrite(graph, {pad.index: ()})
    return graph


def _padded(graph: Graph, reader: Operator, pads: Pads, value: int) -> Conv2D | DepthwiseConv2D | Pool2D | None:
    """Return the attributes of an operator that pads for itself, or None where it cannot."""
    attributes, weights = reader.attributes, reader.input(1)
    if not isinstance(attributes, Conv2D | DepthwiseConv2D | Pool2D) or attributes.pads is not None:
        return None
    quantisation = graph.input_of(reader, 0).quantisation
    assert quantisation is not None
    border = None if value == quantisation.zero_point else value
    if isinstance(attributes, Pool2D):
        fits = border is None or reader.kind == "MAX_POOL_2D"
        padded = replace(attributes, pads=pads, border=border)
        return padded if fits and _fits(attributes.padding, pads, attributes.kernel, (1, 1)) else None
    if border is not None or weights is None or len(graph.tensors[weights].shape) != 4:
        return None
    kernel = graph.tensors[weights].shape[1:3]
    return replace(attributes, pads=pads) if _fits(attributes.padding, pads, kernel, attributes.dilation) else None


def _fits(padding: Padding, pads: Pads, kernel: tuple[int, ...], dilation: tuple[int, int]) -> bool:
    if padding is not Padding.VALID:
        return False
    for (before, behind), size, step in zip(pads, kernel, dilation, strict=True):
        if max(before, behind) > (size - 1) * step:
            return False
    return True
