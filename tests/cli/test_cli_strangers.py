"""What strangers wrote, in models, labels and recordings, never steers the terminal; nor does what the user typed."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import strangers_folder

import rocketnpu.cli
from rocketnpu.cli.main import VERBS, run
from rocketnpu.cli.model.comparing import progress
from rocketnpu.cli.output import LogLines
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.program import store

EVIL = "\x1b]0;owned\x07\x9b2J\u202e\r"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PICTURE = Path(__file__).parents[2] / "examples" / "hens.jpg"
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "conv1x1_u8_fc_shape_1x1x64_100.zip"


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("strangers")
    with pytest.MonkeyPatch.context() as patched:
        strangers_folder.lay_out(made, GOLDEN, patched)
    with contextlib.suppress(ImportError):
        strangers_folder.write_onnx(made)
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("line", strangers_folder.LINES)
def test_nobody_steers_a_terminal_or_forges_a_line(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for word, package in {"onnx": "onnxruntime", "serve": "uvicorn", "evaluate": "pycocotools"}.items():
        if word in line:
            pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(folder)
    capsys.readouterr()
    status = run([word.format(*[strangers_folder.EVIL] * 2) for word in strangers_folder.LINES[line]])
    out, err = capsys.readouterr()
    assert status == (2 if line in strangers_folder.REFUSED else 0), err
    assert out or err
    assert not STEERS.search(out + err)
    assert not re.search(r"^\s*FORGED", out + err, re.MULTILINE)
    assert "internal fault" not in err
    assert "Traceback" not in err
    if line == "detect json":
        frames = json.loads(out)["frames"]
        assert strangers_folder.PICTURE in {frame["name"] for frame in frames}


def test_every_verb_meets_strangers() -> None:
    met = {words[0] for words in strangers_folder.LINES.values()}
    assert set(VERBS) - met == {"build-delegate", "build-provider"}, "their one word is where to write"


def test_a_name_in_a_listing_is_no_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's own words stand in comments of its listing, and the listing is assembled again."""
    monkeypatch.chdir(folder)
    sound = folder / "sound.rktprog"
    assert run(["compile", "-m", f"c{strangers_folder.EVIL}.tflite", "-o", str(sound)]) == 0
    program = store.load(sound)
    job = program.jobs[0]
    evil = replace(job.tasks[0], label="x\nWORD 0x0123456789abcdef")
    hostile = replace(program, jobs=(replace(job, tasks=(evil, *job.tasks[1:])), *program.jobs[1:]))
    words = {}
    for name, made in (("plain", program), ("name\nWORD 0x0123456789abcdef", hostile)):
        store.save(made, name)
        assert run(["disassemble", name, "-o", "listing"]) == 0
        assert run(["disassemble", "--assemble", "listing", "-o", "words"]) == 0
        words[name] = (folder / "words").read_bytes()
    assert len(set(words.values())) == 1


def test_a_log_is_printable_and_a_line_each() -> None:
    """What a server logs holds names of tensors and words of clients."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    handler.setFormatter(LogLines())
    log = logging.Logger("x")
    log.addHandler(handler)
    log.error("model %s: %s", f"m{strangers_folder.EVIL}", ValueError(strangers_folder.EVIL))
    log.error("it failed", exc_info=ValueError(EVIL))
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("rocketnpu: model m\\x1b]0;owned\\x07\\x9b2J\\u202e FORGED: : \\x1b]0;")
    assert lines[1:3] == ["rocketnpu: it failed", "ValueError: \\x1b]0;owned\\x07\\x9b2J\\u202e\\x0d"]
    assert not STEERS.search(shown.getvalue())


def test_no_verb_needs_stderr(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed by who called, as by ``2>&-``: there is no such stream then."""
    monkeypatch.chdir(folder)
    for words in ("segment", "evaluate classes", "compare", "models"):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", None)
            line = [word.format(*[strangers_folder.EVIL] * 2) for word in strangers_folder.LINES[words]]
            assert run(line) in (0, 2), words


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
