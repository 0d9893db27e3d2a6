"""A fused activation around a common factor: what its clamps are, and which factors are too coarse for them."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Quantisation, Tensor
from rocketnpu.rockchip.lowering.lookup import _slope_shift
from rocketnpu.rockchip.lowering.scales.clamping import MAX_LIFT_ERROR, clamped
from rocketnpu.rockchip.tasks.requantise import Scale, round_half_even


def target(scale: float, zero: int) -> Tensor:
    return Tensor(0, "y", (1, 4, 4, 16), DType.INT8, Quantisation.per_tensor(scale, zero))


FINE = Scale(1 << 14, 20)
"""A unit of the accumulator is 1/64 of an output step."""


def test_no_activation_clamps_at_the_ends_of_the_type() -> None:
    found = clamped(FINE, target(0.1, 5), Activation.NONE)
    assert (found.relu, found.ceiling, found.lift, found.conversion.offset) == (False, None, 0, 5)


def test_a_relu_clamps_at_the_zero_point() -> None:
    found = clamped(FINE, target(0.1, -20), Activation.RELU)
    assert (found.relu, found.ceiling, found.lift, found.conversion.offset) == (True, None, 0, -20)


@pytest.mark.parametrize("zero", [-128, -20, 0])
def test_a_ceiling_is_where_the_output_has_its_last_value(zero: int) -> None:
    found = clamped(FINE, target(0.0625, zero), Activation.RELU6)
    high = min(zero + 96, 127)
    assert (found.relu, found.lift) == (True, 0)
    if high == 127:
        assert found.ceiling is None
        return
    assert found.ceiling is not None
    assert round_half_even(found.ceiling * FINE.multiplier, FINE.shift) + zero == high


def test_a_floor_elsewhere_is_lifted() -> None:
    """RELU_N1_TO_1: the ReLU's 0 becomes the output of -1, here 16 steps below the zero point."""
    found = clamped(FINE, target(0.0625, 10), Activation.RELU_N1_TO_1)
    assert found.relu
    assert found.conversion.offset == 10 - 16
    assert round_half_even(found.lift * FINE.multiplier, FINE.shift) == 16
    assert found.ceiling is not None
    assert round_half_even(found.ceiling * FINE.multiplier, FINE.shift) == 32


@pytest.mark.parametrize(("multiplier", "taken"), [(26214, True), (26215, False), (32767, False)])
def test_a_unit_is_at_most_a_tenth_of_a_step(multiplier: int, taken: bool) -> None:
    common = Scale(multiplier, 18)
    assert (common.value <= 2 * MAX_LIFT_ERROR) == taken
    if taken:
        assert clamped(common, target(0.0625, -20), Activation.RELU6).ceiling is not None
        return
    with pytest.raises(UnsupportedError, match="no accumulator value converts well to the clamp 96 steps off of RELU6"):
        clamped(common, target(0.0625, -20), Activation.RELU6)
    assert clamped(common, target(0.0625, -20), Activation.RELU).relu


def test_multipliers_of_channels_are_passed_on() -> None:
    given = np.arange(16)
    assert clamped(FINE, target(0.1, 5), Activation.NONE, given).channel_multipliers is given


@pytest.mark.parametrize(
    ("slope", "shift"), [(1.0, 14), (1.9999, 14), (2.0, 13), (3.9, 13), (32767.0, 0), (0.0, 14), (1e-9, 14)]
)
def test_slopes_fill_a_signed_field_of_16_bits(slope: float, shift: int) -> None:
    assert _slope_shift(slope) == shift


def test_slopes_that_no_field_holds() -> None:
    with pytest.raises(UnsupportedError, match="a slope of 32768, at most 32767 is possible"):
        _slope_shift(32768.0)
