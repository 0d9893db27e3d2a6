"""How much an operator computes."""

from __future__ import annotations

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Foreign, Operator

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def operator_macs(graph: Graph, operator: Operator) -> int:
    """Return an operator's multiply-accumulates; 0 for those that have no weights."""
    if isinstance(operator.attributes, Foreign):
        return operator.attributes.macs
    weights = operator.input(1)
    if operator.kind not in _WEIGHTED or weights is None:
        return 0
    shape = graph.tensors[weights].shape
    if not shape or 0 in shape:
        return 0
    if operator.kind == "TRANSPOSE_CONV":
        source = operator.input(2)
        return 0 if source is None else graph.tensors[source].elements * graph.tensors[weights].elements // shape[-1]
    outputs = graph.tensors[operator.outputs[0]].elements
    taps = graph.tensors[weights].elements // (shape[-1] if operator.kind == "DEPTHWISE_CONV_2D" else shape[0])
    return outputs * taps
