"""Boxes, borders, heads and pictures, without a model."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rocketnpu.cli.vision.looking import cores_for
from rocketnpu.device.base import Driver
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.vision.coco import names_for
from rocketnpu.vision.detections import Boxes, Detection, overlaps, suppress
from rocketnpu.vision.drawing import colour_of, draw
from rocketnpu.vision.frames import Opened, VideoWriter, encode_picture
from rocketnpu.vision.heads import PostProcessed, Yolo, head_of
from rocketnpu.vision.letterbox import GREY, Fitting


def boxes(*rows: tuple[float, ...]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_names_of_coco() -> None:
    assert names_for(80)[14] == names_for(90)[15] == "bird"
    assert names_for(80)[79] == names_for(90)[89] == "toothbrush"
    assert names_for(90)[11] == "category 12"
    assert names_for(7) is None


def test_overlap() -> None:
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 1]], np.float32)
    np.testing.assert_allclose(overlaps(others[0], others), [1, 1 / 3, 0, 0])
    assert overlaps(others[3], others[3:])[0] == 0, "a box without area overlaps nothing"


def test_suppression_is_by_class_and_keeps_the_best() -> None:
    found = suppress(
        boxes((0, 0, 2, 2, 0.5, 1), (0, 0, 2, 2.1, 0.9, 1), (0, 0, 2, 2, 0.7, 2), (4, 4, 5, 5, 0.6, 1)), 0.45, 10
    )
    assert [
        (round(float(score), 1), int(number)) for score, number in zip(found.scores, found.classes, strict=True)
    ] == [
        (0.9, 1),
        (0.7, 2),
        (0.6, 1),
    ]
    assert len(suppress(boxes(*[(i, 0, i + 1, 1, 0.5, 0) for i in range(9)]), 0.45, 4)) == 4
    assert len(suppress(boxes(), 0.45, 4)) == 0


@given(st.tuples(*[st.integers(1, 900)] * 2), st.tuples(*[st.integers(1, 400)] * 2))
def test_a_box_of_the_whole_picture_comes_back(picture: tuple[int, int], size: tuple[int, int]) -> None:
    for fitting in (Fitting.stretched(picture, size), Fitting.boxed(picture, size)):
        (top, left), (height, width) = fitting.first, fitting.scaled
        assert 0 <= top <= top + height <= size[0]
        assert 0 <= left <= left + width <= size[1]
        edges = np.array([[left / size[1], top / size[0], (left + width) / size[1], (top + height) / size[0]]])
        back = fitting.back(edges.astype(np.float32))[0]
        np.testing.assert_allclose(back, [0, 0, picture[1], picture[0]], atol=1e-3 * max(picture))


def test_borders_are_grey_and_the_picture_is_whole() -> None:
    pixels = np.full((20, 40, 3), 7, np.uint8)
    whole = Fitting.boxed((20, 40), (80, 80)).apply(pixels)
    assert whole.shape == (80, 80, 3)
    assert (whole[20:60] == 7).all()
    assert (whole[:20] == GREY).all()
    assert (whole[60:] == GREY).all()
    assert (Fitting.stretched((20, 40), (80, 80)).apply(pixels) == 7).all()


def graph(*shapes: tuple[int, ...], kind: str = "CONV_2D") -> Graph:
    tensors = {i: Tensor(i, f"t{i}", shape, DType.FLOAT32, None) for i, shape in enumerate(((1, 8, 8, 3), *shapes))}
    outputs = tuple(range(1, len(shapes) + 1))
    return Graph("model", tensors, (Operator(0, kind, (0,), outputs),), (0,), outputs)


def test_heads_are_recognised() -> None:
    assert head_of(graph((), (), (), (), kind="CUSTOM:TFLite_Detection_PostProcess"), (8, 8)) == PostProcessed(90)
    assert head_of(graph((1, 2100, 85)), (320, 320)) == Yolo(80, (320, 320), rows_last=False, objectness=True)
    assert head_of(graph((1, 84, 2100)), (320, 320)) == Yolo(80, (320, 320), rows_last=True, objectness=False)


@pytest.mark.parametrize("shapes", [[(1, 1000)], [(1, 84, 2100), (1, 32, 80, 80)], [(2, 84, 2100)], [(1, 4, 9)]])
def test_what_is_no_detector_is_told_by_its_outputs(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="x".join(map(str, shapes[0][1:]))):
        head_of(graph(*shapes), (8, 8))


def test_post_processed_boxes_are_taken_as_far_as_they_count() -> None:
    outputs = [
        np.array([[[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], [9, 9, 9, 9]]]),
        np.array([[15.0, 2, 0]]),
        np.array([[0.8, 0.1, 0.9]]),
        np.array([2.0]),
    ]
    found = PostProcessed().boxes(outputs, 0.4)
    np.testing.assert_allclose(found.edges, [[0.2, 0.1, 0.4, 0.3]])
    assert (found.classes.tolist(), len(found)) == ([15], 1)


@pytest.mark.parametrize("rows_last", [False, True], ids=["YOLOv5", "YOLOv8"])
@pytest.mark.parametrize("scale", [1, 320], ids=["shares", "pixels"])
def test_yolo_rows(rows_last: bool, scale: int) -> None:
    head = Yolo(2, (320, 320), rows_last, objectness=not rows_last)
    rows = np.zeros((50, 6 if rows_last else 7), np.float32)
    rows[3, :4] = np.array([0.5, 0.5, 0.25, 0.5]) * scale
    rows[4, :4] = np.array([0.5, 0.51, 0.25, 0.5]) * scale
    rows[9, :4] = np.array([0.1, 0.1, 0.1, 0.1]) * scale
    rows[3, -1], rows[4, -1], rows[9, -2] = 0.9, 0.8, 0.6
    if not rows_last:
        rows[:, 4] = 0.5
    found = head.boxes([(rows.T if rows_last else rows)[None]], 0.2)
    np.testing.assert_allclose(found.edges, [[0.375, 0.25, 0.625, 0.75], [0.05, 0.05, 0.15, 0.15]], atol=1e-6)
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, np.array([0.9, 0.6]) * (1 if rows_last else 0.5))


def test_drawing_touches_the_edge_and_not_the_middle() -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    drawn = draw(pixels, [Detection("bird", 15, 0.8, (100.0, 80.0, 200.0, 160.0))])
    assert tuple(drawn[120, 100]) == colour_of(15)
    assert not drawn[100:150, 110:190].any()
    assert not pixels.any(), "the picture itself stays"


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"") if name.endswith("txt") else Image.new("RGB", (4, 3)).save(tmp_path / name)
    with Opened(tmp_path) as opened:
        assert opened.frames.count() == 2
        assert [(frame.name, frame.read().shape) for frame in opened.frames] == [
            ("a.jpg", (3, 4, 3)),
            ("b.png", (3, 4, 3)),
        ]
    with pytest.raises(InputError, match="has no pictures"), Opened(Path(__file__).parent):
        pass


def test_a_video_goes_out_and_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
    path = tmp_path / "v.mp4"
    with VideoWriter(path, Fraction(10)) as video:
        for value in (0, 100, 200):
            video.write(np.full((49, 64, 3), value, np.uint8))
    with Opened(path) as opened:
        frames = list(opened.frames)
        assert opened.frames.rate == 10
    assert [frame.read().shape for frame in frames] == [(48, 64, 3)] * 3
    assert [round(float(frame.read().mean()) / 100) for frame in frames] == [0, 1, 2]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("data", [b"", b"not a video", bytes(4000)])
def test_what_is_no_video_is_said(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
    (tmp_path / "v.mp4").write_bytes(data)
    with pytest.raises(InputError, match="neither a picture nor a video"), Opened(tmp_path / "v.mp4"):
        pass


def test_a_picture_of_no_known_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its ending is none of a picture"):
        encode_picture(tmp_path / "x.nothing", np.zeros((2, 2, 3), np.uint8))


def test_without_pyav_a_video_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "v.mp4").write_bytes(bytes(100))
    with (
        pytest.raises(UnsupportedError, match=r"pip install rocketnpu\[video\]"),
        Opened(tmp_path / "v.mp4"),
    ):
        pass
    with pytest.raises(UnsupportedError, match="PyAV"):
        VideoWriter(tmp_path / "w.mp4", Fraction(10))
    assert not (tmp_path / "w.mp4").exists()


HOSTILE = np.array([np.nan, np.inf, -np.inf, -1, 0, 0.5, 2, 1e30, -1e30, 3e9], np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_model_gives_is_drawn(seed: int) -> None:
    """No count, edges that are no numbers, boxes whose right edge is left of their left one."""
    random = np.random.default_rng(seed)
    if seed % 2:
        sizes = random.integers(0, 9, 4)
        head, outputs = PostProcessed(), [random.choice(HOSTILE, size) for size in (4 * sizes[0], *sizes[1:])]
    else:
        last = bool(seed % 4)
        head = Yolo(3, (32, 32), rows_last=last, objectness=not last)
        outputs = [random.choice(HOSTILE, (1, 7, 20) if last else (1, 20, 8))]
    with np.errstate(all="ignore"):
        found = head.boxes(outputs, 0.25).sound()
        edges = Fitting.boxed((20, 30), (32, 32)).back(found.edges)
    assert np.isfinite(found.edges).all()
    assert np.isfinite(found.scores).all()
    assert (found.edges[:, :2] <= found.edges[:, 2:]).all()
    boxes = [
        Detection("x", int(number), float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for box, score, number in zip(edges, found.scores, found.classes, strict=True)
    ]
    assert draw(np.zeros((20, 30, 3), np.uint8), boxes).shape == (20, 30, 3)


def test_a_width_a_little_below_zero_is_a_line() -> None:
    """Quantised extents of nothing may be a step below zero; such a box could not be drawn."""
    rows = np.array([[16, 16, -0.2, 4, 0.9]], np.float32)
    found = Yolo(1, (32, 32), rows_last=True, objectness=False).boxes([rows.T[None]], 0.5).sound()
    assert found.edges[0, 0] < found.edges[0, 2]
    assert len(found) == 1


@pytest.mark.parametrize(("wanted", "frames", "cores"), [(None, 1, 1), (None, 9, 1), (None, 0, 1), (2, 9, 2)])
def test_cores_are_those_of_the_device_that_is_there(
    wanted: int | None, frames: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An A311D has one core, whatever chip is simulated where there is no device."""
    driver = Driver("board", "a311d", "mainline", (), lambda *_: SimulatorDevice(chip="a311d"))
    monkeypatch.setattr("rocketnpu.device.discover.drivers", lambda: (driver,))
    assert cores_for(wanted, frames, "auto", "rk3588") == cores
    assert cores_for(wanted, frames, "simulator", "rk3588") == (cores if wanted or frames == 1 else 3)
