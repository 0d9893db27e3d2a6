"""From a graph as it stands to tasks: first all passes whose results the NPU takes, then every operator."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.passes import run_passes
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.lowering.lowering import Lowered, lower_graph
from rocketnpu.verisilicon.rules.checker import VerisiliconChecker
from rocketnpu.verisilicon.soc import Soc


def prepare(graph: Graph, soc: Soc, policy: Policy) -> Graph:
    """Return the graph that is really run: all passes, where the NPU takes what comes out of them."""

    def accepts(candidate: Graph, operator: Operator) -> bool:
        return VerisiliconChecker(candidate, soc, policy).refusal(operator) is None

    return run_passes(graph, accepts)


def lower(graph: Graph, soc: Soc, policy: Policy) -> Lowered:
    """Turn every operator of a graph into tasks, after all passes.

    Raises:
        UnsupportedError: an operator cannot be run; the message names it and says why.
    """
    return lower_graph(prepare(graph, soc, policy), soc, policy)
