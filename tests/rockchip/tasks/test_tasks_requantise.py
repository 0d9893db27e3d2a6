"""Multipliers, clamps and per-channel scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.lowering.scales.channel_scales import ChannelRange, accumulator_range, cut_channels, fit
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.requantise import ceiling_for, encode_scale, round_half_even

FACTORS = st.floats(1e-9, 30000, allow_nan=False)


@given(FACTORS)
def test_the_multiplier_is_the_nearest_of_15_bits(factor: float) -> None:
    scale = encode_scale(factor, RK3588)
    assert 1 << 14 <= scale.multiplier < 1 << 15
    assert abs(scale.value - factor) <= math.ldexp(0.5, -scale.shift)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan, 40000.0, 1e-30])
def test_what_cannot_be_expressed_is_refused(factor: float) -> None:
    with pytest.raises(UnsupportedError, match="output factor"):
        encode_scale(factor, RK3588)


def test_a_mantissa_of_all_ones_carries() -> None:
    """Mesa's encoding halves this factor (spec 5.7)."""
    assert encode_scale(math.nextafter(0.5, 0), RK3588).value == 0.5


@given(st.integers(-(1 << 45), 1 << 45), st.integers(0, 40))
def test_round_half_even(value: int, shift: int) -> None:
    exact = math.floor(value / 2**shift) if shift == 0 else None
    below, rest = divmod(value, 1 << shift)
    half = 1 << shift >> 1
    up = rest > half or (rest == half and below % 2 == 1)
    assert round_half_even(value, shift) == (exact if shift == 0 else below + (up and shift > 0))


@given(st.integers(0, 255), st.floats(1e-6, 0.4))
def test_a_ceiling_clamps_exactly(steps: int, factor: float) -> None:
    scale = encode_scale(factor, RK3588)
    ceiling = ceiling_for(steps, scale)
    assert ceiling is not None
    assert round_half_even(ceiling * scale.multiplier, scale.shift) == steps
    for value in (ceiling - 1, ceiling, ceiling + 1, ceiling * 3):
        clamped = round_half_even(min(value, ceiling) * scale.multiplier, scale.shift)
        assert clamped == min(round_half_even(value * scale.multiplier, scale.shift), steps)


@given(seed=st.integers(0, 1 << 30), spread=st.floats(0, 3))
def test_the_stated_error_of_channel_scales_holds(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    channels = 48
    weights = random.integers(-127, 128, (channels, 9), np.int8)
    factors = 1e-3 * 10.0 ** random.uniform(-spread, 0, channels)
    bias = np.rint(random.normal(0, 50, channels) / factors).astype(np.int64)
    zero, visible = int(random.integers(-128, 127)), (-120, 130)
    reach = accumulator_range(weights, zero, bias)
    inputs = random.integers(-128, 128, (200, 9)).astype(np.int64) - zero
    sums = inputs @ weights.T.astype(np.int64) + bias
    found = fit(factors, reach, visible, bias, RK3588)
    stage = np.rint((sums - bias + found.biases) * found.multipliers / 2**14)
    result = np.clip(stage * found.common.value, *visible)
    exact = np.clip(sums * factors, *visible)
    assert np.abs(result - exact).max() <= found.error + 1e-9


def test_a_dead_channel_keeps_its_bias() -> None:
    """A channel of zero weights and a tiny scale gets multiplier 1, far too large; its bias makes up for it."""
    factors = np.array([1e-2, 3.3e-7])
    biases = np.array([0, 11_169_961])
    reach = accumulator_range(np.array([[100] * 9, [0] * 9], np.int8), -1, biases)
    found = fit(factors, reach, (0, 255), biases, RK3588)
    assert found.multipliers.tolist() == [16384, 1]
    assert abs(found.biases[1] / 16384 * found.common.value - 11_169_961 * 3.3e-7) < 0.01
    assert found.error < 0.02


def test_ranges_are_cut_where_scales_spread() -> None:
    factors = np.repeat([1e-2, 1e-6], 16)
    weights = np.full((32, 9), 100, np.int8)
    biases = np.repeat([0, 40_000_000], 16).astype(np.int64)
    reach = accumulator_range(weights, 0, biases)
    ranges = cut_channels(factors, reach, (-128, 127), biases, RK3588)
    assert [part.first for part in ranges] == [0]
    loud = ChannelRange(np.full(32, -1e9), np.full(32, 1e9))
    ranges = cut_channels(factors, loud, (-128, 127), biases, RK3588)
    assert [part.first for part in ranges] == [0, 16]
    mixed = np.tile([1e-2, 1e-6], 16)
    classes = cut_channels(mixed, loud, (-128, 127), biases, RK3588)
    assert [part.first for part in classes] == [0, 0, 16, 16]
    for part in classes:
        assert part.chosen is not None
        np.testing.assert_array_equal(np.unique(mixed[part.first :][: len(part.chosen)][part.chosen]).size, 1)
