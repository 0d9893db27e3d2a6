"""Deciding about the operators of one graph: the published rules first, then whether instructions can express it."""

from __future__ import annotations

from functools import cached_property

from rocketnpu.graph import Graph, Operator
from rocketnpu.partition.published import first_failure
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.lowering import check_operator
from rocketnpu.verisilicon.lowering.placement import computes_nothing, is_view, place
from rocketnpu.verisilicon.rules.table import RULES
from rocketnpu.verisilicon.soc import Soc


class VerisiliconChecker:
    """A :class:`rocketnpu.family.Checker` of one graph, on one chip, under one policy."""

    def __init__(self, graph: Graph, soc: Soc, policy: Policy) -> None:
        self._graph, self._soc, self._policy = graph, soc, policy

    @cached_property
    def _context(self) -> Context:
        """Where tensors lie; only what the published rules take is looked at so closely."""
        return Context(self._graph, self._soc, place(self._graph), self._policy)

    def refusal(self, operator: Operator) -> str | None:
        """Say which rule an operator fails and the value found, or return None."""
        rules = RULES.get(operator.kind)
        if rules is None:
            return f"the NPU has no {operator.kind}"
        failure = first_failure(rules, self._graph, operator, self._soc)
        return check_operator(self._context, operator) if failure is None else failure

    def computes_nothing(self, operator: Operator) -> bool:
        """Say whether an operator's output lies where its input is."""
        return computes_nothing(self._graph, operator)

    def is_view(self, operator: Operator) -> bool:
        """Say whether an operator only gives the same memory another shape."""
        return is_view(self._graph, operator)
