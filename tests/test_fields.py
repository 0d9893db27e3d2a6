"""Fields refuse what does not fit; nothing in a word is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.fields import RESERVED, Field, block

TABLE = """
    0x1014 CON   MODE[30:28] OFFSET[15:8]s Y[5:3] ON[0]
    0x1018 WHOLE VALUE[31:0]s
"""
UNIT = block("UNIT", base=0x1000, target=0x0201, enable_bit=0, table=TABLE)
WORDS = st.integers(0, (1 << 32) - 1)


@st.composite
def spec_and_value(draw: st.DrawFn) -> tuple[Field, int]:
    high = draw(st.integers(0, 31))
    low = draw(st.integers(0, high))
    return Field("F", high, low, draw(st.booleans())), draw(st.integers(-(1 << 33), 1 << 33))


def test_table_is_read() -> None:
    assert (UNIT.name, UNIT.base, UNIT.target, UNIT.enable_bit) == ("UNIT", 0x1000, 0x0201, 0)
    con = UNIT["CON"]
    assert (con.offset, con.reserved_mask) == (0x1014, 0xFFFFFFFF ^ 0x7000FF39)
    assert con.fields["OFFSET"] == Field("OFFSET", 15, 8, signed=True)
    assert UNIT.by_offset[0x1018] is UNIT["WHOLE"]


def test_fields_land_on_their_bits() -> None:
    assert UNIT["CON"].encode({"MODE": 5, "OFFSET": -2, "Y": 3, "ON": 1}) == 0x5000FE19


@given(word=WORDS)
def test_decode_then_encode_is_the_same_word(word: int) -> None:
    for register in UNIT.registers.values():
        assert register.encode(register.decode(word)) == word


@given(spec_and_value())
def test_a_field_takes_exactly_its_range(drawn: tuple[Field, int]) -> None:
    spec, value = drawn
    lowest = -(1 << (spec.width - 1)) if spec.signed else 0
    assert spec.fits(value) == (lowest <= value < lowest + (1 << spec.width))
    if spec.fits(value):
        assert spec.extract((value << spec.low) & spec.mask) == value


@pytest.mark.parametrize(("field", "value"), [("ON", 2), ("Y", -1), ("OFFSET", 128), ("OFFSET", -129), ("MODE", 8)])
def test_what_does_not_fit_is_named(field: str, value: int) -> None:
    with pytest.raises(RegisterFieldError, match=rf"UNIT\.CON\.{field}: value {value} does not fit") as caught:
        UNIT["CON"].encode({field: value})
    assert (caught.value.unit, caught.value.register, caught.value.field) == ("UNIT", "CON", field)


def test_stray_bits_appear_and_only_stray_bits_are_taken_back() -> None:
    con = UNIT["CON"]
    assert con.decode(0x80000001)[RESERVED] == 0x80000000
    assert RESERVED not in con.decode(1)
    with pytest.raises(RegisterFieldError, match=RESERVED):
        con.encode({RESERVED: 1})


def test_unknown_names_are_refused() -> None:
    with pytest.raises(CommandError, match="no field 'X'; it has MODE, OFFSET, Y, ON"):
        UNIT["CON"].encode({"X": 0})
    with pytest.raises(CommandError, match="UNIT has no register 'NONE'"):
        UNIT["NONE"]


@pytest.mark.parametrize("row", ["0x0 R A[3:0] B[3:2]", "0x0 R A[32:0]", "0x0 R A", "0x0 R A[x]"])
def test_a_wrong_table_does_not_load(row: str) -> None:
    with pytest.raises(ValueError, match="R"):
        block("UNIT", base=0, target=None, enable_bit=None, table=row)
