"""Random operators through the whole way: simulator = integer model byte for byte, and within 1 of LiteRT."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from chip import simulate
from hypothesis import given, settings

from rocketnpu.compiler import compile_graph
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.models.operator_model import graph_model
from strategies import FAMILIES as ALL_FAMILIES
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
    for pattern in patterns:
        expected = reference(found.model, found.inputs(pattern))
        (output,) = simulate(part, [expected[number] for number in part.inputs], policy)
        values = {number: expected[number] for number in part.inputs}
        model = graph_model(part, values, policy)[part.outputs[0]]
        assert np.array_equal(output, model), f"{found.name}, {pattern}: not the chip's integer model"
        difference = np.abs(output.astype(int) - expected[part.outputs[0]].astype(int))
        assert difference.max() <= 1, f"{found.name}, {pattern}: {difference.max()} from LiteRT"
    return "npu"


@settings(max_examples=60)
@given(found=cases(*FAMILIES))
def test_random_operators(found: Case) -> None:
    check(found, Policy(), ("random", "rows", "channels"))


SEEDS = int(os.environ.get("ROCKETNPU_TEST_CASES", "12"))
"""Cases of each family; a long search sets it to hundreds."""
NO_REFERENCE = {"ELU"}
"""Kinds that LiteRT's reference kernels lack; the tests of look-up tables compare them with other kernels."""


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_seeded_operators_on_all_patterns(family: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(SEEDS):
        found = case(family, seed)
        if any(operator.kind in NO_REFERENCE for operator in found.graph.operators):
            continue
        outcomes[check(found, Policy())] += 1
    assert outcomes["npu"] >= SEEDS // 6, outcomes


CLAMPS = {Unproven.CEILING, Unproven.LIFT}
"""What keeps some random convolutions from running on proven rules: clamps inside the output range."""


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


def test_sums_beyond_24_bits_are_exact() -> None:
    """A depthwise kernel of 30x30 times 255 adds up to 255 * 127 * 900 stored steps, more than single precision holds,
    and the output shows the sum's last bits.
    """
    builder = ModelBuilder()
    shape = (1, 30, 30, 5)
    source = builder.tensor(shape, DType.UINT8, scale=0.5, zero_point=128)
    kernel = builder.tensor(shape, DType.UINT8, scale=0.5, data=np.full(shape, 255, np.uint8))
    picture = np.full(shape, 255, np.uint8)
    picture[0, :3] = np.random.default_rng(5).integers(228, 256, (3, 30, 5))
    sums = (picture.astype(np.int64) - 128).sum((0, 1, 2)) * 255
    bias = builder.tensor((5,), DType.INT32, scale=0.25, data=(37 - sums).astype(np.int32))
    target = builder.tensor((1, 1, 1, 5), DType.UINT8, scale=0.25)
    attributes = ops.DepthwiseConv2D((1, 1), Padding.VALID)
    builder.operator("DEPTHWISE_CONV_2D", [source, kernel, bias], [target], attributes)
    model = builder.build([source], [target])
    (part,) = plan(tflite.parse(model)).parts
    (output,) = simulate(part, [picture])
    assert output.reshape(-1).tolist() == [37] * 5
