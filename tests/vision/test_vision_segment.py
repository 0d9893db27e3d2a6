"""``segment`` on models that see coloured squares: maps of scores in both orders of axes, and maps of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rocketnpu.cli.main import run
from rocketnpu.errors import InputError
from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.pictures import read_pixels
from rocketnpu.vision.drawing import colour_of, paint
from rocketnpu.vision.segmenter import Regions, Segmenter, class_axis
from square_models import CLASSES, onnx_segments, squares, tflite_segments

THINGS = {(0, 1): "red", (1, 5): "green", (6, 0): "blue", (7, 7): "red"}
NAMES = ("background", *CLASSES)


@pytest.fixture(params=["scores", "classes", "onnx"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    if request.param == "onnx":
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (pip install rocketnpu[onnx])")
        onnx_segments(tmp_path / "m.onnx")
        return tmp_path / "m.onnx"
    (tmp_path / "m.tflite").write_bytes(tflite_segments(request.param == "classes"))
    return tmp_path / "m.tflite"


def wanted(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    found = np.zeros((8, 8), np.uint8)
    for (row, column), name in THINGS.items():
        found[row, column] = NAMES.index(name)
    return found.repeat(side, axis=0).repeat(side, axis=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_pixel_has_its_class(model: Path) -> None:
    with Segmenter(model, model.with_name("labels.txt"), device="simulator", cache="off") as segmenter:
        for side in (8, 20):
            found = segmenter.segment(squares((8 * side, 8 * side), THINGS))
            np.testing.assert_array_equal(found.classes, wanted(side))
        assert {found.name(number): share for number, share in found.shares().items()} == {
            "background": 60 / 64,
            "red": 2 / 64,
            "green": 1 / 64,
            "blue": 1 / 64,
        }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_by_the_verb(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, drawn = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    drawn.mkdir()
    for number in range(5):
        things = {(number, number): "red"}
        Image.fromarray(squares((64, 64), things)).save(folder / f"{number}.png")
    arguments = ["segment", "-i", folder, "-o", drawn, "-m", model, "-l", tmp_path / "labels.txt", "-d", "simulator"]
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == 0
    frames = json.loads(capsys.readouterr().out)["frames"]
    assert [frame["name"] for frame in frames] == [f"{number}.png" for number in range(5)]
    red = {"label": "red", "number": 1, "share": 1 / 64}
    assert all(frame["regions"][1:] == [red] for frame in frames)
    with Segmenter(model, tmp_path / "labels.txt", device="simulator") as segmenter:
        for number in range(5):
            pixels = squares((64, 64), {(number, number): "red"})
            shown = read_pixels(drawn / f"{number}.png")
            np.testing.assert_array_equal(shown, paint(pixels, segmenter.segment(pixels)))
    assert run(list(map(str, arguments))) == 0
    assert "0.png: 98% background, 2% red" in capsys.readouterr().out


def test_paint_covers_things_half_and_leaves_the_background() -> None:
    pixels = np.full((200, 200, 3), 100, np.uint8)
    classes = np.zeros((200, 200), np.uint8)
    classes[100:150, 100:150] = 2
    shown = paint(pixels, Regions(classes, ("nothing", "one", "two")))
    assert tuple(shown[120, 120]) == tuple((100 + value) // 2 for value in colour_of(2))
    assert (shown[160:, 160:] == 100).all()
    assert tuple(shown[0, 0]) == colour_of(2), "the legend"


def graph(*shapes: tuple[int, ...]) -> Graph:
    tensors = {i: Tensor(i, f"t{i}", shape, DType.FLOAT32, None) for i, shape in enumerate(((1, 8, 8, 3), *shapes))}
    outputs = tuple(range(1, len(shapes) + 1))
    return Graph("model", tensors, (Operator(0, "CONV_2D", (0,), outputs),), (0,), outputs)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 65, 65, 21), 3),
        ((1, 19, 512, 1024), 1),
        ((1, 65, 65), None),
        ((1, 65, 65, 1), None),
        ((1, 1, 65, 65), None),
    ],
)
def test_the_axis_of_classes(shape: tuple[int, ...], axis: int | None) -> None:
    assert class_axis(graph(shape)) == axis


@pytest.mark.parametrize("shapes", [[(1, 1000)], [(1, 65, 65, 21), (1, 4)], [(2, 65, 65)], [(1, 512, 512, 300)], []])
def test_what_is_no_map_is_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="gives no map of classes"):
        class_axis(graph(*shapes))
