"""Which operators of a graph stand behind those of the graph that the passes made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rocketnpu.graph import Graph, Operator


@dataclass(frozen=True)
class Group:
    """Operators that the passes made, and those that they stand for."""

    made: tuple[Operator, ...]
    """In the new graph's order; the last ones write tensors that the old graph has too."""
    originals: tuple[Operator, ...]
    """In the old graph's order."""

    @property
    def hidden(self) -> frozenset[int]:
        """Tensors of the old graph that the originals make and the new operators do not."""
        written = {number for operator in self.made for number in operator.outputs}
        made = {number for operator in self.originals for number in operator.outputs}
        return frozenset(made - written)


def joined_groups(old: Graph, new: Graph) -> Iterator[Group]:
    """Find the operators that a rewritten graph's stand for: those between tensors that both graphs have.

    An operator that stands in no group was folded away: its results are constants of the new graph, or nobody wants
    them there any more. What is computed of shapes and constants alone stands for nothing that anybody computes: a
    shape may be asked of a tensor far away.
    """
    known = _known(old)
    pending: list[Operator] = []
    for operator in new.operators:
        pending.append(operator)
        if not all(number in old.producers for number in operator.outputs):
            continue
        made = {number for one in pending for number in one.outputs}
        read = {number for one in pending for number in one.inputs if number is not None} - made
        yield Group(tuple(pending), _between(old, operator.outputs, read | known))
        pending = []


def _known(graph: Graph) -> set[int]:
    """Return the tensors that operators compute of shapes and constants alone."""
    found: set[int] = set()
    for operator in graph.operators:
        inputs = [number for number in operator.inputs if number is not None]
        fixed = operator.kind == "SHAPE" or all(n in found or graph.tensors[n].is_constant for n in inputs)
        if inputs and fixed:
            found.update(operator.outputs)
    return found


def _between(graph: Graph, outputs: Sequence[int], inputs: set[int]) -> tuple[Operator, ...]:
    """Return the operators on the way from some tensors to others, in the graph's order."""
    found: set[int] = set()
    waiting = [graph.producers[number] for number in outputs]
    while waiting:
        operator = waiting.pop()
        if operator.index in found:
            continue
        found.add(operator.index)
        for number in operator.inputs:
            if number is not None and number not in inputs and number in graph.producers:
                waiting.append(graph.producers[number])
    return tuple(operator for operator in graph.operators if operator.index in found)
