"""What a part saves against what a cut costs: estimated times, with the assumptions that they rest on in one place.

Nothing here is a figure of the machine that decides, unless that is a board on which a benchmark kept its rates
(:mod:`rocketnpu.partition.rates`). The NPU's time and the host's share of a cut are those of
``rocketnpu estimate`` (rates fitted to times that others measured on boards); the CPU's are the published ones of
:mod:`rocketnpu.estimate.cpu`, and an assumption for operators without weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from rocketnpu.compiler import compile_graph, constant_outputs, images_of
from rocketnpu.errors import UnsupportedError
from rocketnpu.estimate.cpu import cpu_us
from rocketnpu.estimate.estimate import Conditions
from rocketnpu.family import Family
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.work import operator_macs
from rocketnpu.partition.price import Price
from rocketnpu.partition.rates import PUBLISHED, Rates
from rocketnpu.policy import Policy

CPU_VALUES_PER_US = 1000.0
"""Output values that the CPU makes in a microsecond of operators without weights: an assumption (one core at about
1 GHz, a value a cycle), for nobody published such times of this chip. Views cost nothing."""
_VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "PACK", "STRIDED_SLICE")


def price(family: Family, graph: Graph, part: Graph, policy: Policy) -> Price | None:
    """Estimate a part on either side, or return None where there is no timing model of the chip or the target.

    Args:
        family: the chip's.
        graph: the whole graph.
        part: some of its operators, all of which the NPU takes.
        policy: whose target says under which kernel.
    """
    if policy.target == "simulator" or len(constant_outputs(part)) == len(part.outputs):
        return None
    conditions = Conditions(policy.target)
    try:
        board, _ = family.board(conditions)
        tasks = family.timed(compile_graph(part, policy), conditions)
    except UnsupportedError:
        return None
    rates, images = policy.rates, images_of(part)
    npu = sum(task.us for task in tasks) * rates.npu * images
    return Price(npu, board.host_us * rates.npu * images, processor_us(graph, part.operators, rates))


def processor_us(graph: Graph, operators: Sequence[Operator], rates: Rates = PUBLISHED) -> float:
    """Estimate how long the CPU takes for some operators."""
    macs = [operator_macs(graph, operator) for operator in operators]
    plain = [o for o, count in zip(operators, macs, strict=True) if not count and o.kind not in _VIEWS]
    values = sum(graph.tensors[number].elements for operator in plain for number in operator.outputs)
    return cpu_us(graph, macs, rates) + values / CPU_VALUES_PER_US
