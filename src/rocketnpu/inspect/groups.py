"""Which operators the NPU runs as one, so that no tensor between them exists to be looked at."""

from __future__ import annotations

from rocketnpu.compiler import compiled_graph
from rocketnpu.family import family_of
from rocketnpu.graph import Operator
from rocketnpu.partition.groups import joined_groups
from rocketnpu.partition.plan import Plan


def operator_groups(plan: Plan) -> list[tuple[Operator, ...]]:
    """Return the graph's operators in order; those that a graph pass joins stand together, where their last one stood.

    An operator whose result nobody can see any more without its successors belongs to them.
    """
    family = family_of(plan.policy.chip)
    joined = {
        group.originals[-1].index: {operator.index for operator in group.originals}
        for part in map(compiled_graph, plan.parts)
        for group in joined_groups(part, family.prepare(part, plan.policy))
        if len(group.originals) > 1
    }
    hidden = {index for last, group in joined.items() for index in group if index != last}
    found = []
    for operator in plan.graph.operators:
        if operator.index not in hidden:
            group = joined.get(operator.index, {operator.index})
            found.append(tuple(one for one in plan.graph.operators if one.index in group))
    return found
