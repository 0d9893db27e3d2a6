"""Fold PAD into the convolutions behind it, which pad for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, Operator, Padding, Pads
from rocketnpu.graph.passes.rewrite import Accepts, anything, rewrite, same_quantisation
from rocketnpu.graph.tensors import Tensor

PADS = ("PAD", "PADV2")


def fold_padding(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Give explicit padding to CONV_2D and DEPTHWISE_CONV_2D with VALID padding that read a PAD or PADV2.

    The PAD adds rows and columns of the zero point, fewer on each side than the kernel reaches over, so that no window
    lies in the padding alone. It goes when nobody
    reads it any more. The result is exactly the same.
    """
    for pad in graph.operators:
        pads = map_pads(graph, pad)
        if pads is not None:
            graph = _fold(graph, pad, pads, accepts)
    return graph


def map_pads(graph: Graph, pad: Operator) -> Pads | None:
    """Return the padding of a PAD of a map with its zero point, or None where it pads anything else."""
    if pad.kind not in PADS:
        return None
    source, target = graph.input_of(pad, 0), graph.tensors[pad.outputs[0]]
    edges = paddings(graph, pad)
    if edges is None or len(source.shape) != 4 or not same_quantisation(source, target):
        return None
    if any(edges[0]) or any(edges[3]) or pad_value(graph, pad) != target.quantisation.zero_point:  # type: ignore[union-attr]
        return None
    return edges[1], edges[2]


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


def _fold(graph: Graph, pad: Operator, pads: Pads, accepts: Accepts) -> Graph:
    number = pad.outputs[0]
    for reader in graph.consumers[number]:
        weights, attributes = reader.input(1), reader.attributes
        if weights is None or not isinstance(attributes, Conv2D | DepthwiseConv2D):
            continue
        if not _fits(attributes, graph.tensors[weights], pads):
            continue
        inputs = (pad.inputs[0], *reader.inputs[1:])
        padded = replace(reader, inputs=inputs, attributes=replace(attributes, pads=pads))
        candidate = rewrite(graph, {reader.index: (padded,)})
        if accepts(candidate, padded):
            graph = candidate
    if graph.consumers.get(number) == () and number not in graph.outputs:
        return rewrite(graph, {pad.index: ()})
    return graph


def _fits(attributes: Conv2D | DepthwiseConv2D, weights: Tensor, pads: Pads) -> bool:
    if attributes.padding is not Padding.VALID or attributes.pads is not None or len(weights.shape) != 4:
        return False
    for (before, behind), kernel, dilation in zip(pads, weights.shape[1:3], attributes.dilation, strict=True):
        if max(before, behind) > (kernel - 1) * dilation:
            return False
    return True
