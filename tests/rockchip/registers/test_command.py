"""Each command word has one text, and the text reads back to the word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.rockchip.registers import command
from rocketnpu.rockchip.registers.rk3588 import BLOCKS, BY_TARGET, TARGET_ENABLE, TARGET_MARKER, TARGET_NOP

REGISTERS = [r for unit in BLOCKS if unit.target is not None for r in unit.registers.values()]
TARGETS = [*BY_TARGET, TARGET_ENABLE, TARGET_MARKER, TARGET_NOP]
VALUES = st.integers(0, (1 << 32) - 1)
WRITES = st.builds(
    lambda found, value: command.pack(command.BY_NAME[found.block].target or 0, found.offset, value),
    st.sampled_from(REGISTERS),
    VALUES,
)
NEAR_WORDS = st.builds(command.pack, st.sampled_from(TARGETS), st.integers(0, 0xFFFF), VALUES)
ENABLES = st.sets(st.sampled_from(sorted(command.ENABLE_BITS))).map(command.enable)
WORDS = st.one_of(
    WRITES, NEAR_WORDS, ENABLES, st.integers(0, (1 << 64) - 1), st.sampled_from([command.NOP, command.MARKER])
)


@given(WORDS)
def test_text_reads_back_to_the_word(word: int) -> None:
    text = command.decode(word).text()
    assert command.parse(text) == word
    assert "\n" not in text


@given(st.lists(WORDS, max_size=20))
def test_streams_read_back(words: list[int]) -> None:
    found = command.parse_words(command.format_words(words))
    assert found.dtype == np.dtype("<u8")
    assert found.tolist() == words
    assert command.from_bytes(found.tobytes()).tolist() == words


@given(WRITES)
def test_a_write_is_named_by_unit_and_register(word: int) -> None:
    decoded = command.decode(word)
    assert decoded.register is not None
    assert decoded.text().startswith(f"{decoded.register.block}.{decoded.register.name}")
    assert command.pack(decoded.target, decoded.offset, decoded.value) == word


def test_words_of_a_known_stream() -> None:
    assert command.write("CNA.CONV_CON3", CONV_Y_STRIDE=2, CONV_X_STRIDE=2) == 0x0201_00000012_1014
    assert command.enable(["CNA", "CORE", "DPU"]) == 0x0081_0000000D_0008
    assert command.MARKER == 0x0041_00000000_0000
    assert command.decode(0x0201_00000012_1014).text() == "CNA.CONV_CON3 CONV_Y_STRIDE=2 CONV_X_STRIDE=2"
    assert command.enabled_units(0x0D) == ("CNA", "CORE", "DPU")


def test_negative_values_keep_their_bits() -> None:
    word = command.write("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=-128)
    assert word == 0x1001_FFFFFF80_4080
    assert command.decode(word).fields == {"OUT_CVT_OFFSET": -128}


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (0x0999_00000000_1234, "unknown target 0x0999"),
        (0x0201_00000000_1FFC, "unknown register 0x1ffc of CNA"),
        (0x0041_00000001_0000, "marker with a value"),
        (0x0081_00000002_0008, "unusual enable word"),
        (0x0081_00000001_0004, "unusual enable word"),
        (0x0201_80000000_1014, "reserved bits 0x80000000"),
    ],
)
def test_what_is_unusual_is_said_and_kept(word: int, problem: str) -> None:
    decoded = command.decode(word)
    assert decoded.problem == problem
    assert decoded.text().endswith(f"# {problem}")
    assert command.parse(decoded.text()) == word


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "  # more"])
def test_empty_lines_and_comments(line: str) -> None:
    assert command.parse(line) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("CNA.NONE A=1", "no register 'NONE'"),
        ("NPU.X", "no unit 'NPU'"),
        ("CNA.CONV_CON3 CONV_Y_STRIDE", "expected FIELD=VALUE"),
        ("CNA.CONV_CON3 CONV_Y_STRIDE=two", "'two' is not a number"),
        ("CNA.CONV_CON3 NONE=1", "has no field 'NONE'"),
        ("ENABLE PC", "has no enable bit"),
        ("WORD 0x1_0000_0000_0000_0000", "not a 64-bit word"),
        ("WORD x", "not a number"),
        ("SDMA.CFG_STATUS IDEL=1", "cannot be written from a command stream"),
    ],
)
def test_unreadable_lines_say_what_and_where(line: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        command.parse(line)
    with pytest.raises(CommandError, match="line 2: "):
        command.parse_words(f"NOP\n{line}")


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RegisterFieldError, match=r"CNA\.CONV_CON3\.CONV_Y_STRIDE: value 8"):
        command.parse("CNA.CONV_CON3 CONV_Y_STRIDE=8")


@pytest.mark.parametrize("length", [1, 7, 9])
def test_streams_are_whole_words(length: int) -> None:
    with pytest.raises(CommandError, match=f"multiple of 8 bytes long, this has {length}"):
        command.from_bytes(bytes(length))


@given(st.text(alphabet="CNA.ORE WD=x0123#_P\n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = command.parse_words(text)
    except (CommandError, RegisterFieldError):
        return
    assert command.parse_words(command.format_words(found)).tolist() == found.tolist()
