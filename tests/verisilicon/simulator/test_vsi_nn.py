"""The NN cores against arithmetic written out: one pixel, one kernel, one product at a time."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vsi_machine import FILL, KERNELS, NN, Rig, exact_scale, nn_fields, scale_fields, write_kernels

from rocketnpu.errors import SimulationError

GENERATIONS = st.sampled_from([7, 8])


def rounded(value: Fraction) -> int:
    """Half away from zero."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


def expected(generation, weights, biases, image, *, zero_point, border, offset, step, out, scale, out_zero, relu):
    """What the description says, in whole numbers; depthwise where kernels have one channel and there are several."""
    kernels, channels, rows, columns = weights.shape
    depthwise = channels == 1 and len(image) == kernels and kernels > 1
    lift = 128 if generation == 8 else 0
    numerator, shift = exact_scale(generation, scale)
    found = np.zeros((kernels, *out), np.uint8)
    for kernel, y, x in product(range(kernels), range(out[0]), range(out[1])):
        total = int(biases[kernel])
        for channel, row, column in product(range(channels), range(rows), range(columns)):
            at_y, at_x = y * step + offset[0] + row, x * step + offset[1] + column
            inside = 0 <= at_y < image.shape[1] and 0 <= at_x < image.shape[2]
            pixel = int(image[kernel if depthwise else channel, at_y, at_x]) if inside else border
            total += (int(weights[kernel, channel, row, column]) - zero_point) * (pixel - lift)
        value = rounded(Fraction(total * numerator, 1 << shift)) + out_zero
        found[kernel, y, x] = min(max(value, out_zero if relu else 0), 255)
    return found


@st.composite
def convolutions(draw):
    generation = draw(GENERATIONS)
    depthwise = generation == 8 and draw(st.booleans())
    kernels = draw(st.integers(2 if depthwise else 1, 10))
    channels = 1 if depthwise else draw(st.integers(1, 7))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return {
        "generation": generation,
        "depthwise": depthwise,
        "shape": (kernels, channels, rows, columns),
        "image": (kernels if depthwise else channels, height, width),
        "out": (draw(st.integers(1, 5)), draw(st.integers(1, 5))),
        "offset": (draw(st.integers(-3, 1)), draw(st.integers(-3, 1))),
        "step": draw(st.sampled_from([1, 2])),
        "per_core": draw(st.integers(1, 3)),
        "scale": draw(st.sampled_from([0.5, 0.013, 0.0071, 1e-4, 0.25])),
        "relu": draw(st.booleans()),
        "sparse": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@settings(max_examples=150)
@given(convolutions())
def test_any_convolution(case):
    random = np.random.default_rng(case["seed"])
    generation = case["generation"]
    weights = random.integers(0, 256, case["shape"], np.uint8)
    zero_point, border, out_zero = (int(value) for value in random.integers(0, 256, 3))
    if case["sparse"]:
        weights[:, random.random(weights.shape[1]) < 0.8] = zero_point
    image = random.integers(0, 256, case["image"], np.uint8)
    biases = random.integers(-30000, 30000, len(weights))
    check(case, generation, weights, biases, image, zero_point, border, out_zero)


def check(case, generation, weights, biases, image, zero_point, border, out_zero):
    rig = Rig(generation)
    rig.image[: image.size] = image.ravel()
    out, step = case["out"], case["step"]
    plane = out[0] * out[1]
    common = {"zero_point": zero_point, "per_core": case["per_core"]}
    depthwise = case["depthwise"]
    write_kernels(rig, generation, weights, biases, plane=plane, depthwise=depthwise, **common)
    fields = nn_fields(
        generation, weights=weights, image=image, out=out, offset=case["offset"], step=step, **common
    ) | scale_fields(generation, case["scale"])
    fields |= {"BORDER_CONSTANT": border, "OUT_ZERO_POINT": out_zero, "RELU": int(case["relu"])}
    if depthwise:
        fields |= {"DEPTHWISE": 1, "KERNEL_Z": len(weights)}
    report = rig.run(NN, fields)
    wanted = expected(
        generation,
        weights,
        biases,
        image,
        zero_point=zero_point,
        border=border,
        offset=case["offset"],
        step=step,
        out=out,
        scale=case["scale"],
        out_zero=out_zero,
        relu=case["relu"],
    )
    assert np.array_equal(rig.target[: wanted.size].reshape(wanted.shape), wanted)
    assert (rig.target[wanted.size :] == FILL).all()
    assert report.jobs[0].macs == wanted.size * weights[0].size * step**2


BASE = {
    "depthwise": False,
    "out": (2, 2),
    "offset": (0, 0),
    "step": 1,
    "per_core": 1,
    "scale": 0.5,
    "relu": False,
}


@pytest.mark.parametrize("generation", [7, 8])
def test_rounding_is_half_away_from_zero(generation):
    """Sums of odd numbers, halved: every result is a tie, on both sides of zero."""
    weights = np.array([[[[1]]]], np.uint8)
    image = np.array([[[1, 3], [5, 7]]], np.uint8)
    lift = 128 if generation == 8 else 0
    check(BASE, generation, weights, [lift - 4], image, 0, 0, 100)
    rig_free = expected(
        generation,
        weights,
        [lift - 4],
        image,
        zero_point=0,
        border=0,
        offset=(0, 0),
        step=1,
        out=(2, 2),
        scale=0.5,
        out_zero=100,
        relu=False,
    )
    assert rig_free.ravel().tolist() == [98, 99, 101, 102]


def test_sums_that_single_precision_does_not_hold():
    random = np.random.default_rng(1)
    weights = random.choice(np.array([0, 255], np.uint8), (2, 300, 3, 3))
    image = random.choice(np.array([0, 255], np.uint8), (300, 4, 4))
    case = BASE | {"scale": 1e-4}
    check(case, 7, weights, [3, -3], image, 0, 0, 128)
    assert 255 * 128 * 2700 > 1 << 24


def test_products_that_double_precision_does_not_hold():
    weights = np.array([[[[1]]]], np.uint8)
    image = np.array([[[200, 7], [9, 255]]], np.uint8)
    check(BASE | {"scale": 5e-8}, 8, weights, [2_000_000_000], image, 0, 0, 10)


def test_a_tensor_among_others_and_rows_with_gaps():
    """Strides larger than the map: what lies between rows and planes is neither read nor written."""
    rig = Rig(7)
    random = np.random.default_rng(2)
    weights, image = random.integers(0, 256, (3, 2, 1, 1), np.uint8), random.integers(0, 256, (2, 2, 3), np.uint8)
    store = rig.image[: 2 * 4 * 5].reshape(2, 4, 5)
    store[:, :2, :3] = image
    common = {"zero_point": 7, "per_core": 1}
    write_kernels(rig, 7, weights, [1, 2, 3], plane=6 * 7, **common)
    fields = nn_fields(7, weights=weights, image=image, out=(2, 3), **common) | scale_fields(7, 0.01)
    fields |= {"IN_X_STRIDE": 5, "IN_Y_STRIDE": 4, "OUT_X_STRIDE": 7, "OUT_Y_STRIDE": 6, "OUT_ZERO_POINT": 99}
    rig.run(NN, fields)
    planes = rig.target[: 3 * 6 * 7].reshape(3, 6, 7)
    wanted = expected(
        7,
        weights,
        [1, 2, 3],
        image,
        zero_point=7,
        border=0,
        offset=(0, 0),
        step=1,
        out=(2, 3),
        scale=0.01,
        out_zero=99,
        relu=False,
    )
    assert np.array_equal(planes[:, :2, :3], wanted)
    planes[:, :2, :3] = FILL
    assert (rig.target == FILL).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"LAYER_TYPE": 1}, "NN.LAYER_TYPE: 1; only 0 is known"),
        ({"PER_CHANNEL_MULTIPLIER": 1}, "NN.PER_CHANNEL_MULTIPLIER"),
        ({"ROUNDING": 0}, "NN.ROUNDING: 0; only 1 is known"),
        ({"POOLING": 1}, "NN.POOLING: 1 with POOLING_XY 1"),
        ({"POOLING": 3, "POOLING_XY": 0, "OUT_X": 3}, "NN.OUT_X: 3: the size before pooling"),
        ({"DEPTHWISE": 1}, "generation 7 has no depthwise kernels"),
        ({"MULTIPLIER": 1 << 15}, "this generation has 15 bits"),
        ({"KERNEL_X": 0}, "NN.KERNEL_X: 0"),
        ({"IN_X": 0}, "NN.IN_X: 0: an empty map"),
        ({"IN_X_STRIDE": 1}, "NN.IN_X_STRIDE: 1x2 for a map of 2x2: rows overlap"),
        ({"OUT_Y_STRIDE": 1}, "NN.OUT_X_STRIDE: 2x1 for a map of 2x2"),
        ({"BORDER_CONSTANT": 256}, "NN.BORDER_CONSTANT: 256"),
        ({"COEFFICIENTS_64": 1}, "the coefficients at 0x40 lie in no buffer"),
        ({"IN_ADDRESS": 0}, "NN.IN_ADDRESS: read of 0x0..0x3"),
        ({"OUT_ADDRESS": 0}, "NN.OUT_ADDRESS: write of 0x0..0x3"),
    ],
)
def test_what_is_not_known_is_refused(changes, said):
    rig = Rig(7)
    weights, image = np.ones((1, 1, 1, 1), np.uint8), np.ones((1, 2, 2), np.uint8)
    write_kernels(rig, 7, weights, [0], zero_point=0, per_core=1, plane=4)
    fields = nn_fields(7, weights=weights, image=image, out=(2, 2), zero_point=0, per_core=1)
    with pytest.raises(SimulationError) as caught:
        rig.run(NN, fields | {"SHIFT": 15} | changes)
    assert f"task 0, {said}" in str(caught.value) or said in str(caught.value)
    assert (rig.target == FILL).all()


def test_sums_beyond_what_is_known_are_refused():
    rig = Rig(7)
    weights, image = np.ones((1, 1, 1, 1), np.uint8), np.ones((1, 2, 2), np.uint8)
    write_kernels(rig, 7, weights, [2**31 - 1], zero_point=0, per_core=1, plane=4)
    fields = nn_fields(7, weights=weights, image=image, out=(2, 2), zero_point=0, per_core=1) | {"SHIFT": 15}
    with pytest.raises(SimulationError, match="beyond 32 bits nothing is known"):
        rig.run(NN, fields)


def test_kernels_that_change_are_read_again():
    rig = Rig(8)
    image = np.full((1, 2, 2), 129, np.uint8)
    rig.image[:4] = 129
    results = []
    for value in (10, 20, 10):
        weights = np.full((1, 1, 1, 1), value, np.uint8)
        write_kernels(rig, 8, weights, [0], zero_point=0, per_core=1, plane=4)
        rig.run(NN, nn_fields(8, weights=weights, image=image, out=(2, 2), zero_point=0, per_core=1))
        results.append(int(rig.target[0]))
    assert results == [10, 20, 10]


@pytest.mark.parametrize("generation", [7, 8])
@pytest.mark.parametrize("offset", [(0, 0), (-500, -500)])
def test_a_large_border_around_a_small_image_takes_no_memory(generation, offset):
    """Sixty-four bytes of image, with a gigabyte of border in single precision around it."""
    weights, image = np.ones((1, 64, 1, 1), np.uint8), np.zeros((64, 1, 1), np.uint8)
    rig = Rig(generation, 1 << 22)
    common = {"zero_point": 0, "per_core": 1}
    write_kernels(rig, generation, weights, [0], plane=1 << 22, **common)
    fields = nn_fields(generation, weights=weights, image=image, out=(2048, 2048), offset=offset, **common)
    with pytest.raises(
        SimulationError, match="2048x2048 windows take 1,073,741,824 bytes, more than are spent on a job"
    ):
        rig.run(NN, fields | scale_fields(generation, 0.5))
    assert (rig.target == FILL).all()


@pytest.mark.parametrize("generation", [7, 8])
def test_more_weights_than_any_job_has_are_not_read(generation):
    """Cores share kernels: each has few enough."""
    weights, image = np.ones((1, 1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8)
    rig = Rig(generation)
    common = {"zero_point": 0, "per_core": 1}
    write_kernels(rig, generation, weights, [0], plane=1, **common)
    fields = nn_fields(generation, weights=weights, image=image, out=(1, 1), **common) | scale_fields(generation, 0.5)
    fields |= {"OUT_Z": 8000, "KERNEL_Z": 8000, "KERNEL_X": 15, "KERNEL_Y": 15, "IN_ADDRESS": KERNELS}
    fields |= {"IN_X": 1, "IN_Y": 1, "IN_X_STRIDE": 1, "IN_Y_STRIDE": 1}
    with pytest.raises(SimulationError, match="8000 kernels of 1800000 weights are more than any job can hold"):
        rig.run(NN, fields)
