"""Dead channels: the bound is proved on every input that matters, and kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.widen_scales import MAX_CHANGE, Channels, layer_channels, widen_scales, widening
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


def layer(seed: int, depthwise: bool, dead: int) -> Graph:
    """Build a convolution of 32 channels, some of them dead as quantisers leave them: all bias, at the end of int32."""
    random = np.random.default_rng(seed)
    builder = ModelBuilder()
    channels, zero = 32, int(random.integers(-128, 128))
    source = builder.tensor((1, 5, 5, channels), DType.INT8, scale=0.05, zero_point=zero)
    shape = (1, 3, 3, channels) if depthwise else (channels, 3, 3, channels)
    weights = random.integers(-127, 128, shape)
    scales = np.float32(0.004) * 2.0 ** random.uniform(-2, 0, channels).astype(np.float32)
    biases = random.integers(-2000, 2000, channels)
    chosen = random.permutation(channels)[:dead]
    scales[chosen] = np.float32(10.0) ** random.uniform(-11, -8, dead).astype(np.float32)
    biases[chosen] = np.where(random.random(dead) < 0.5, 2**31 - 1, -(2**31))
    number = builder.tensor(shape, DType.INT8, scale=scales, axis=3 if depthwise else 0, data=weights.astype(np.int8))
    bias = builder.tensor((channels,), DType.INT32, scale=scales * np.float32(0.05), data=biases)
    target = builder.tensor((1, 5, 5, channels), DType.INT8, scale=0.06, zero_point=-128)
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    attributes = (ops.DepthwiseConv2D if depthwise else ops.Conv2D)((1, 1), Padding.SAME)
    builder.operator(kind, [source, number, bias], [target], attributes)
    return tflite.parse(builder.build([source], [target]))


def exact_steps(channels: Channels, inputs: np.ndarray) -> np.ndarray:
    """Return outputs in steps, unrounded; inputs of shape ``(n, taps)`` are less their zero point."""
    return (inputs @ channels.weights.T + channels.biases) * channels.factors


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 32))
def test_no_input_changes_an_output_by_more_than_the_bound(seed: int, depthwise: bool, dead: int) -> None:
    graph = layer(seed, depthwise, dead)
    wider = widen_scales(graph)
    (before,), (after,) = graph.operators, wider.operators
    old, new = layer_channels(graph, before), layer_channels(wider, after)
    assert old is not None
    assert new is not None
    random = np.random.default_rng(seed)
    taps = old.weights.shape[1]
    corners = np.where(random.random((64, taps)) < 0.5, old.lowest, old.highest)
    residues = old.weights - new.weights * np.rint(new.factors / old.factors).astype(np.int64)[:, None]
    worst = np.where(residues > 0, old.highest, old.lowest)
    for inputs in (corners, worst, np.where(residues > 0, old.lowest, old.highest)):
        change = np.abs(exact_steps(old, inputs) - exact_steps(new, inputs))
        assert change.max() <= MAX_CHANGE


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("policy", [Policy(), Policy(allow_unproven=False)])
def test_dead_channels_do_not_keep_a_layer_from_the_npu(depthwise: bool, policy: Policy) -> None:
    found = plan(layer(3, depthwise, 4), policy)
    assert len(found.parts) == 1, found


def test_a_live_channel_keeps_its_scale() -> None:
    graph = layer(1, False, 3)
    channels = layer_channels(graph, graph.operators[0])
    assert channels is not None
    exponents = widening(channels)
    dead = np.abs(channels.biases) >= 2**31 - 1
    assert (exponents[dead] > 0).all()
    assert not exponents[~dead].any()


def test_a_channel_that_would_change_too_much_is_left_alone() -> None:
    # A factor of a whole step: nothing of its weights may go.
    channels = Channels(np.array([[100], [127]]), np.array([2**31 - 1, 0]), np.array([1.0, 1000.0]), -128, 127)
    assert not widening(channels).any()


def test_a_layer_without_need_is_the_same_graph() -> None:
    graph = layer(2, False, 0)
    assert widen_scales(graph) is graph
