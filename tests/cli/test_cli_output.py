import io
import json
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click
import numpy as np
import pytest

from rocketnpu.cli.output import json_option, model_option, print_json, print_table


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


def test_a_table_on_a_terminal_has_colour(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(("name",), [("row",)], title="a title")
    assert "\x1b[" in terminal.getvalue()


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
