"""Fuse an addition into the convolution that makes one of its operands."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import CONV_ADD, Activation, Arithmetic, Conv2D, ConvAdd, Operator
from rocketnpu.graph.passes.rewrite import Accepts, anything, only_reader, rewrite

MAX_RATIO = 2.0
"""A step of the convolution's output over a step of the sum. LiteRT rounds to the first, which we do not: half of it is
at most one step of the sum, and results differ by at most 2."""


def fuse_add(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Let a convolution add the other operand of the ADD behind it before its output is converted.

    The convolution is dense, has no activation, and nobody else reads its output; both operands have the sum's shape.
    A step of its output is at most twice the sum's: then the result is at most 2 from LiteRT's, which rounds in
    between. Of two convolutions the later one is taken. The fused operator stands where the ADD stood, so the other
    operand is there in time.
    """
    for addition in graph.operators:
        if addition.kind == "ADD":
            graph = _fuse(graph, addition, accepts)
    return graph


def _fuse(graph: Graph, addition: Operator, accepts: Accepts) -> Graph:
    places = {operator.index: place for place, operator in enumerate(graph.operators)}
    first, second = addition.inputs[0], addition.inputs[1]
    if first is None or second is None or first == second:
        return graph
    choices = [
        (places[host.index], host, other)
        for number, other in ((first, second), (second, first))
        if (host := graph.producers.get(number)) is not None and _hosts(graph, addition, host, other)
    ]
    for _, host, other in sorted(choices, key=lambda choice: -choice[0]):
        fused = _fused(graph, addition, host, other)
        candidate = rewrite(graph, {host.index: (), addition.index: (fused,)})
        if accepts(candidate, fused):
            return candidate
    return graph


def _hosts(graph: Graph, addition: Operator, host: Operator, other: int) -> bool:
    attributes = host.attributes
    if host.kind != "CONV_2D" or not isinstance(attributes, Conv2D) or attributes.activation is not Activation.NONE:
        return False
    middle, addend, total = (graph.tensors[number] for number in (host.outputs[0], other, addition.outputs[0]))
    if only_reader(graph, middle.index) is None or addend.is_constant:
        return False
    if middle.shape != total.shape or addend.shape != total.shape:
        return False
    if middle.quantisation is None or total.quantisation is None:
        return False
    return middle.quantisation.scale <= MAX_RATIO * total.quantisation.scale


def _fused(graph: Graph, addition: Operator, host: Operator, other: int) -> Operator:
    assert isinstance(host.attributes, Conv2D)
    assert isinstance(addition.attributes, Arithmetic)
    middle = graph.tensors[host.outputs[0]].quantisation
    assert middle is not None
    attributes = ConvAdd(host.attributes, middle.scale, middle.zero_point, addition.attributes.activation)
    inputs = (*host.inputs[:2], other, *host.inputs[2:3])
    return replace(host, kind=CONV_ADD, inputs=inputs, outputs=addition.outputs, attributes=attributes)
