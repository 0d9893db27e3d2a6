"""Deciding about each operator of a graph: alone, or together with others that a pass makes into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rocketnpu.family import Checker, Family
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.images import per_image
from rocketnpu.graph.operators import Foreign
from rocketnpu.graph.passes import enable
from rocketnpu.graph.work import operator_macs
from rocketnpu.partition.groups import Group, joined_groups
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
class Decided:
    """All operators of a graph, decided."""

    decisions: tuple[Decision, ...]
    """One for each operator, in the graph's order."""
    idle: frozenset[int]
    """Supported operators for which nothing is computed when the graph runs: views, and what becomes constants."""


def decide(family: Family, graph: Graph, policy: Policy) -> Decided:
    """Decide for each operator of a graph.

    Of a batch one image is judged. The passes run over the whole graph first: what comes out of them is what the NPU
    would be given. An operator is taken if what it becomes is taken, and if nobody else wants a tensor that there is no
    more then; otherwise it is judged as it stands.
    """

    def accepts(candidate: Graph, operator: Operator) -> bool:
        return _refusal(family.checker(candidate, policy), operator) is None

    whole, (graph, _) = graph, per_image(graph)
    made = enable(graph, accepts)
    checker, alone = family.checker(made, policy), family.checker(graph, policy)
    reasons = {o.index: graph.problems.get(o.index) or _refusal(checker, o) for o in made.operators}
    groups = list(joined_groups(graph, made))
    folded = _folded(graph, groups)
    # What an operator with a problem is made into may be sound; but nobody compiles a graph that has one.
    sound = [group for group in groups if not any(operator.index in graph.problems for operator in group.originals)]
    good = [group for group in sound if all(reasons[operator.index] is None for operator in group.made)]
    single = _Singles(alone, graph, made, reasons)
    chosen = _settled(graph, good, folded, single)
    decisions = []
    for operator in graph.operators:
        supported = operator.index in chosen
        reason = "" if supported else single.reason(operator) or _whole_reason(graph, operator, single)
        decisions.append(Decision(operator.index, operator.kind, supported, reason, operator_macs(whole, operator)))
    idle = {o.index for o in graph.operators if o.index in folded or alone.computes_nothing(o)}
    return Decided(tuple(decisions), frozenset(idle & chosen))


def _refusal(checker: Checker, operator: Operator) -> str | None:
    """Say why an operator stays on the CPU: what its reader found, or what the NPU's rules say."""
    return operator.attributes.reason if isinstance(operator.attributes, Foreign) else checker.refusal(operator)


class _Singles:
    """Judges operators as they stand, each once, and only where it is asked for."""

    def __init__(self, checker: Checker, graph: Graph, made: Graph, reasons: Mapping[int, str | None]) -> None:
        # An operator that no pass has touched was judged already.
        same = {operator.index for operator in made.operators} & {o.index for o in graph.operators}
        untouched = {o.index: o for o in made.operators}
        self._found = {
            o.index: reasons[o.index] for o in graph.operators if o.index in same and untouched[o.index] == o
        }
        self._checker, self._problems = checker, graph.problems

    def reason(self, operator: Operator) -> str | None:
        if operator.index not in self._found:
            problem = self._problems.get(operator.index)
            self._found[operator.index] = problem or _refusal(self._checker, operator)
        return self._found[operator.index]


def _folded(graph: Graph, groups: Iterable[Group]) -> frozenset[int]:
    """Return the operators that became constants."""
    standing = {operator.index for group in groups for operator in group.originals}
    return frozenset(operator.index for operator in graph.operators if operator.index not in standing)


def _settled(graph: Graph, good: list[Group], folded: frozenset[int], single: _Singles) -> set[int]:
    """Choose operators so that every chosen one finds what it needs.

    A group needs each of its hidden tensors to be wanted inside groups that hide it only; one that has other readers
    falls apart, and its operators are judged one by one. Bundles stay together. Both may take readers from other
    groups, so it is repeated until nothing changes.
    """
    groups, left = list(good), frozenset[int]()
    while True:
        chosen = _chosen(graph, groups, folded, single) - left
        torn = {index for bundle in graph.bundles if not bundle <= chosen for index in bundle & chosen}
        left |= torn
        whole = [group for group in groups if not _is_broken(graph, group, groups, chosen)]
        whole = [group for group in whole if not any(operator.index in left for operator in group.originals)]
        if len(whole) == len(groups) and not torn:
            return chosen
        groups = whole


def _whole_reason(graph: Graph, operator: Operator, single: _Singles) -> str:
    """Say why an operator that the NPU would take alone stays on the CPU."""
    for other in graph.operators:
        if any({operator.index, other.index} <= bundle for bundle in graph.bundles) and single.reason(other):
            return f"it belongs to {other.kind} {other.index}, which the NPU does not take"
    return "what it makes is wanted in another form too"


def _chosen(graph: Graph, groups: list[Group], folded: frozenset[int], single: _Singles) -> set[int]:
    """Return the operators of some groups, those that can do alone, and constants that these read."""
    grouped = {operator.index for group in groups for operator in group.originals}
    others = (o for o in graph.operators if o.index not in grouped | folded)
    chosen = grouped | {operator.index for operator in others if single.reason(operator) is None}
    for operator in reversed(graph.operators):
        if operator.index in folded and _wanted(graph, operator, chosen):
            chosen.add(operator.index)
    return chosen


def _is_broken(graph: Graph, group: Group, groups: list[Group], chosen: set[int]) -> bool:
    made = {number for other in groups for operator in other.made for number in operator.outputs}
    return any(
        number in graph.outputs
        or not all(_hides(groups, reader, number) and reader.index in chosen for reader in graph.consumers[number])
        for number in group.hidden - made
    )


def _hides(groups: list[Group], reader: Operator, number: int) -> bool:
    """Say whether a reader of a tensor stands in groups that do without the tensor."""
    return any(reader in group.originals and number in group.hidden for group in groups)


def _wanted(graph: Graph, operator: Operator, chosen: set[int]) -> bool:
    return any(reader.index in chosen for number in operator.outputs for reader in graph.consumers[number])
