"""Shapes sent through a graph: from its inputs onwards, with the values that shapes decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rocketnpu.errors import ModelError
from rocketnpu.graph.checks import arity_error
from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.shapes import output_shapes
from rocketnpu.graph.tensors import Tensor
from rocketnpu.graph.values import known_values

Shape = tuple[int, ...]


def propagate(graph: Graph, shapes: Mapping[int, Shape] | None = None) -> Graph:
    """Return the graph with other input shapes, and every tensor of the shape that follows from them.

    An operator whose inputs contradict one another at these sizes is named in :attr:`~rocketnpu.graph.Graph.problems`;
    what it makes, and what is made of that, has no known shape (``is_dynamic``). So has what depends on values that
    only a run knows.

    Args:
        graph: a graph whose operators have the tensors that their kinds need.
        shapes: new shapes of inputs, by tensor number; the others keep theirs.
    """
    known = dict(graph.tensors)
    for number, shape in (shapes or {}).items():
        known[number] = replace(known[number], shape=tuple(shape), is_dynamic=False)
    problems = dict(graph.problems)
    for operator in graph.operators:
        inputs = [None if number is None else known[number] for number in operator.inputs]
        outputs = [known[number] for number in operator.outputs]
        changed = any(tensor is not None and tensor.shape != graph.tensors[tensor.index].shape for tensor in inputs)
        for tensor in _results(operator, inputs, outputs, problems, changed=changed):
            known[tensor.index] = tensor
    values = {
        number for number, tensor in known.items() if tensor.is_constant and not graph.tensors[number].is_constant
    }
    # Values stay where they are computed; a pass makes constants of them.
    tensors = {n: replace(tensor, data=None) if n in values else tensor for n, tensor in known.items()}
    return replace(graph, tensors=tensors, problems=problems)


def _results(
    operator: Operator, inputs: list[Tensor | None], outputs: list[Tensor], problems: dict[int, str], *, changed: bool
) -> list[Tensor]:
    """Return an operator's outputs as they follow from its inputs, with data where it is known."""
    unknown = [replace(tensor, is_dynamic=True) for tensor in outputs]
    if any(tensor.is_variable for tensor in outputs) or operator.index in problems or arity_error(operator):
        return unknown if operator.index in problems else outputs
    values = known_values(operator, inputs, outputs)
    if values is not None:
        return [
            replace(tensor, shape=value.shape, data=value, is_dynamic=False)
            for tensor, value in zip(outputs, values, strict=True)
        ]
    if any(tensor is not None and tensor.is_dynamic for tensor in inputs):
        return unknown
    try:
        found = output_shapes(operator, inputs, outputs)
    except ModelError as error:
        problems[operator.index] = str(error)
        return unknown
    if found is None or len(found) != len(outputs):
        # The model's own shapes are all there is to know, unless they are placeholders or belong to other inputs.
        return unknown if changed or any(tensor.placeholders for tensor in outputs) else outputs
    return [replace(tensor, shape=shape, is_dynamic=False) for tensor, shape in zip(outputs, found, strict=True)]
