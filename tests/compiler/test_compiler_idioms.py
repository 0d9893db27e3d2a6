"""Converters' idioms: simulator = integer model, within the bound of LiteRT's kernels; which of them the NPU takes."""

from __future__ import annotations

import numpy as np
import pytest
from chip import simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from idiom_models import IDIOMS, idiom_model
from rocketnpu.errors import UnsupportedError
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.models.operator_model import graph_model


def check(name: str, seed: int, policy: Policy) -> bool:
    """Compare an idiom with the integer model and with LiteRT; return whether the NPU takes it whole."""
    model = idiom_model(name, seed)
    graph = tflite.parse(model)
    divided = plan(graph, policy)
    if not all(decision.supported for decision in divided.decisions):
        assert all(decision.supported or decision.reason for decision in divided.decisions)
        return False
    assert len(divided.parts) == 1
    (part,) = divided.parts
    random = np.random.default_rng(seed)
    tensor = graph.tensors[graph.inputs[0]]
    limits = np.iinfo(tensor.dtype.value)
    values = random.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype.value)
    (found,) = simulate(part, [values], policy)
    number = graph.outputs[0]
    np.testing.assert_array_equal(found, graph_model(part, {graph.inputs[0]: values}, policy)[number])
    try:
        wanted = reference(model, [values])[number]
    except UnsupportedError:  # no reference kernel of these versions
        return True
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= IDIOMS[name][1], f"{name} {seed}"
    return True


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms_are_taken_and_right(name: str) -> None:
    taken = [check(name, seed, Policy()) for seed in range(12)]
    # Some reductions leave a row where a column of pixels is, or go over channels that no unit compares.
    assert sum(taken) >= (5 if name == "reduced" else 9), f"{name}: {taken}"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(IDIOMS)), st.integers(0, 2**32 - 1), st.booleans())
def test_random_idioms(name: str, seed: int, unproven: bool) -> None:
    check(name, seed, Policy(allow_unproven=unproven))
