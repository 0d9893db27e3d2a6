"""A graph written as a TFLite model again."""

from __future__ import annotations

from collections.abc import Sequence

from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.model.builder import ModelBuilder


def rebuild(graph: Graph, operators: Sequence[Operator], outputs: Sequence[int]) -> tuple[bytes, tuple[int, ...]]:
    """Write some operators of a graph as a model of their own.

    Returns:
        The model, and the tensors of the graph that are its inputs: those that the operators read and none of them
        makes, each once, in order of first use. ``outputs`` are its outputs, in their order.

    Raises:
        UnsupportedError: the options of an operator cannot be written.
    """
    builder = ModelBuilder()
    mentioned = (number for o in operators for number in (*o.inputs, *o.outputs) if number is not None)
    numbers = {number: _copy(builder, graph.tensors[number]) for number in dict.fromkeys(mentioned)}
    for operator in operators:
        sources = [None if number is None else numbers[number] for number in operator.inputs]
        results = [numbers[number] for number in operator.outputs]
        builder.operator(operator.kind, sources, results, operator.attributes, custom_options=operator.custom_options)
    made = {number for operator in operators for number in operator.outputs}
    read = dict.fromkeys(n for o in operators for n in o.inputs if n is not None and n not in made)
    inputs = tuple(number for number in read if not graph.tensors[number].is_constant)
    return builder.build([numbers[n] for n in inputs], [numbers[n] for n in outputs]), inputs


def _copy(builder: ModelBuilder, tensor: Tensor) -> int:
    quantisation = tensor.quantisation
    return builder.tensor(
        tensor.shape,
        tensor.dtype,
        scale=None if quantisation is None else quantisation.scales,
        zero_point=0 if quantisation is None else quantisation.zero_points,
        axis=0 if quantisation is None else quantisation.axis,
        data=tensor.data,
        name=tensor.name,
    )
