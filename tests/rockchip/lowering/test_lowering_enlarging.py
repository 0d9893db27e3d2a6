"""TRANSPOSE_CONV and RESIZE through convolutions: exact in arithmetic, and every pixel in its place."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_checks import PROVEN, check, parsed

from bench import Case
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.rockchip.lowering.convolution import Kernel
from rocketnpu.rockchip.lowering.enlarging import (
    Taps,
    _check_windows,
    bilinear_weights,
    phase_taps,
)
from rocketnpu.rockchip.tasks.feature import FeatureMap
from strategies import case, cases


def test_seeded_transposed_convolutions_on_all_patterns() -> None:
    outcomes = Counter(check(case("transpose_conv", seed), 1) for seed in range(40))
    assert outcomes == {"": 40}


def test_seeded_resizes_on_all_patterns() -> None:
    outcomes = Counter(check(case("resize", seed), 1) for seed in range(60))
    assert outcomes[""] >= 25, outcomes
    told = ("Corners are not aligned", "Height and width grow", "Every pixel is repeated", "INT8 maps grow")
    assert all(reason.startswith(told) for reason in outcomes if reason), outcomes


@settings(max_examples=40)
@given(found=cases("transpose_conv", "resize"))
def test_random_operators(found: Case) -> None:
    check(found, 1, patterns=("random", "columns", "rows"))


def test_gaps_behind_lines_are_proven() -> None:
    """Row-major int8 outputs of RK3588 have them (outside 3)."""
    assert {check(case("transpose_conv", seed), 1, PROVEN, ("random",)) for seed in range(12)} == {""}


@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 6),
    before=st.integers(0, 4),
    size=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_phases_are_the_transposed_convolution(kernel: int, stride: int, before: int, size: int, seed: int) -> None:
    """One axis: every output by its definition, and by the taps of its phase."""
    random = np.random.default_rng(seed)
    values, weights = random.integers(-9, 10, size), random.integers(-9, 10, kernel)
    whole = np.zeros((size - 1) * stride + kernel, np.int64)
    for place, value in enumerate(values):
        whole[place * stride : place * stride + kernel] += value * weights
    wanted = whole[before:]
    for phase in range(min(stride, len(wanted))):
        try:
            taps = phase_taps(phase, kernel, stride, before)
        except UnsupportedError:
            assert phase + before >= stride
            continue
        found = weights[taps.chosen][::-1]
        count = len(wanted[phase::stride])
        padded = np.concatenate([np.zeros(taps.padding, np.int64), values, np.zeros(count + kernel, np.int64)])
        sums = [int(padded[u : u + len(found)] @ found) for u in range(count)]
        assert sums == wanted[phase::stride].tolist()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("half", [False, True])
def test_bilinear_weights_are_tflites(factor: int, half: bool) -> None:
    for phase in range(factor):
        weights, total = bilinear_weights(phase, factor, ops.Resize(half_pixel_centers=half))
        place = (phase + 0.5) / factor - 0.5 if half else phase / factor
        assert sum(weights) == total
        assert min(weights) >= 0
        assert np.dot(weights, (-1, 0, 1)) / total == pytest.approx(place)


def resized(
    kind: str, size: tuple[int, int, int], factor: tuple[int, int], attributes: ops.Resize, dtype: DType
) -> Case:
    builder = ModelBuilder()
    rows, columns, channels = size
    wanted = (rows * factor[0], columns * factor[1])
    x = builder.tensor((1, *size), dtype, scale=0.1, zero_point=3)
    shape = builder.tensor((2,), DType.INT32, data=np.array(wanted, np.int32))
    y = builder.tensor((1, *wanted, channels), dtype, scale=0.1, zero_point=3)
    builder.operator(kind, [x, shape], [y], attributes)
    return parsed(builder, [x], [y], kind)


@pytest.mark.parametrize("factor", [(1, 1), (1, 2), (2, 1), (3, 2), (4, 4)])
@pytest.mark.parametrize("half", [False, True])
def test_nearest_is_exact(factor: tuple[int, int], half: bool) -> None:
    attributes = ops.Resize(half_pixel_centers=half)
    assert check(resized("RESIZE_NEAREST_NEIGHBOR", (5, 7, 20), factor, attributes, DType.UINT8), 0) == ""


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (4, 1), (2, 4)])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_bilinear_is_close(factor: tuple[int, int], half: bool, dtype: DType) -> None:
    attributes = ops.Resize(half_pixel_centers=half)
    assert check(resized("RESIZE_BILINEAR", (5, 6, 17), factor, attributes, dtype), 1) == ""


def test_a_long_map_is_copied_in_pieces() -> None:
    """More pixels than a convolution has rows: 50x50 of them become one column."""
    attributes = ops.Resize()
    assert check(resized("RESIZE_NEAREST_NEIGHBOR", (50, 50, 3), (1, 2), attributes, DType.INT8), 0) == ""


@pytest.mark.parametrize(("rows", "taken"), [(3, True), (4, False)])
def test_the_last_window_sees_a_pixel(rows: int, taken: bool) -> None:
    source, made = (FeatureMap.packed(name, size, 4, 16, 16) for name, size in (("x", 2), ("y", rows)))
    kernel = Kernel(np.zeros((16, 2, 1, 16), np.int8), 0, np.ones(1), np.zeros(16, np.int64))
    taps = [Taps(slice(0, 2), 1), Taps(slice(0, 1), 0)]
    if taken:
        _check_windows(source, made, kernel, taps)
        return
    with pytest.raises(UnsupportedError, match="the last of 4 windows of 2x1 lies behind the 2 pixels"):
        _check_windows(source, made, kernel, taps)
