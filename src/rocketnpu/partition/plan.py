"""Divide a graph: which operators go to the NPU, why the others do not, and which go together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from rocketnpu.errors import ModelError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.work import operator_macs
from rocketnpu.partition.decisions import Decided, Decision, decide
from rocketnpu.partition.price import Price
from rocketnpu.policy import Policy


@dataclass(frozen=True, eq=False)
class Plan:
    """A graph divided."""

    graph: Graph
    decisions: tuple[Decision, ...]
    """One for each operator, in the graph's order."""
    parts: tuple[Graph, ...]
    """What the NPU runs, each part in one go."""
    policy: Policy
    prices: tuple[Price | None, ...] = ()
    """What was estimated of each part, where the policy weighs."""

    @property
    def coverage(self) -> float:
        """Share of the multiply-accumulates that run on the NPU."""
        total = sum(decision.macs for decision in self.decisions)
        done = sum(decision.macs for decision in self.decisions if decision.supported)
        return done / total if total else 0.0

    def __str__(self) -> str:
        lines = [f"{d.operator:4} {d.kind:20} {'npu' if d.supported else 'cpu: ' + d.reason}" for d in self.decisions]
        return "\n".join(lines)


def plan(graph: Graph, policy: Policy | None = None) -> Plan:
    """Decide for each operator, then group those that the NPU takes."""
    policy = policy or Policy()
    decided = decide(family_of(policy.chip), graph, policy)
    chosen = {decision.operator for decision in decided.decisions if decision.supported}
    parts: list[Graph] = []
    refused: dict[int, str] = {}
    prices: list[Price | None] = []
    for operators in _groups(graph, chosen):
        part = graph.subgraph(operators, f"{graph.name} part {len(parts)}")
        reason, cost = _not_worth(decided, graph, operators, policy), None
        if reason is None and policy.weighs:
            cost = family_of(policy.chip).price(graph, part, policy)
            if cost is not None and not cost.pays and not _is_all(graph, operators):
                reason = f"its part would not pay: {cost}"
        if reason is None:
            parts.append(part)
            prices.append(cost)
        else:
            refused.update((operator.index, reason) for operator in operators)
    decisions = [
        replace(decision, supported=False, reason=refused[decision.operator])
        if decision.operator in refused
        else decision
        for decision in decided.decisions
    ]
    return Plan(graph, tuple(decisions), tuple(parts), policy, tuple(prices))


_NEARLY_ALL = 0.99


def _is_all(graph: Graph, operators: list[Operator]) -> bool:
    """Say whether a part is nearly all that the network computes: there is no cut to save, and the CPU is left free."""
    total = sum(operator_macs(graph, operator) for operator in graph.operators)
    return sum(operator_macs(graph, operator) for operator in operators) >= _NEARLY_ALL * total > 0


def _not_worth(decided: Decided, graph: Graph, operators: list[Operator], policy: Policy) -> str | None:
    """Say why a part is not worth handing over, or return None."""
    if all(operator.index in decided.idle for operator in operators):
        return "alone it computes nothing, so there is nothing to hand over"
    if not graph.subgraph(operators, "").outputs:
        return "nobody reads what it computes"
    work = sum(operator_macs(graph, operator) for operator in operators)
    if work < policy.minimum_macs:
        return f"its part has {work} multiply-accumulates, fewer than {policy.minimum_macs} do not pay"
    return None


def _groups(graph: Graph, chosen: set[int]) -> list[list[Operator]]:
    """Group operators as TFLite does: run all that are ready on one side, then all that are ready on the other.

    The first side is that of the first operator which is ready. Operators that the host runs as one are ready together.

    Raises:
        ModelError: an operator reads what nothing makes, or only itself: no host can order such a graph.
    """
    open_inputs = _open_inputs(graph, chosen)
    waiting: dict[int, list[int]] = {}
    for index, numbers in open_inputs.items():
        for number in numbers:
            waiting.setdefault(number, []).append(index)
    places = {operator.index: place for place, operator in enumerate(graph.operators)}
    sides: tuple[list[int], list[int]] = ([], [])
    for operator in graph.operators:
        if not open_inputs[operator.index]:
            sides[operator.index in chosen].append(places[operator.index])
    on_npu = not sides[False] or bool(sides[True] and sides[True][0] < sides[False][0])
    groups: list[list[Operator]] = []
    done = 0
    while any(sides):
        group = []
        ready = sides[on_npu]
        heapify(ready)
        while ready:
            operator = graph.operators[heappop(ready)]
            group.append(operator)
            for number in dict.fromkeys(operator.outputs):
                for index in waiting.get(number, ()):
                    open_inputs[index].discard(number)
                    if not open_inputs[index]:
                        heappush(sides[index in chosen], places[index])
        done += len(group)
        if on_npu and group:
            groups.append(sorted(group, key=lambda operator: places[operator.index]))
        on_npu = not on_npu
    if done != len(graph.operators):
        raise ModelError("its operators cannot be ordered: some read what nothing makes before them")
    return groups


def _open_inputs(graph: Graph, chosen: set[int]) -> dict[int, set[int]]:
    """Return the tensors that each operator waits for: of a bundle on the NPU all that any of its operators needs."""
    found = {
        operator.index: {n for n in operator.inputs if n is not None and n in graph.producers}
        for operator in graph.operators
    }
    for bundle in graph.bundles:
        if bundle <= chosen:
            inside = {operator.index: operator for operator in graph.operators if operator.index in bundle}
            made = {number for operator in inside.values() for number in operator.outputs}
            outside = {number for index in inside for number in found[index]} - made
            for index in inside:
                found[index] |= outside
    return found
