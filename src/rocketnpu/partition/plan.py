"""Divide a graph: which operators go to the NPU, why the others do not, and which go together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rocketnpu.family import Checker, Family, family_of
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.operators import Foreign
from rocketnpu.graph.passes import flatten
from rocketnpu.graph.passes.flatten import flattened_map
from rocketnpu.policy import Policy


@dataclass(frozen=True)
class Decision:
    """Where an operator runs, and why not on the NPU."""

    operator: int
    kind: str
    supported: bool
    reason: str = ""
    """The rule that it fails and the value found; empty where it is supported."""
    macs: int = 0


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
    family = family_of(policy.chip)
    checker = family.checker(graph, policy)
    decisions = _folded(family, graph, policy, [_decide(checker, graph, operator) for operator in graph.operators])
    chosen = {decision.operator for decision in decisions if decision.supported}
    parts: list[Graph] = []
    refused: dict[int, str] = {}
    for operators in _groups(graph, chosen):
        reason = _not_worth(checker, graph, operators, policy)
        if reason is None:
            parts.append(graph.subgraph(operators, f"{graph.name} part {len(parts)}"))
        else:
            refused.update((operator.index, reason) for operator in operators)
    decisions = [
        replace(decision, supported=False, reason=refused[decision.operator])
        if decision.operator in refused
        else decision
        for decision in decisions
    ]
    return Plan(graph, tuple(decisions), tuple(parts), policy)


def _folded(family: Family, graph: Graph, policy: Policy, decisions: list[Decision]) -> list[Decision]:
    """Take those operators too that only run because a pass joins them with others: maps that become rows of fully
    connected layers.

    A RESHAPE that goes ends up in one part with the layers that read it, for nothing else lies between them. Where it
    stays, because somebody else wants the row too, a layer is handed over without it and must do alone.
    """

    def accepts(candidate: Graph, operator: Operator) -> bool:
        return family.checker(candidate, policy).refusal(operator) is None

    flat = flatten(graph, accepts)
    kinds = {operator.index: operator.kind for operator in flat.operators}
    with_layers = {operator.index for operator in graph.operators if operator.index not in kinds}
    with_layers.update(decision.operator for decision in decisions if decision.supported)

    def is_joined(operator: Operator) -> bool:
        if kinds.get(operator.index) == operator.kind:
            return False
        found = flattened_map(graph, operator) if operator.index in kinds else None
        return found is None or found[1] is None or found[1].index in with_layers

    joined = {operator.index for operator in graph.operators if is_joined(operator)}
    return [
        replace(decision, supported=True, reason="") if decision.operator in joined else decision
        for decision in decisions
    ]


def _not_worth(checker: Checker, graph: Graph, operators: list[Operator], policy: Policy) -> str | None:
    """Say why a part is not worth handing over, or return None."""
    if all(checker.computes_nothing(operator) for operator in operators):
        return "alone it computes nothing, so there is nothing to hand over"
    work = sum(operator_macs(graph, operator) for operator in operators)
    if work < policy.minimum_macs:
        return f"its part has {work} multiply-accumulates, fewer than {policy.minimum_macs} do not pay"
    return None


def _decide(checker: Checker, graph: Graph, operator: Operator) -> Decision:
    foreign = operator.attributes.reason if isinstance(operator.attributes, Foreign) else None
    reason = foreign or checker.refusal(operator)
    return Decision(operator.index, operator.kind, reason is None, reason or "", operator_macs(graph, operator))


def operator_macs(graph: Graph, operator: Operator) -> int:
    """Return an operator's multiply-accumulates; 0 for those that have no weights."""
    if isinstance(operator.attributes, Foreign):
        return operator.attributes.macs
    weights = operator.input(1)
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV") or weights is None:
        return 0
    shape = graph.tensors[weights].shape
    if not shape:
        return 0
    if operator.kind == "TRANSPOSE_CONV":
        source = operator.input(2)
        return 0 if source is None else graph.tensors[source].elements * graph.tensors[weights].elements // shape[-1]
    outputs = graph.tensors[operator.outputs[0]].elements
    taps = graph.tensors[weights].elements // (shape[-1] if operator.kind == "DEPTHWISE_CONV_2D" else shape[0])
    return outputs * taps


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
