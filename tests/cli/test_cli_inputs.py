"""Whatever a verb reads may be a pipe that nobody writes to, or have no end: it is refused, and nothing waits."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from picture_models import classifier
from rocketnpu.cli.main import VERBS, run
from square_models import squares, tflite_yolo

SECONDS = 20.0
READERS = {
    "classify --image": "classify -m c.tflite -i {} -d simulator",
    "classify --labels": "classify -m c.tflite -i a.png -l {} -d simulator",
    "compare --image": "compare -m c.tflite -i {}",
    "detect --input": "detect -m y.tflite -i {} -d simulator",
    "detect --input in": "detect -m y.tflite -i in -d simulator",
    "detect --labels": "detect -m y.tflite -i a.png -l {} -d simulator",
    "disassemble": "disassemble {}",
    "disassemble --assemble": "disassemble --assemble {} -o out",
    "evaluate --data": "evaluate -m y.tflite -d {} --device simulator",
    "evaluate --labels": "evaluate -m c.tflite -d in -l {} --device simulator",
    "evidence --import": "evidence --import {}",
    "replay": "replay {}",
    "serve --certificate": "serve -m c.tflite -p 0 --certificate {} --key a.png",
    "serve --key": "serve -m c.tflite -p 0 --certificate a.png --key {}",
    "serve --token-file": "serve -m c.tflite -p 0 --token-file {}",
}
MODELS = {
    *("benchmark -m {} -d simulator", "classify -m {} -i a.png", "compare -m {}", "compile -m {}"),
    *("detect -m {} -i a.png", "estimate -m {}", "evaluate -m {} -d in", "inspect -m {}", "pose -m {} -i a.png"),
    *("segment -m {} -i a.png", "serve -m x={} -p 0"),
}
ENDLESS = "/dev/zero"


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Fail where the block waits."""

    def waited(number: int, _frame: object) -> NoReturn:
        raise AssertionError(f"it waits (signal {number})")

    before = signal.signal(signal.SIGALRM, waited)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands read beside the pipe, in which they run."""
    (tmp_path / "c.tflite").write_bytes(classifier())
    (tmp_path / "y.tflite").write_bytes(tflite_yolo(8))
    Image.fromarray(squares((64, 64), {(1, 1): "red"})).save(tmp_path / "a.png")
    (tmp_path / "in" / "class 1").mkdir(parents=True)
    for name in ("pipe", "pipe.png", "pipe.tflite", "pipe.onnx", "in/x.png", "in/class 1/x.png"):
        os.mkfifo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with soon():
        assert run(command.split()) == 2
    out, err = capsys.readouterr()
    assert "internal fault" not in err
    assert out == ""
    return err


@pytest.mark.parametrize("name", ["pipe", "pipe.png", ENDLESS])
@pytest.mark.parametrize("reader", READERS)
def test_no_verb_waits_for_a_pipe(reader: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if reader.startswith("serve"):
        pytest.importorskip("uvicorn", reason="uvicorn is not installed (pip install rocketnpu[serve])")
    if reader == "evaluate --data":
        pytest.importorskip("pycocotools", reason="pycocotools is not installed (pip install rocketnpu[evaluate])")
    if reader == "detect --input" and name != "pipe.png":
        pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
    err = refused(READERS[reader].format(name), capsys)
    if reader != "detect --input in":
        assert f"{name}: it is a {'device' if name == ENDLESS else 'pipe'}, not a file" in err


@pytest.mark.parametrize("name", ["pipe.tflite", "pipe.onnx", ENDLESS])
@pytest.mark.parametrize("command", sorted(MODELS))
def test_no_verb_waits_for_a_model(command: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if command.startswith("serve"):
        pytest.importorskip("uvicorn", reason="uvicorn is not installed (pip install rocketnpu[serve])")
    err = refused(command.format(name), capsys)
    assert f"{name}: it is a {'device' if name == ENDLESS else 'pipe'}, not a file" in err


def test_every_verb_with_a_model_is_known() -> None:
    found = {name for name, verb in VERBS.items() if any("-m" in parameter.opts for parameter in verb.load().params)}
    assert found == {command.split()[0] for command in MODELS}
