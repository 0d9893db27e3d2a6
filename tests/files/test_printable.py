"""Text from outside cannot steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.files.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("over\rwritten", "over\\x0dwritten"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("Hühner \U0001f414", "Hühner \U0001f414"),
        ("a\u202eb", "a\\u202eb"),
        ("lone \ud800", "lone \\ud800"),
        ("\u2028", "\\u2028"),
        ("\U000e0fff", "\\U000e0fff"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in shown)
    assert not any(0x7F <= ord(letter) < 0xA0 for letter in shown)
    shown.encode()
    assert printable(shown) == shown
