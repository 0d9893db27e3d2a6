"""Deciding about the operators of one graph: the published rules first, then whether registers can express it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.operators import CONV_ADD, Arithmetic, ConvAdd
from rocketnpu.partition.published import first_failure, text_of
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.lowering import check_operator
from rocketnpu.rockchip.lowering.placement import computes_nothing, is_view, place
from rocketnpu.rockchip.rules.table import RULES
from rocketnpu.rockchip.soc import Soc


class RockchipChecker:
    """A :class:`rocketnpu.family.Checker` of one graph, on one chip, under one policy."""

    def __init__(self, graph: Graph, soc: Soc, policy: Policy) -> None:
        self._graph, self._soc, self._policy = graph, soc, policy

    @cached_property
    def _context(self) -> Context:
        """Where tensors lie; only what the published rules take is looked at so closely."""
        return Context(self._graph, self._soc, place(self._graph, self._soc, self._policy), self._policy)

    def refusal(self, operator: Operator) -> str | None:
        """Say which rule an operator fails and the value found, or return None."""
        if operator.kind == CONV_ADD:
            return self._fused_refusal(operator)
        rules = RULES.get(operator.kind)
        if rules is None:
            return f"the NPU has no {operator.kind}"
        failure = first_failure(rules, self._graph, operator, self._soc)
        return check_operator(self._context, operator) if failure is None else failure

    def _fused_refusal(self, operator: Operator) -> str | None:
        """Judge a convolution with an addition behind it, as passes make it, by both operators' rules."""
        attributes = operator.attributes
        assert isinstance(attributes, ConvAdd)
        features, weights, addend, *bias = operator.inputs
        convolution = replace(
            operator, kind="CONV_2D", inputs=(features, weights, *bias), attributes=attributes.convolution
        )
        addition = replace(operator, kind="ADD", inputs=(addend, addend), attributes=Arithmetic(attributes.activation))
        for part in (convolution, addition):
            for rule in RULES[part.kind]:
                failed = rule(self._graph, part, self._soc)
                if failed is not None:
                    return f"{text_of(rule)} Found: {failed}"
        return check_operator(self._context, operator)

    def computes_nothing(self, operator: Operator) -> bool:
        """Say whether an operator's output lies where its input is."""
        return computes_nothing(self._graph, operator, self._soc)

    def is_view(self, operator: Operator) -> bool:
        """Say whether an operator only gives the same memory another shape."""
        return is_view(self._graph, operator)
