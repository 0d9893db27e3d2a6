"""Divide a graph: which operators go to the NPU, why the others do not, and which go together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rocketnpu.family import family_of
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.work import operator_macs
from rocketnpu.partition.decisions import Decided, Decision, decide
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
    for operators in _groups(graph, chosen):
        reason = _not_worth(decided, graph, operators, policy)
        if reason is None:
            parts.append(graph.subgraph(operators, f"{graph.name} part {len(parts)}"))
        else:
            refused.update((operator.index, reason) for operator in operators)
    decisions = [
        replace(decision, supported=False, reason=refused[decision.operator])
        if decision.operator in refused
        else decision
        for decision in decided.decisions
    ]
    return Plan(graph, tuple(decisions), tuple(parts), policy)


def _not_worth(decided: Decided, graph: Graph, operators: list[Operator], policy: Policy) -> str | None:
    """Say why a part is not worth handing over, or return None."""
    if all(operator.index in decided.idle for operator in operators):
        return "alone it computes nothing, so there is nothing to hand over"
    work = sum(operator_macs(graph, operator) for operator in operators)
    if work < policy.minimum_macs:
        return f"its part has {work} multiply-accumulates, fewer than {policy.minimum_macs} do not pay"
    return None


def _groups(graph: Graph, chosen: set[int]) -> list[list[Operator]]:
    """Group operators as TFLite does: run all that are ready on one side, then all that are ready on the other."""
    waiting = list(graph.operators)
    made = set(graph.tensors) - {number for operator in graph.operators for number in operator.outputs}
    groups: list[list[Operator]] = []
    on_npu = True
    while waiting:
        group, left = [], []
        for operator in waiting:
            ready = all(number is None or number in made for number in operator.inputs)
            if ready and (operator.index in chosen) == on_npu:
                group.append(operator)
                made.update(operator.outputs)
            else:
                left.append(operator)
        if on_npu and group:
            groups.append(group)
        waiting, on_npu = left, not on_npu
    return groups
