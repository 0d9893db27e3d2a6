"""What all passes are made of: replace operators, and let go of tensors that nobody mentions any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.tensors import Tensor

Accepts = Callable[[Graph, Operator], bool]
"""Says whether an operator of a graph can be run."""


def anything(graph: Graph, operator: Operator) -> bool:
    """Accept every operator."""
    del graph, operator
    return True


def rewrite(graph: Graph, changes: Mapping[int, Sequence[Operator]], tensors: Iterable[Tensor] = ()) -> Graph:
    """Put other operators in the place of some.

    Args:
        graph: what is changed.
        changes: by the index of an operator: what stands in its place, nothing to drop it.
        tensors: new tensors that the new operators mention.
    """
    operators = tuple(new for old in graph.operators for new in changes.get(old.index, (old,)))
    known = {**graph.tensors, **{tensor.index: tensor for tensor in tensors}}
    named = {*graph.inputs, *graph.outputs}
    for operator in operators:
        named.update(number for number in (*operator.inputs, *operator.outputs) if number is not None)
    kept = {number: tensor for number, tensor in known.items() if number in named}
    return replace(graph, tensors=kept, operators=operators)


def only_reader(graph: Graph, number: int) -> Operator | None:
    """Return the one operator that reads a tensor, or None where there are several, or the graph returns it."""
    readers = graph.consumers[number]
    return readers[0] if len(readers) == 1 and number not in graph.outputs else None


def fresh_tensor(graph: Graph) -> int:
    """Return a number that no tensor has."""
    return max(graph.tensors) + 1


def fresh_index(graph: Graph) -> int:
    """Return an index that no operator has."""
    return max(operator.index for operator in graph.operators) + 1


def same_quantisation(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors have the same element type and map the same integers to the same numbers."""
    quantisation = one.quantisation
    return one.dtype is other.dtype and quantisation is not None and quantisation.same_as(other.quantisation)
