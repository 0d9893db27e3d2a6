"""Which operators the NPU runs as one, so that no tensor between them exists to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rocketnpu.family import family_of
from rocketnpu.graph import Graph, Operator
from rocketnpu.partition.plan import Plan


def operator_groups(plan: Plan) -> list[tuple[Operator, ...]]:
    """Return the graph's operators in order; those that a graph pass joins stand together, where their last one stood.

    An operator whose result nobody can see any more without its successors belongs to them.
    """
    family = family_of(plan.policy.chip)
    joined = {
        group[-1].index: group
        for part in plan.parts
        for group in _joined(part, family.prepare(part, plan.policy))
        if len(group) > 1
    }
    hidden = {operator.index for group in joined.values() for operator in group[:-1]}
    return [
        joined.get(operator.index, (operator,)) for operator in plan.graph.operators if operator.index not in hidden
    ]


def _joined(old: Graph, new: Graph) -> Iterator[tuple[Operator, ...]]:
    """Find the operators that a rewritten graph's stand for: those between tensors that both graphs have."""
    pending: list[Operator] = []
    for operator in new.operators:
        pending.append(operator)
        if not all(number in old.producers for number in operator.outputs):
            continue
        made = {number for one in pending for number in one.outputs}
        read = {number for one in pending for number in one.inputs if number is not None} - made
        yield _between(old, operator.outputs, read)
        pending = []


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
