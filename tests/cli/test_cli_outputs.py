"""Whatever a verb writes: where a link leads, all of it or nothing, and never over what it was made from."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from picture_models import classifier
from rocketnpu.cli.main import VERBS, run
from rocketnpu.errors import InputError
from rocketnpu.vision.frames import VideoWriter
from square_models import squares, tflite_pose, tflite_segments, tflite_yolo

OLD = b"what was there before"
WRITERS = {
    "classify --output": "classify -m classifier.tflite -i a.png -d simulator -o {out}.png",
    "detect --output": "detect -m yolo.tflite -i a.png -d simulator -o {out}.png",
    "segment --output": "segment -m segments.tflite -i a.png -d simulator -o {out}.png",
    "pose --output": "pose -m pose.tflite -i a.png -d simulator -o {out}.png",
    "compile --output": "compile -m classifier.tflite -o {out}",
    "inspect --overlay": "inspect -m classifier.tflite --overlay {out}",
    "estimate --trace": "estimate -m classifier.tflite --trace {out}",
    "estimate --html": "estimate -m classifier.tflite --html {out}",
    "disassemble --output": "disassemble p.rktprog -o {out}",
    "selftest --report": "selftest -d simulator -o {out}",
    "build-delegate --output": "build-delegate -o {out}",
    "build-provider --output": "build-provider -o {out}",
    "doctor --overlay": "doctor --overlay {out}",
}
"""Every option that names a file to write, with a command that does."""
READERS = {
    *("classify --image", "classify --labels", "compare --image", "evaluate --data", "evaluate --pictures"),
    *("evaluate --labels", "board --module", "board --share", "serve --token-file", "serve --certificate"),
    *("serve --key", "replay paths", "replay --beside", "disassemble file", "evidence --import"),
    *(f"{verb} {option}" for verb in ("detect", "segment", "pose") for option in ("--input", "--labels")),
}
"""Every option that names a file or a folder to read; a board writes to its share itself."""
NEEDS_COMPILER = {"build-delegate --output", "build-provider --output"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands read, in which they run."""
    models = {"classifier": classifier(), "yolo": tflite_yolo(8), "segments": tflite_segments(True)}
    for name, data in {**models, "pose": tflite_pose()}.items():
        (tmp_path / f"{name}.tflite").write_bytes(data)
    Image.fromarray(squares((64, 64), {(1, 1): "red"})).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert run(["compile", "-m", "classifier.tflite", "-o", "p.rktprog"]) == 0
    return tmp_path


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file be longer than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(OLD), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_option_that_names_a_file_is_known() -> None:
    """A new one fails here until it is tested below, or listed as one that is read."""
    found = set()
    for name, verb in VERBS.items():
        for parameter in verb.load().params:
            if isinstance(parameter.type, click.Path):
                options = [option for option in parameter.opts if option.startswith("--")]
                found.add(f"{name} {options[0] if options else parameter.name}")
    assert found == set(WRITERS) | READERS


@pytest.mark.parametrize("writer", WRITERS)
def test_it_is_written_where_a_link_leads_and_whole(
    writer: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if writer in NEEDS_COMPILER and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    command = WRITERS[writer].format(out="out").split()
    link, target = Path(command[-1]), folder / "elsewhere" / "target"
    target.parent.mkdir()
    target.write_bytes(OLD)
    link.symlink_to(target)
    with full_disk():
        assert run(command) == 2
    assert "cannot write " in capsys.readouterr().err
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]
    assert run(command) == 0
    assert link.is_symlink()
    assert target.read_bytes() != OLD
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("writer", sorted(set(WRITERS) - NEEDS_COMPILER - {"selftest --report", "doctor --overlay"}))
def test_nothing_is_written_over_what_it_is_made_from(
    writer: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = WRITERS[writer].format(out="out").split()
    source = next(folder / word for word in command if (folder / word).exists() and not word.endswith("yolo.tflite"))
    if command[-1].endswith(".png"):
        source = folder / "a.png"
    before = source.read_bytes()
    Path(command[-1]).hardlink_to(source)
    assert run(command) == 2
    assert "itself, which would be lost" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_a_folder_of_pictures_is_not_drawn_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "a.png", folder / "in" / name)
    (folder / "out" / "b.png").symlink_to(folder / "in" / "b.png")
    before = (folder / "a.png").read_bytes()
    common = ["detect", "-m", "yolo.tflite", "-d", "simulator", "-i", "in", "-o"]
    assert run([*common, "in"]) == 2
    assert "cannot write what is drawn to in: it is in itself, which would be lost" in capsys.readouterr().err
    assert run([*common, "out"]) == 2, "one of two is lost"
    assert "b.png: cannot write picture out/b.png: it is in/b.png itself" in capsys.readouterr().err
    assert (folder / "in" / "b.png").read_bytes() == before
    assert (folder / "out" / "a.png").read_bytes() != before


def video(path: Path, frames: int = 3) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
    with VideoWriter(path, Fraction(10)) as writer:
        for number in range(frames):
            writer.write(squares((64, 64), {(number, number): "red"}))


DETECT = ["detect", "-m", "yolo.tflite", "-d", "simulator", "-i", "in.mp4", "-o"]


def test_a_video_that_is_interrupted_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after a frame, a damaged frame, and a full disk."""
    video(folder / "in.mp4", 30)
    (folder / "out.mp4").write_bytes(OLD)
    before = sorted(folder.iterdir())
    whole = (folder / "in.mp4").read_bytes()

    def interrupted(_self: VideoWriter, _pixels: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(VideoWriter, "write", interrupted)
        assert run([*DETECT, "out.mp4"]) == 130
    with full_disk():
        assert run([*DETECT, "out.mp4"]) == 2
    assert "cannot write video out.mp4: File too large" in capsys.readouterr().err
    assert (folder / "out.mp4").read_bytes() == OLD
    assert run([*DETECT, "in.mp4"]) == 2
    assert (folder / "in.mp4").read_bytes() == whole
    assert sorted(folder.iterdir()) == before
    assert run([*DETECT, "out.mp4"]) == 0
    assert (folder / "out.mp4").read_bytes() != OLD
    assert sorted(folder.iterdir()) == before


def test_a_video_into_a_pipe_a_socket_and_a_folder_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video(folder / "in.mp4")
    os.mkfifo("pipe.mkv")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe.mkv").read_bytes()))
    reader.start()
    assert run([*DETECT, "pipe.mkv"]) == 0
    reader.join(20)
    assert got[0][:4] == b"\x1aE\xdf\xa3", "Matroska"
    assert Path("pipe.mkv").is_fifo()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("socket.mkv")
        assert run([*DETECT, "socket.mkv"]) == 2
    assert Path("socket.mkv").is_socket()
    capsys.readouterr()
    assert run([*DETECT, "none/out.mkv"]) == 2
    assert "cannot write video none/out.mkv: there is no folder" in capsys.readouterr().err
    assert not Path("none").exists()


def test_a_video_that_fails_at_its_end_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(folder / "out.mp4")
    before = (folder / "out.mp4").read_bytes()
    writer = VideoWriter(folder / "out.mp4", Fraction(10))
    writer.write(np.zeros((64, 64, 3), np.uint8))
    with full_disk(), pytest.raises(InputError, match=r"cannot write video .*out\.mp4: File too large"):
        writer.close()
    writer.close()
    assert (folder / "out.mp4").read_bytes() == before
    assert not list(folder.glob(".*"))
