"""Random operators through the whole way: simulator = integer model byte for byte, and within 1 of LiteRT."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from chip import plain, simulate, stored
from hypothesis import given, settings

from rocketnpu.compiler import compile_graph
from rocketnpu.evidence import Unproven
from rocketnpu.inspect.reference import reference
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from strategies import PATTERNS, Case, case, cases

FAMILIES = ("conv", "depthwise", "fully_connected", "elementwise", "mean")
PROVEN = Policy(allow_unproven=False)


def check(found: Case, policy: Policy, patterns: tuple[str, ...] = tuple(PATTERNS)) -> str:
    """Compare one case on some pictures; return "cpu" where the NPU does not take it."""
    divided = plan(found.graph, policy)
    if not divided.parts:
        assert all(decision.reason for decision in divided.decisions)
        return "cpu"
    (part,) = divided.parts
    (operator,) = part.operators
    for pattern in patterns:
        expected = reference(found.model, found.inputs(pattern))
        (output,) = simulate(part, [expected[number] for number in part.inputs], policy)
        values = {number: expected[number] for number in part.inputs}
        tensor = part.tensors[part.outputs[0]]
        model = plain(part, values, operator, policy)
        assert np.array_equal(stored(tensor, output), model), f"{found.name}, {pattern}: not the chip's integer model"
        difference = np.abs(output.astype(int) - expected[part.outputs[0]].astype(int))
        assert difference.max() <= 1, f"{found.name}, {pattern}: {difference.max()} from LiteRT"
    return "npu"


@settings(max_examples=60)
@given(found=cases(*FAMILIES))
def test_random_operators(found: Case) -> None:
    check(found, Policy(), ("random", "rows", "channels"))


@pytest.mark.parametrize("family", FAMILIES)
def test_seeded_operators_on_all_patterns(family: str) -> None:
    outcomes = Counter(check(case(family, seed), Policy()) for seed in range(25))
    assert outcomes["npu"] >= 5, outcomes


CLAMPS = {Unproven.CEILING, Unproven.LIFT, Unproven.SHORT_INPUT}
"""What keeps some random convolutions from running on proven rules: clamps inside the output range, tiny inputs."""


@pytest.mark.parametrize("family", ["conv", "depthwise"])
def test_convolutions_on_proven_rules_only(family: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(40):
        found = case(family, seed)
        outcome = check(found, PROVEN, ("random",))
        outcomes[outcome] += 1
        divided = plan(found.graph, PROVEN)
        if outcome == "npu":
            assert compile_graph(divided.parts[0], PROVEN).rules == ()
        else:
            named = divided.decisions[0].reason.partition("without proof on this chip: ")[2].split(", ")
            assert set(named) <= CLAMPS, divided.decisions[0].reason
    assert outcomes["npu"] >= 15, outcomes
