"""Multipliers, clamps and per-channel scales."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.lowering.scales.channel_scales import ChannelRange, accumulator_range, cut_channels, fit
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.requantise import (
    Scale,
    ceiling_for,
    check_unit,
    encode_channels,
    encode_scale,
    is_fine,
    round_half_even,
)

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


@given(st.integers(1, 4), st.integers(-128, 127), st.integers(0, 1 << 30))
def test_accumulators_reach_their_bounds_and_go_no_further(taps: int, zero: int, seed: int) -> None:
    """Each sign of a weight has its own worst byte."""
    random = np.random.default_rng(seed)
    weights, biases = random.integers(-127, 128, (5, taps)).astype(np.int8), random.integers(-9999, 9999, 5)
    found = accumulator_range(weights, zero, biases)
    corners = np.array(list(itertools.product((-128, 127), repeat=taps))) - zero
    sums = corners @ weights.T.astype(np.int64) + biases
    np.testing.assert_array_equal(found.low, sums.min(0))
    np.testing.assert_array_equal(found.high, sums.max(0))


def test_channels_computed_apart_keep_their_own_numbers() -> None:
    """The second sixteen are sorted into classes: each number at its own channel, the others 1 and 0."""
    factors = np.full(32, 1e-2)
    factors[16:] = 10.0 ** -(2 + np.arange(16) % 3 * 2)
    loud, biases = ChannelRange(np.full(32, -1e9), np.full(32, 1e9)), np.arange(32, dtype=np.int64) * 100 + 7
    whole, *classes = cut_channels(factors, loud, (-128, 127), biases, RK3588)
    assert (whole.first, whole.chosen) == (0, None)
    assert [part.first for part in classes] == [16] * len(classes) == [16, 16]
    covered = np.zeros(16, int)
    for part in classes:
        assert part.chosen is not None
        covered += part.chosen
        members = 16 + np.flatnonzero(part.chosen)
        alone = fit(
            factors[members], ChannelRange(loud.low[members], loud.high[members]), (-128, 127), biases[members], RK3588
        )
        np.testing.assert_array_equal(part.fitted.multipliers[part.chosen], alone.multipliers)
        np.testing.assert_array_equal(part.fitted.biases[part.chosen], alone.biases)
        assert part.fitted.common == alone.common
        assert set(part.fitted.multipliers[~part.chosen].tolist()) == {1}
        assert set(part.fitted.biases[~part.chosen].tolist()) == {0}
    assert covered.tolist() == [1] * 16
    scales = [part.fitted.common.value for part in classes]
    assert scales == sorted(scales, reverse=True), "the largest come first"


@pytest.mark.parametrize("channels", [16, 17, 31, 32])
def test_ranges_cover_all_channels_in_order(channels: int) -> None:
    factors = np.resize([1e-2] * 16 + [1e-6] * 16, channels)
    loud = ChannelRange(np.full(channels, -1e9), np.full(channels, 1e9))
    found = cut_channels(factors, loud, (-128, 127), np.zeros(channels, np.int64), RK3588)
    ends = [(part.first, part.first + len(part.fitted.biases)) for part in found]
    assert ends == [(first, min(first + 16, channels)) for first in range(0, channels, 16)]


@given(st.integers(1, 15), st.integers(0, 30))
def test_shifts_that_multipliers_need(bits: int, shift: int) -> None:
    """Powers of two are exact; 32767 steps is the largest factor, 2**-33 the smallest (MAX_SHIFT 47)."""
    factor = math.ldexp(1, bits - 1 - shift)
    assert encode_scale(factor, RK3588).value == factor


@pytest.mark.parametrize(
    ("factor", "found"),
    [
        (32767.0, (32767, 0)),
        (32767.4, (32767, 0)),
        (32768.0, None),
        (math.ldexp(1, -33), (1 << 14, 47)),
        (math.ldexp(1, -33) * 0.99, None),
    ],
)
def test_the_largest_and_the_smallest_factor(factor: float, found: tuple[int, int] | None) -> None:
    if found is None:
        shift = -1 if factor > 1 else 48
        with pytest.raises(UnsupportedError, match=rf"needs a shift of {shift}, possible are 0\.\.47"):
            encode_scale(factor, RK3588)
        return
    scale = encode_scale(factor, RK3588)
    assert (scale.multiplier, scale.shift) == found


@pytest.mark.parametrize(("multiplier", "fine"), [(26214, True), (26215, False)])
def test_units_that_are_fine_enough_for_an_addition(multiplier: int, fine: bool) -> None:
    """Half a unit is at most a fifth of a step: 0.4 steps a unit."""
    scale = Scale(multiplier, 16)
    assert is_fine(scale) == fine
    if fine:
        check_unit(scale)
        return
    with pytest.raises(UnsupportedError, match=r"a unit of the accumulator is 0\.4 output steps, too coarse"):
        check_unit(scale)


@pytest.mark.parametrize(("steps", "scale"), [(1, (1 << 14, 12)), (3, (1 << 14, 13)), (5, (3 << 13, 12))])
def test_steps_that_no_accumulator_value_converts_to(steps: int, scale: tuple[int, int]) -> None:
    """A unit of four, two or six steps leaves gaps."""
    assert ceiling_for(steps, Scale(*scale)) is None


@pytest.mark.parametrize("bad", [0.0, -0.5, math.inf, math.nan])
def test_one_factor_that_is_none_refuses_all(bad: float) -> None:
    with pytest.raises(UnsupportedError, match="an output factor of some channel is not a positive number"):
        encode_channels(np.array([0.5, bad, 0.1]), RK3588)


def test_channels_share_the_largest_factor() -> None:
    found = encode_channels(np.array([0.25, 0.5, 0.125, 0.5 / 16384, 1e-9]), RK3588)
    assert found.common.value == 0.5
    assert found.multipliers.tolist() == [8192, 16384, 4096, 1, 1]
