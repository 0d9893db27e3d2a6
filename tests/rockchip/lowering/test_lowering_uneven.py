"""Channels whose scales spread so far that sixteen neighbours cannot share a factor: several passes, added up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_checks import simulate

from rocketnpu.graph import Activation, DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import operator_reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588


def uneven(seed: int, kind: str, activation: Activation, channels: int = 40) -> Graph:
    """Build a layer with one channel in eight of a weight scale 50 to 3,000 times its neighbours'."""
    random = np.random.default_rng(seed)
    builder = ModelBuilder()
    zero = int(random.integers(-128, 20))
    source = builder.tensor((1, 6, 5, channels), DType.INT8, scale=0.05, zero_point=zero)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    shape = (1, 3, 3, channels) if depthwise else (channels, 3, 3, channels)
    taps = 9 if depthwise else 9 * channels
    weights = random.integers(-127, 128, shape)
    # Outputs of the small channels fill the range, those of the large ones leave it.
    scales = np.full(channels, 0.06 * 127 / (0.05 * 74 * 74 * np.sqrt(taps)), np.float32)
    scales *= 2.0 ** random.uniform(-2, 0, channels).astype(np.float32)
    odd = random.permutation(channels)[: channels // 8]
    scales[odd] *= random.uniform(50, 3000, len(odd)).astype(np.float32)
    number = builder.tensor(shape, DType.INT8, scale=scales, axis=3 if depthwise else 0, data=weights.astype(np.int8))
    biases = random.integers(-3000, 3000, channels)
    bias = builder.tensor((channels,), DType.INT32, scale=scales * np.float32(0.05), data=biases)
    target = builder.tensor((1, 6, 5, channels), DType.INT8, scale=0.06, zero_point=int(random.integers(-128, 20)))
    attributes = (ops.DepthwiseConv2D if depthwise else ops.Conv2D)((1, 1), Padding.SAME, activation=activation)
    builder.operator(kind, [source, number, bias], [target], attributes)
    return tflite.parse(builder.build([source], [target]))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D"]),
    st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6]),
    st.booleans(),
)
def test_uneven_channels_stay_within_one(seed: int, kind: str, activation: Activation, unproven: bool) -> None:
    graph, policy = uneven(seed, kind, activation), Policy(allow_unproven=unproven)
    found = plan(graph, policy)
    if not found.parts:  # a clamp that proven rules do not have
        assert not unproven, found
        return
    random = np.random.default_rng(seed)
    values = random.integers(-128, 128, (1, 6, 5, 40)).astype(np.int8)
    ((output,),) = simulate(found.parts[0], [[values]], policy)
    number = graph.outputs[0]
    assert np.array_equal(output, graph_model(graph, {graph.inputs[0]: values}, policy)[number])
    (wanted,) = operator_reference(graph, graph.operators[0], [values])
    assert np.abs(output.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_neighbours_that_spread_too_far_take_another_pass(kind: str) -> None:
    lowered = lower(uneven(5, kind, Activation.NONE), RK3588, Policy())
    adding = [task for task in lowered.tasks if task.output.elementwise is not None]
    assert adding
    assert len(adding) < len(lowered.tasks)
