"""``pose`` on a model that sees red squares as people, and the decoding of rows."""

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
from rocketnpu.vision.drawing import draw_poses
from rocketnpu.vision.poses import BONES, JOINTS, Poser, point_names
from square_models import squares, tflite_pose

THINGS = {(0, 1): "red", (1, 5): "green", (3, 6): "red"}
SIDE = 32
"""Of a square: the picture is 256 wide and 128 high, and the model sees it with borders."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "pose.tflite"
    path.write_bytes(tflite_pose())
    return path


def test_people_and_their_points_are_where_they_were_drawn(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = squares((4 * SIDE, 8 * SIDE), THINGS)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    arguments = ["pose", "-m", model, "-i", tmp_path / "p.png", "-o", tmp_path / "drawn.png", "-d", "simulator"]
    assert run([*map(str, arguments), "--json"]) == 0
    poses = json.loads(capsys.readouterr().out)["frames"][0]["poses"]
    corners = {(one["box"][0] / SIDE, one["box"][1] / SIDE): one for one in poses}
    assert set(corners) == {(column, row) for (row, column), name in THINGS.items() if name == "red"}
    for (column, row), one in corners.items():
        assert [point["name"] for point in one["points"]] == list(JOINTS)
        for number, point in enumerate(one["points"]):
            along = (number + 1) / 18
            # Points are rounded to 1/256 of the model's input.
            assert point["x"] == pytest.approx(SIDE * (column + along), abs=0.6)
            assert point["y"] == pytest.approx(SIDE * (row + along), abs=0.6)
            assert (point["score"] > 0.9) == (number % 2 == 0)
    assert run([*map(str, arguments)]) == 0
    printed = capsys.readouterr().out
    assert "9 points of 17 seen" in printed
    assert "    nose 34,2" in printed
    with Poser(model, device="simulator") as poser:
        np.testing.assert_array_equal(read_pixels(tmp_path / "drawn.png"), draw_poses(pixels, poser.find(pixels)))
        assert poser.find(np.full((90, 40, 3), 114, np.uint8)) == []


def test_of_people_on_top_of_each_other_the_best_stays_and_pixels_are_understood(model: Path) -> None:
    rows = np.zeros((3, 56), np.float32)
    rows[:, 5::3], rows[:, 6::3], rows[:, 7::3] = 20, 40, 1
    rows[0, :5], rows[1, :5], rows[2, :5] = (20, 40, 8, 16, 0.8), (20, 41, 8, 16, 0.9), (50, 40, 8, 16, 0.3)
    with Poser(model, device="simulator") as poser:
        from rocketnpu.vision.letterbox import Fitting

        (found,) = poser.poses(Fitting.boxed((128, 128), poser.size), rows)
    assert found.whole.score == pytest.approx(0.9)
    assert found.whole.box == (32, 66, 48, 98)
    assert {(point.x, point.y) for point in found.points} == {(40, 80)}


def test_bones_join_joints() -> None:
    assert {joint for bone in BONES for joint in bone} == set(JOINTS)
    assert JOINTS[:3] == ("nose", "left eye", "right eye")
    assert JOINTS[-1] == "right ankle"
    assert len(JOINTS) == 17


def graph(*shapes: tuple[int, ...]) -> Graph:
    tensors = {i: Tensor(i, f"t{i}", shape, DType.FLOAT32, None) for i, shape in enumerate(((1, 8, 8, 3), *shapes))}
    outputs = tuple(range(1, len(shapes) + 1))
    return Graph("model", tensors, (Operator(0, "CONV_2D", (0,), outputs),), (0,), outputs)


def test_points_have_names() -> None:
    assert point_names(graph((1, 56, 8400))) == JOINTS
    assert point_names(graph((1, 11, 8400))) == ("point 0", "point 1")


@pytest.mark.parametrize("shapes", [[(1, 84, 8400)], [(1, 8400, 56)], [(1, 5, 8400)], [(1, 56, 8400), (1, 4)], []])
def test_what_has_no_poses_is_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="finds no poses"):
        point_names(graph(*shapes))
