"""Rounding of the integer model at the ends of what registers can ask for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rocketnpu.rockchip.models.integer_model import round_shift


@pytest.mark.parametrize("shift", [0, 1, 30, 62, 63, 64, 65, 4095])
def test_shifts_of_any_length(shift: int) -> None:
    """Registers hold twelve bits of shift; ties go to the even number."""
    values = np.array([0, 1, -1, 2, 3, -3, (1 << 46) - 1, -(1 << 46)], np.int64)
    wanted = [round(Fraction(int(value), 1 << shift)) for value in values]
    assert round_shift(values, shift).tolist() == wanted
