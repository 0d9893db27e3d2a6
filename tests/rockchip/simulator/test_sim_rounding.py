import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sim_model import half_even, half_even_fast

from rocketnpu.rockchip.simulator.rounding import (
    factor,
    round_in_place,
    scale_in_place,
    shift_half_away,
    shift_half_even,
)

int48 = st.integers(-(1 << 47), 1 << 47)


@given(st.lists(int48, min_size=1, max_size=20), st.integers(0, 70))
def test_three_ways_to_round_half_to_even_agree(values, shift):
    exact = half_even(np.array(values), shift)
    assert np.array_equal(shift_half_even(np.array(values, np.int64), shift), exact)
    if shift < 48:
        assert np.array_equal(half_even_fast(values, shift), exact)


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1), st.integers(-32768, 65535), st.integers(0, 70))
def test_float64_is_the_integer_arithmetic(values, multiplier, shift):
    block = np.array(values, np.float64)
    scale_in_place(block, factor(multiplier, shift))
    assert np.array_equal(block.astype(np.int64), half_even(np.array(values) * multiplier, shift))


def test_ties_by_selector():
    ties = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    even, away = ties.copy(), ties.copy()
    round_in_place(even)
    round_in_place(away, half_away=True)
    assert even.tolist() == [-2, -2, 0, 0, 2, 2]
    assert away.tolist() == [-3, -2, -1, 1, 2, 3]
    assert shift_half_away(np.array([-5, -3, -1, 1, 3, 5]), 1).tolist() == [-3, -2, -1, 1, 2, 3]


def test_shifts_beyond_the_width_leave_nothing():
    assert factor(65535, 4095) == 0
    assert shift_half_even(np.array([1 << 61]), 63).tolist() == [0]
    assert shift_half_away(np.array([-(1 << 61)]), 63).tolist() == [0]
