import contextlib
import io
import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click
import numpy as np
import pytest

from rocketnpu.cli.output import counted, json_option, model_option, print_json, print_table


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    place: Path
    colour: Colour


def test_json_of_what_verbs_hold(capsys):
    print_json({"point": Point(Path("a/b"), Colour.RED), "set": {3, 1}, "array": np.arange(3), "one": np.float32(0.5)})
    assert json.loads(capsys.readouterr().out) == {
        "point": {"place": "a/b", "colour": "red"},
        "set": [1, 3],
        "array": [0, 1, 2],
        "one": 0.5,
    }


@pytest.mark.parametrize(("value", "error"), [(object(), TypeError), (Point, TypeError), (float("nan"), ValueError)])
def test_json_refuses_the_rest(value, error):
    with pytest.raises(error):
        print_json(value)


def test_a_table_without_a_terminal_is_plain_and_uncut(capsys):
    print_table(("name", "bytes"), [("x" * 300, 5), ("[bold]not markup[/]", 12345)], right=("bytes",))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["name", "bytes"],
        ["x" * 300, "5"],
        ["[bold]not", "markup[/]", "12345"],
    ]
    assert lines[1].endswith("  5".rjust(6))
    assert "\x1b" not in "".join(lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Print a table on a terminal of 40 columns, and return what came out."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")

    def table(*arguments, **options):
        with contextlib.redirect_stdout(Terminal()) as stream:
            print_table(*arguments, **options)
        return stream.getvalue()

    return table


def plain(text):
    return re.sub(r"\x1b\[\d*m", "", text).splitlines()


def test_only_the_last_column_wraps_and_only_at_spaces(terminal):
    rows = [("DEPTHWISE_CONV_2D", "1,605,632", "one two three four five six"), ("ADD", "7", "")]
    assert plain(terminal(("operator", "MACs", "why"), rows, right=("MACs",))) == [
        "operator                MACs  why",
        "DEPTHWISE_CONV_2D  1,605,632  one two",
        "                              three four",
        "                              five six",
        "ADD                        7",
    ]


def test_a_table_that_cannot_fit_is_not_folded(terminal):
    assert plain(
        terminal(("operator", "output", "why"), [("DEPTHWISE_CONV_2D", "1x112x112x64", "unprecedented size")])
    ) == [
        "operator           output        why",
        "DEPTHWISE_CONV_2D  1x112x112x64  unprecedented size",
    ]


def test_wide_letters_count_twice(terminal):
    assert plain(terminal(("a", "b"), [("漢字", "x"), ("abcd", "y")])) == ["a     b", "漢字  x", "abcd  y"]


def test_no_trailing_blanks_and_no_control_characters(capsys):
    print_table(("name", "why"), [("a", ""), ("b\x1b[2J\nc", "long reason")], title="title")
    assert capsys.readouterr().out == "title\nname        why\na\nb\\x1b[2J c  long reason\n"


@pytest.mark.parametrize(("number", "text"), [(0, "0 tasks"), (1, "1 task"), (1234, "1,234 tasks")])
def test_plurals(number, text):
    assert counted(number, "task") == text


def test_a_table_on_a_terminal_has_colour(terminal):
    assert "\x1b[" in terminal(("name",), [("row",)], title="a title")


def test_options():
    got = []

    @click.command()
    @model_option
    @json_option
    def verb(model, as_json):
        got.append((model, as_json))

    verb.main(["-m", "mobilenet_v1"], standalone_mode=False)
    verb.main(["--model", "a.tflite", "--json"], standalone_mode=False)
    assert got == [("mobilenet_v1", False), ("a.tflite", True)]
    with pytest.raises(click.MissingParameter):
        verb.main([], standalone_mode=False)
