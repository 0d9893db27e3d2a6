"""YOLO's heads on models that see: what is in a picture comes out, whichever format the model has."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rocketnpu.cli.main import run
from rocketnpu.vision.detector import Detector
from rocketnpu.vision.frames import Opened, VideoWriter
from square_models import CLASSES, onnx_yolo, squares, tflite_yolo

THINGS = {(0, 1): "red", (1, 5): "green", (3, 0): "blue", (2, 7): "red"}
"""By row and column, in squares of 16 pixels."""


@pytest.fixture(scope="module", params=["tflite", "onnx"])
def form(request: pytest.FixtureRequest) -> str:
    if request.param == "onnx":
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (pip install rocketnpu[onnx])")
    return str(request.param)


def model(form: str, version: int, folder: Path) -> tuple[Path, Path]:
    labels = folder / "labels.txt"
    labels.write_text("\n".join(CLASSES))
    path = folder / f"yolov{version}.{form}"
    if form == "tflite":
        path.write_bytes(tflite_yolo(version))
    else:
        onnx_yolo(version, path)
    return path, labels


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [5, 8])
def test_what_was_drawn_is_found_where_it_is(
    form: str, version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture is twice as wide as high: the model sees it with borders."""
    path, labels = model(form, version, tmp_path)
    capsys.readouterr()
    Image.fromarray(squares((64, 128), THINGS)).save(tmp_path / "p.png")
    arguments = ["-m", path, "-l", labels, "-i", tmp_path / "p.png", "-o", tmp_path / "drawn.png"]
    assert run(["detect", "-d", "simulator", "--json", *map(str, arguments)]) == 0
    found = json.loads(capsys.readouterr().out)["frames"][0]["detections"]
    boxes = {(one["label"], *(round(edge) for edge in one["box"])) for one in found}
    assert boxes == {
        (name, 16 * column, 16 * row, 16 * column + 16, 16 * row + 16) for (row, column), name in THINGS.items()
    }
    assert min(one["score"] for one in found) > 0.9, "scaling blurs the edges, no more"
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (128, 64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_convolution_runs_on_the_npu(form: str, tmp_path: Path) -> None:
    path, labels = model(form, 8, tmp_path)
    with Detector(path, labels, device="simulator", cache="off") as detector:
        kinds = {operator.kind for operator in detector.graph.operators}
        assert "CONV_2D" in kinds
        assert detector.device_name == "simulator"
        assert detector.detect(np.full((30, 40, 3), 114, np.uint8)) == []


def test_a_video_goes_through_on_all_cores_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
    path, labels = model("tflite", 8, tmp_path)
    places = [(number % 8, 3 * number % 8) for number in range(20)]
    with VideoWriter(tmp_path / "in.mp4", Fraction(10)) as video:
        for place in places:
            video.write(squares((256, 256), {place: "green"}))
    arguments = ["-m", path, "-l", labels, "-i", tmp_path / "in.mp4", "-o", tmp_path / "out.mp4", "-t", 0.3]
    assert run(["detect", "-d", "simulator", "--json", *map(str, arguments)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cores"] == 3
    assert document["frames per second"] > 0
    assert [frame["seconds"] for frame in document["frames"]] == pytest.approx([number / 10 for number in range(20)])
    for (row, column), frame in zip(places, document["frames"], strict=True):
        assert [round(edge / 32) for edge in frame["detections"][0]["box"]] == [column, row, column + 1, row + 1]
    with Opened(tmp_path / "out.mp4") as opened:
        frames = [frame.read() for frame in opened.frames]
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * 20
    for (row, column), pixels in zip(places, frames, strict=True):
        low = pixels[32 * row + 20 : 32 * row + 28, 32 * column + 8 : 32 * column + 24]  # below the name
        middle = low.reshape(-1, 3).mean(axis=0)
        assert middle[1] > middle[0] + 40, "a green square where it was"


def test_a_folder_on_an_emulated_board_is_what_the_simulator_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel's interface with three cores at work, and the program that a board runs on one simulated core."""
    path, labels = model("tflite", 8, tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        things = {(number % 8, 3 * number % 8): CLASSES[number % 3]}
        Image.fromarray(squares((128, 128), things)).save(folder / f"{number:02}.png")
    asked = ["detect", "-m", path, "-l", labels, "-i", folder, "--json"]
    command = [sys.executable, "-m", "rocketnpu.cli.main"]
    done = subprocess.run(
        list(map(str, [*command, "emulate", "--", *command, *asked])),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    board = json.loads(done.stdout)
    assert (board["device"], board["cores"]) == ("rocket", 3)
    assert "job" not in done.stderr, "the kernel dropped nothing"
    assert run([*map(str, asked), "-d", "simulator", "--target", "mainline", "--cores", "1"]) == 0
    assert board["frames"] == json.loads(capsys.readouterr().out)["frames"]
    assert all(len(frame["detections"]) == 1 for frame in board["frames"])
