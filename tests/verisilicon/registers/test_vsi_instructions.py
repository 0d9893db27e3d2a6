"""Instructions and commands: fields in their places, pieces joined, nothing lost, nothing too wide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.fields import block
from rocketnpu.verisilicon.registers.commands import LoadState, Nothing, Unknown, load_state, read_commands
from rocketnpu.verisilicon.registers.instruction import Layout
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.registers.states import STATES
from rocketnpu.verisilicon.registers.tp import TP


@pytest.mark.parametrize("layout", [NN, TP])
@given(data=st.data())
def test_fields_come_back(layout, data):
    """Every field by itself: what is written is read, and all others stay 0."""
    name = data.draw(st.sampled_from(sorted(layout.pieces)))
    pieces = layout.pieces[name]
    spec = pieces[0].register.fields[pieces[0].part]
    width = pieces[-1].high + 1
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if spec.signed else (0, (1 << width) - 1)
    value = data.draw(st.integers(low, high))
    words = layout.encode({name: value})
    fields = layout.decode(words)
    assert fields.pop(name) == value
    assert not any(fields.values())
    for wrong in (low - 1, high + 1):
        with pytest.raises(RegisterFieldError, match=f"does not fit {width} bits"):
            layout.encode({name: wrong})


def test_sizes_and_places():
    assert (NN.size, TP.size) == (34, 31)
    assert NN.encode({"MULTIPLIER": 0x7FFFFF}).tolist()[2] == 1 << 26
    assert NN.encode({"KERNEL_Z": 1 << 14}).tolist()[5] == 1 << 26
    assert NN.encode({"SHIFT": 0x60}).tolist()[15] == 3 << 28
    assert TP.encode({"WINDOW_X0": -1}).tolist()[4] == 0xFFFF
    assert TP.encode({"POSTSHIFT": 0x78}).tolist()[24] == 0x18 << 10 | 3 << 26


def test_what_no_field_names_is_told():
    words = np.zeros(NN.size, "<u4")
    words[2] = 1 << 6
    assert NN.reserved(words) == {"WORD2": 1 << 6}
    with pytest.raises(CommandError, match="an NN instruction has no field 'NOTHING'"):
        NN.encode({"NOTHING": 1})
    with pytest.raises(CommandError, match="has 34 words, there are 3"):
        NN.decode(words[:3])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("0x0 WORD0 A_3_0[4:0]", "the name says 4 bits, it has 5"),
        ("0x0 WORD0 A_3_0[3:0] A_8_5[8:5]", "pieces overlap or leave bits out"),
    ],
)
def test_a_table_with_a_slip_is_refused(table, said):
    with pytest.raises(ValueError, match=said):
        Layout(block("X", base=0, target=None, enable_bit=None, table=table))


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.integers(0, 1))
def test_commands_come_back(address, values, zeros):
    words = [0] * (2 * zeros) + load_state(4 * address, tuple(values))
    *nothing, found = read_commands(np.array(words, "<u4"))
    assert all(isinstance(item, Nothing) for item in nothing)
    assert isinstance(found, LoadState)
    assert (found.offset, found.values, found.word) == (4 * address, tuple(values), 2 * zeros)
    assert len(words) % 2 == 0


def test_a_thousand_states_have_the_count_zero():
    words = load_state(0, tuple(range(1024)))
    assert words[0] >> 16 & 0x3FF == 0
    (found,) = read_commands(np.array(words, "<u4"))
    assert isinstance(found, LoadState)
    assert len(found.values) == 1024


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([0x40000000, 0], "no LOAD_STATE"),
        ([0, 0x08010429, 0], "a command begins at an odd word"),
        ([0x08030429, 1], "a LOAD_STATE of 3 states, 1 words follow"),
        ([0x0C010429, 1], "no LOAD_STATE"),
    ],
)
def test_what_begins_no_known_command(words, problem):
    *_, last = read_commands(np.array(words, "<u4"))
    assert isinstance(last, Unknown)
    assert problem in last.problem


def test_states_of_recorded_streams_have_names():
    offsets = {0x0A28, 0x10A0, 0x10A4, 0x10B8, 0x380C, 0x384C, 0x3930, 0x393C, 0x3940, 0x394C, 0x3950}
    assert {register.offset for register in STATES.registers.values()} == offsets
