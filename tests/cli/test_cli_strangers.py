"""What strangers wrote, in models, labels and recordings, never steers the terminal; nor does what the user typed."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

import rocketnpu.cli
from rocketnpu.cli.main import run
from rocketnpu.cli.model.comparing import progress
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

EVIL = "\x1b]0;owned\x07\x9b2J\u202e\r"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PICTURE = Path(__file__).parents[2] / "examples" / "hens.jpg"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of pictures whose every name is hostile."""
    builder = ModelBuilder(EVIL)
    source = builder.tensor((1, 4, 4, 3), DType.UINT8, scale=0.1, zero_point=128, name=f"source{EVIL}")
    middle = builder.tensor((1, 4, 4, 3), DType.UINT8, scale=0.1, zero_point=128, name=f"middle{EVIL}")
    target = builder.tensor((1, 3), DType.UINT8, scale=0.1, zero_point=128, name=f"target{EVIL}")
    axes = builder.tensor((2,), DType.INT32, data=np.array([1, 2], np.int32))
    builder.operator("RELU", [source], [middle])
    builder.operator("MEAN", [middle, axes], [target], ops.Reduce(keep_dims=False))
    path = tmp_path / f"m{EVIL.replace('/', '')}.tflite"
    path.write_bytes(builder.build([source], [target]))
    return path


def arguments(verb: str, model: Path, folder: Path) -> list[str]:
    """Return a command line in which strangers' words meet."""
    labels = folder / f"labels{EVIL}"
    labels.write_text(f"a{EVIL}\nb\x1b[1mx\nc\n", newline="")
    custom = folder / "custom.tflite"
    builder = ModelBuilder()
    source, target = (builder.tensor((1, 2), DType.INT8, scale=0.1) for _ in range(2))
    builder.operator(f"CUSTOM:op{EVIL}", [source], [target])
    custom.write_bytes(builder.build([source], [target]))
    record = folder / "record"
    record.mkdir()
    facts = {"format": 1, "producer": EVIL, "model": EVIL, "model_sha256": "", "submits": []}
    (record / "recording.json").write_text(json.dumps(facts))
    lines = {
        "inspect": ["inspect", "-m", str(model)],
        "inspect custom": ["inspect", "-m", str(custom)],
        "inspect json": ["inspect", "--json", "-m", str(custom)],
        "compare": ["compare", "-m", str(model)],
        "compile": ["compile", "-m", str(model), "-o", str(folder / f"out{EVIL}")],
        "classify": ["classify", "-m", str(model), "-l", str(labels), "-i", str(PICTURE), "-d", "simulator"],
        "replay": ["replay", str(record)],
        "disassemble": ["disassemble", str(record)],
        "missing": ["inspect", "-m", f"none{EVIL}"],
        "usage": [f"no{EVIL}"],
        "option": ["inspect", f"--no{EVIL}"],
        "value": ["classify", "-m", "x", "-i", "y", "-n", f"z{EVIL}"],
    }
    return lines[verb]


@pytest.mark.parametrize(
    "verb",
    [
        *("inspect", "inspect custom", "inspect json", "compare", "compile", "classify", "replay", "disassemble"),
        *("missing", "usage", "option", "value"),
    ],
)
def test_no_strangers_escape_sequences(
    verb: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(arguments(verb, model, tmp_path))
    out, err = capsys.readouterr()
    assert out or err
    assert not STEERS.search(out + err)
    assert "internal fault" not in err
    if verb == "inspect json":
        assert json.loads(out)["operators"][0]["kind"] == f"CUSTOM:op{EVIL}"


def test_a_bar_prints_a_strangers_words_as_they_are(terminal: io.StringIO) -> None:
    """Names of operators are no markup either: a lone closing tag ended a comparison."""
    with contextlib.redirect_stderr(terminal), progress(2) as tell:
        tell(f"CUSTOM:op[/]{EVIL}")
    shown = terminal.getvalue()
    assert "CUSTOM:op[/]\\x1b]0;owned" in shown
    assert not any(part in shown for part in ("\x1b]0", "\x9b2J", "\u202e"))


def test_verbs_print_in_one_place() -> None:
    """A new verb that prints past the place which makes text printable fails here."""
    for path in Path(rocketnpu.cli.__file__).parent.rglob("*.py"):
        if path.name != "output.py":
            assert "click.echo(" not in path.read_text(), path
