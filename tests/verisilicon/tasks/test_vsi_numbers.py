"""Multipliers, and look-up tables against the integer model's own reading of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import Location
from rocketnpu.verisilicon.models.integer_model import byte_function
from rocketnpu.verisilicon.tasks.scale import encode_scale
from rocketnpu.verisilicon.tasks.table import decode, encode, fit
from rocketnpu.verisilicon.tasks.task import Lookup


@given(st.floats(1e-9, 100), st.sampled_from([7, 8]))
def test_multipliers_are_the_nearest(value, generation):
    found = encode_scale(value, generation)
    bits = {7: 15, 8: 23}[generation]
    assert 0 <= found.fraction < 1 << bits
    assert abs(found.value / value - 1) <= 2.0 ** -(bits + 1)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan"), 1e40, 1e-40])
def test_what_has_no_multiplier_is_refused(value):
    with pytest.raises(UnsupportedError):
        encode_scale(value, 7)


@given(st.floats(-60000, 60000).filter(lambda value: value == 0 or abs(value) > 1e-4))
def test_the_float_of_the_tables_is_the_nearest(value):
    back = float(decode(encode(np.array([value])))[0])
    assert abs(back - value) <= abs(value) * 2.0**-16


@given(st.lists(st.integers(0, 255), min_size=256, max_size=256), st.integers(0, 255))
def test_a_table_does_what_it_is_said_to_do(values, centre):
    wanted = np.array(values)
    table = fit(wanted, centres=[centre])
    lookup = Lookup(Location("x"), table.in_zero_point, table.out_zero_point)
    outputs = byte_function(lookup, np.frombuffer(table.content(), "<u4"))
    assert np.array_equal(outputs, table.outputs)
    assert int(np.abs(outputs.astype(int) - wanted).max()) == table.error
    near = slice(max(0, centre - 31), centre + 32)
    assert np.array_equal(outputs[near], wanted[near])


@given(st.integers(0, 254), st.booleans())
def test_one_bend_is_exact(place, upper):
    every = np.arange(256)
    wanted = np.minimum(every, place) if upper else np.maximum(every, place)
    table = fit(wanted)
    assert table.error == 0
    assert np.array_equal(table.outputs, wanted)
