"""Which operators the NPU runs as one, so that no tensor between them exists to be looked at."""

from __future__ import annotations

from rocketnpu.graph import Operator
from rocketnpu.partition.plan import Plan


def operator_groups(plan: Plan) -> list[tuple[Operator, ...]]:
    """Return the graph's operators in order, those that are fused together."""
    return [(operator,) for operator in plan.graph.operators]
