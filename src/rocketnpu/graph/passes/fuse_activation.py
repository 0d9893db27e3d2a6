"""Fuse a standalone rectifier into the operator before it."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Activation, Operator
from rocketnpu.graph.passes.rewrite import Accepts, anything, only_reader, rewrite, same_quantisation

CLAMPS = {name: Activation(name) for name in ("RELU", "RELU6", "RELU_N1_TO_1")}
HOSTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL")


def fuse_activation(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Let a convolution or an arithmetic operator do the RELU, RELU6 or RELU_N1_TO_1 behind it.

    The host has no activation yet, nobody else reads its output, and both tensors have the same quantisation; then
    the result is exactly the same.
    """
    for clamp in graph.operators:
        if clamp.kind in CLAMPS:
            graph = _fuse(graph, clamp, accepts)
    return graph


def _fuse(graph: Graph, clamp: Operator, accepts: Accepts) -> Graph:
    source, target = clamp.inputs[0] or 0, clamp.outputs[0]
    host = graph.producers.get(source)
    if host is None or host.kind not in HOSTS or only_reader(graph, source) is None:
        return graph
    attributes = host.attributes
    idle = getattr(attributes, "activation", None) is Activation.NONE
    if not idle or not same_quantisation(graph.tensors[source], graph.tensors[target]):
        return graph
    active = replace(attributes, activation=CLAMPS[clamp.kind])  # type: ignore[arg-type]
    fused = replace(host, outputs=(target,), attributes=active)
    candidate = rewrite(graph, {host.index: (fused,), clamp.index: ()})
    return candidate if accepts(candidate, fused) else graph
