"""Random operators through the whole way, for both generations: simulator = integer model, LiteRT within the bound.

``ROCKETNPU_TEST_CASES=600 pytest tests/verisilicon/models/test_vsi_operators.py`` is a long search.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "compiler"))
from chip import simulate
from vsi_cases import KINDS

from bench import Case, Drawn, Seeded
from rocketnpu.family import family_of
from rocketnpu.inspect.reference import reference
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

CHIPS = ("a311d", "imx8mp")
SEEDS = int(os.environ.get("ROCKETNPU_TEST_CASES", "10"))
"""Cases of each family and chip; a long search sets it to hundreds."""
NO_REFERENCE = {"ELU"}
"""Kinds that LiteRT's reference kernels lack."""


def check(found: Case, chip: str, patterns: tuple[str, ...] = ("random", "rows", "channels")) -> str:
    """Compare one case on some pictures; return "cpu" where the NPU does not take it."""
    policy, family = Policy(chip=chip), family_of(chip)
    divided = plan(found.graph, policy)
    if not divided.parts:
        assert all(decision.reason for decision in divided.decisions)
        return "cpu"
    for pattern in patterns:
        expected = reference(found.model, found.inputs(pattern))
        for part in divided.parts:
            inputs = {number: expected[number] for number in part.inputs}
            outputs = simulate(part, [inputs[number] for number in part.inputs], policy)
            model = family.model(part, inputs, policy)
            bound = family.bound(part, part.operators)
            steps = bound.steps * len(part.operators)
            for number, output in zip(part.outputs, outputs, strict=True):
                assert np.array_equal(output, model[number]), f"{chip} {found.name}, {pattern}: not the integer model"
                difference = np.abs(output.astype(int) - expected[number].astype(int)).max()
                assert difference <= steps, f"{chip} {found.name}, {pattern}: {difference} from LiteRT"
    return "npu"


@st.composite
def cases(draw, *kinds: str) -> Case:
    return KINDS[draw(st.sampled_from(kinds))](Drawn(draw))


@settings(max_examples=40)
@given(found=cases("dense", "channelwise", "total", "average"), chip=st.sampled_from(CHIPS))
def test_random_operators(found: Case, chip: str) -> None:
    check(found, chip)


LEAST = {"concatenation": 4, "activation": 2, "average": 3, "mean": 2}
"""Of kinds of which many cases stay on the CPU, the part that is taken at least: one in so many."""


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_seeded_operators(kind: str, chip: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(SEEDS):
        found = KINDS[kind](Seeded(seed))
        if not any(operator.kind in NO_REFERENCE for operator in found.graph.operators):
            outcomes[check(found, chip)] += 1
    print(f"{chip} {kind}: {dict(outcomes)}")
    assert outcomes["npu"] * LEAST.get(kind, 1.25) >= outcomes.total() - 4, outcomes
