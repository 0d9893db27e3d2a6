"""From a graph as it stands to tasks: first all passes whose results the NPU takes, then every operator."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.passes import run_passes
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.lowering import Lowered, lower_graph
from rocketnpu.rockchip.rules.checker import RockchipChecker
from rocketnpu.rockchip.soc import Soc


def prepare(graph: Graph, soc: Soc, policy: Policy) -> Graph:
    """Return the graph that is really run: all passes, where the NPU takes what comes out of them."""

    def accepts(candidate: Graph, operator: Operator) -> bool:
        return RockchipChecker(candidate, soc, policy).refusal(operator) is None

    return run_passes(graph, accepts)


def lower(graph: Graph, soc: Soc, policy: Policy, *, folds: bool = True) -> Lowered:
    """Turn every operator of a graph into tasks, after all passes; ``folds`` as :func:`lower_graph` has it.

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    return lower_graph(prepare(graph, soc, policy), soc, policy, folds=folds)
