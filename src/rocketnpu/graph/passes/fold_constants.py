"""Operators whose results are known before anything runs go; their results are constants."""

from __future__ import annotations

from dataclasses import replace

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.passes.rewrite import Accepts, anything
from rocketnpu.graph.values import FOLDED, known_values


def fold_constants(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace what shapes and constants decide by its value: SHAPE, STRIDED_SLICE, PACK, GATHER, CAST, FILL and others.

    Only what somebody else reads becomes a constant; a graph output stays where it is computed. The result is the same,
    so nobody is asked.
    """
    del accepts
    if not any(operator.kind in FOLDED for operator in graph.operators):
        return graph
    tensors = dict(graph.tensors)
    left = []
    for operator in graph.operators:
        values = None
        if operator.kind in FOLDED and operator.index not in graph.problems:
            inputs = [None if number is None else tensors[number] for number in operator.inputs]
            values = known_values(operator, inputs, [tensors[number] for number in operator.outputs])
        if values is None:
            left.append(operator)
            continue
        for number, value in zip(operator.outputs, values, strict=True):
            value.flags.writeable = False
            tensors[number] = replace(tensors[number], shape=value.shape, data=value, is_dynamic=False)
    if len(left) == len(graph.operators):
        return graph
    named = {*graph.inputs, *graph.outputs}
    named.update(n for operator in left for n in (*operator.inputs, *operator.outputs) if n is not None)
    kept = {number: tensor for number, tensor in tensors.items() if number in named}
    return replace(graph, tensors=kept, operators=tuple(left))
