"""What operators become: the open driver's ways where these are known, bounds where ours are."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from vsi_cases import KINDS

from bench import Drawn, Seeded
from rocketnpu.errors import UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.lowering.kernels import Kernel, dense, quartered
from rocketnpu.verisilicon.lowering.per_channel import folding
from rocketnpu.verisilicon.lowering.placement import place
from rocketnpu.verisilicon.lowering.sums import MAX_ERROR, flat_shape, operand_weights
from rocketnpu.verisilicon.prepared import lower
from rocketnpu.verisilicon.soc import A311D, IMX8MP
from rocketnpu.verisilicon.tasks.task import Convolution, MoveKind

SOCS = {"a311d": A311D, "imx8mp": IMX8MP}


def convolution(kind, size, kernel, stride, channels, outputs, activation=ops.Activation.NONE, scale=0.05):
    """A graph of one convolution, UINT8, SAME."""
    builder = ModelBuilder()
    x = builder.tensor((1, size, size, channels), DType.UINT8, scale=0.02, zero_point=110)
    shape = (1, kernel, kernel, outputs) if kind == "DEPTHWISE_CONV_2D" else (outputs, kernel, kernel, channels)
    values = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    weights = builder.tensor(shape, DType.UINT8, scale=0.01, zero_point=121, data=values)
    bias = builder.tensor((outputs,), DType.INT32, scale=0.0002, data=np.arange(outputs))
    out = -(-size // stride)
    y = builder.tensor((1, out, out, outputs), DType.UINT8, scale=scale, zero_point=100)
    attributes = (ops.DepthwiseConv2D if kind == "DEPTHWISE_CONV_2D" else ops.Conv2D)(
        (stride, stride), Padding.SAME, (1, 1), activation
    )
    builder.operator(kind, [x, weights, bias], [y], attributes)
    return tflite.parse(builder.build([x], [y]), "one")


def tasks_of(graph, chip):
    return lower(graph, SOCS[chip], Policy(chip=chip)).tasks


@pytest.mark.parametrize("chip", list(SOCS))
def test_a_dense_stride_of_two_cuts_the_image_into_quarters(chip):
    move, work = tasks_of(convolution("CONV_2D", 16, 3, 2, 16, 32), chip)
    assert move.kind is MoveKind.QUARTER
    assert (move.target.channels, move.target.height, move.target.width) == (64, 9, 9)
    assert work.weights.shape == (32, 64, 2, 2)
    assert (work.step, work.stride, work.top) == (1, 2, 0)


@pytest.mark.parametrize(("chip", "size"), [("a311d", 17), ("a311d", 16), ("imx8mp", 7), ("imx8mp", 17)])
def test_a_depthwise_stride_of_two_keeps_first_pixels_and_begins_where_same_padding_does(chip, size):
    """Mesa begins at 0 where sizes are odd (facts 9.5)."""
    (work,) = tasks_of(convolution("DEPTHWISE_CONV_2D", size, 3, 2, 8, 8), chip)
    assert (work.step, work.top) == (2, size % 2)
    assert work.depthwise == (chip == "imx8mp")
    assert work.weights.shape[1] == (1 if chip == "imx8mp" else 8)


def test_small_depthwise_maps_of_generation_7_are_cut_into_quarters():
    """Mesa shapes the kernel so, but leaves the image whole (facts 9.6)."""
    move, work = tasks_of(convolution("DEPTHWISE_CONV_2D", 7, 3, 2, 32, 32), "a311d")
    assert move.kind is MoveKind.QUARTER
    assert move.top == 1
    assert work.weights.shape == (32, 128, 2, 2)


@pytest.mark.parametrize("chip", list(SOCS))
def test_a_seven_by_seven_window_begins_three_before(chip):
    """Mesa begins two before (facts 9.4)."""
    (work,) = tasks_of(convolution("CONV_2D", 16, 7, 1, 4, 8), chip)
    assert (work.top, work.left) == (3, 3)


@pytest.mark.parametrize("chip", list(SOCS))
@pytest.mark.parametrize(
    ("activation", "scale", "relu", "moves"),
    [
        (ops.Activation.RELU, 0.05, True, 0),
        (ops.Activation.RELU6, 6 / 155, True, 0),
        (ops.Activation.RELU6, 0.1, True, 1),
        (ops.Activation.RELU_N1_TO_1, 0.1, False, 2),
    ],
)
def test_clamps(chip, activation, scale, relu, moves):
    work, *others = tasks_of(convolution("CONV_2D", 8, 3, 1, 8, 8, activation, scale), chip)
    assert isinstance(work, Convolution)
    assert work.relu == relu
    assert [other.kind for other in others] == [MoveKind.LOOKUP] * moves


def test_too_large_a_kernel_is_refused_with_the_number():
    graph = convolution("CONV_2D", 16, 13, 1, 4, 4)
    assert "13x13" in (family_of("a311d").checker(graph, Policy(chip="a311d")).refusal(graph.operators[0]) or "")
    assert family_of("imx8mp").checker(graph, Policy(chip="imx8mp")).refusal(graph.operators[0]) is None


def channelwise_kernel(count, channels, scales, seed=0):
    random = np.random.default_rng(seed)
    weights = random.integers(1, 256, (count, channels, 3, 3), np.uint8)
    return Kernel(weights, 128, tuple(scales), random.integers(-1000, 1000, count))


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 255), st.floats(1e-4, 3), st.integers(0, 99))
def test_what_folding_leaves_out_never_exceeds_what_is_said(count, channels, zero_point, units, seed):
    random = np.random.default_rng(seed)
    scales = 2.0 ** random.uniform(-10, -4, count)
    kernel = channelwise_kernel(count, channels, scales, seed)
    try:
        found = folding(kernel, zero_point, units, 255)
    except UnsupportedError:
        return
    assert [run.first for run in found.runs[1:]] == [run.last for run in found.runs[:-1]]
    assert found.runs[-1].last == count
    images = random.choice([0, 255, zero_point], (20, channels, 3, 3))
    for run in found.runs:
        exact = kernel.weights[run.first : run.last].astype(float) - 128
        exact *= scales[run.first : run.last, None, None, None] * units
        rough = run.weights * run.scale * units
        left = np.einsum("kcij,ncij->nk", exact - rough, images - float(zero_point))
        bias = (run.bias_rest * run.scale * units)[None]
        assert (left + bias).max() <= run.high + 1e-6
        assert (left + bias).min() >= run.low - 1e-6
        small = np.rint(run.rest / run.unit) * run.unit - run.rest
        beyond = np.einsum("kcij,ncij->nk", small * run.scale * units, images - float(zero_point))
        assert np.abs(beyond).max() <= run.left + abs(run.scale * units * run.unit) + 1e-6
        if found.is_sum:
            assert (found.wide + found.fine) / 2 + run.left + found.weights.error < found.steps


@settings(max_examples=40)
@given(st.integers(2, 24), st.integers(1, 40), st.floats(0.002, 2), st.sampled_from(list(SOCS)), st.integers(0, 99))
def test_the_worst_images_stay_within_the_bound(count, channels, units, chip, seed):
    """Pixels that push each channel as far up and down as the rounding of its weights allows."""
    random = np.random.default_rng(seed)
    scales = (2.0 ** random.uniform(-9, -5, count)).astype(np.float32)
    weights = random.integers(-127, 128, (count, 1, 1, channels)).astype(np.int8)
    ratios = scales.astype(float) / scales.max()
    rest = weights[:, 0, 0] * ratios[:, None]
    rest -= np.rint(rest)
    pixels = np.concatenate([np.where(rest > 0, 127, -128), np.where(rest > 0, -128, 127)]).astype(np.int8)
    builder = ModelBuilder()
    x = builder.tensor((1, 1, len(pixels), channels), DType.INT8, scale=0.02, zero_point=-128)
    w = builder.tensor(weights.shape, DType.INT8, scale=scales.tolist(), zero_point=[0] * count, axis=0, data=weights)
    out = 0.02 * float(scales.max()) / units
    y = builder.tensor((1, 1, len(pixels), count), DType.INT8, scale=out, zero_point=0)
    biases = -(weights[:, 0, 0].astype(np.int64) * 128).sum(axis=1)
    bias = builder.tensor((count,), DType.INT32, scale=1.0, data=biases)
    builder.operator("CONV_2D", [x, w, bias], [y], ops.Conv2D((1, 1), Padding.VALID))
    graph, policy, family = tflite.parse(builder.build([x], [y]), "worst"), Policy(chip=chip), family_of(chip)
    if not plan(graph, policy).parts:
        return
    (found,) = family.model(graph, {graph.inputs[0]: pixels.reshape(1, 1, len(pixels), channels)}, policy).values()
    sums = (pixels.astype(np.int64) + 128) @ weights[:, 0, 0].astype(np.int64).T + biases
    exact = np.clip(np.floor(sums * (0.02 * scales.astype(float) / np.float32(out)) + 0.5), -128, 127)
    bound = family.bound(graph, graph.operators)
    assert np.abs(found[0, 0].astype(int) - exact).max() <= bound.steps


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(1e-3, 4), st.booleans())
def test_weights_stand_for_scales(first, second, factor, negative):
    output = factor * max(first, second)
    try:
        found = operand_weights(first, -second if negative else second, output)
    except UnsupportedError:
        return
    assert 0 <= found.first <= 255
    assert (found.second <= 0) if negative else (0 <= found.second <= 255)
    assert found.first + max(0, -found.second) <= 255
    for weight, scale in ((found.first, first), (found.second, -second if negative else second)):
        assert abs(weight * found.factor - scale / output) * 255 <= MAX_ERROR + 1e-9


@given(st.integers(1, 200000), st.sampled_from([6, 8]))
def test_any_bytes_are_an_image(size, cores):
    try:
        planes, rows, columns = flat_shape(size, cores)
    except UnsupportedError:
        assert size > 8191
        return
    assert planes * rows * columns == size
    assert max(rows, columns) <= 8191


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(0, 255))
def test_quarters_of_a_kernel_hold_its_weights(count, channels, rows, columns, zero_point):
    weights = np.random.default_rng(1).integers(0, 256, (count, channels, rows, columns), np.uint8)
    found = quartered(Kernel(weights, zero_point, (1.0,), np.zeros(count, np.int64))).weights
    for row in range(rows):
        for column in range(columns):
            part = found[:, 2 * (row % 2) + column % 2 :: 4, row // 2, column // 2]
            assert np.array_equal(part, weights[:, :, row, column])
    assert (found == zero_point).sum() >= found.size - weights.size


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_a_dense_kernel_reads_its_own_channel(channels, multiplier, size):
    weights = np.random.default_rng(1).integers(1, 256, (channels * multiplier, 1, size, size), np.uint8)
    kernel = Kernel(weights, 0, (1.0,), np.zeros(len(weights), np.int64), depthwise=True)
    found = dense(kernel, channels).weights
    for number in range(len(weights)):
        assert np.array_equal(found[number, number // multiplier], weights[number, 0])
        assert np.count_nonzero(found[number]) == np.count_nonzero(weights[number])


@given(st.sampled_from(list(KINDS)), st.data())
def test_maps_lie_where_their_shapes_say(kind, data):
    graph = KINDS[kind](Drawn(data.draw)).graph
    features = place(graph)
    for number, planes in features.items():
        assert planes.size == graph.tensors[number].elements


@pytest.mark.parametrize("chip", list(SOCS))
@pytest.mark.parametrize("seed", [319, 432])
def test_outputs_of_a_single_value(seed, chip):
    """Clamped to one byte by their activations: nothing is divided by the width of the range."""
    found = KINDS["dense"](Seeded(seed))
    [operator] = found.graph.operators
    assert operator.attributes.activation is not ops.Activation.NONE
    divided = plan(found.graph, Policy(chip=chip))
    if divided.parts:
        [picture] = found.inputs("random")
        outputs = family_of(chip).model(found.graph, {found.graph.inputs[0]: picture}, Policy(chip=chip))
        assert len(np.unique(outputs[operator.outputs[0]])) == 1
    else:
        assert "every value is clamped to" in str(divided.decisions[0].reason)


@pytest.mark.parametrize("chip", list(SOCS))
def test_windows_inside_a_map_need_permission(chip):
    policy, taken, refused = Policy(chip=chip, allow_unproven=False), 0, 0
    for seed in range(20):
        graph = KINDS["cut"](Seeded(seed)).graph
        reason = plan(graph, policy).decisions[0].reason
        if "inner-window" in reason:
            refused += 1
            taken += len(plan(graph, Policy(chip=chip)).parts)
    assert taken == refused > 0
