"""Average precision on annotation files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rocketnpu.cli.main import run
from rocketnpu.evaluation.coco import MEASURES
from rocketnpu.evaluation.judge import Judge, Task, Verdict, digest_of
from rocketnpu.evaluation.samples import Sample

pytest.importorskip("pycocotools", reason="pycocotools is not installed (pip install rocketnpu[evaluate])")
GOOD = 0.4
"""Detections of the reference from here on are made the truth."""


def evaluated(capsys: pytest.CaptureFixture[str], room: Path, file: Path, *more: object) -> dict[str, Any]:
    given = ["-m", room / "detector.tflite", "-d", file, "--device", "simulator", "--json", *more]
    status = run(["evaluate", *map(str, given)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    found: dict[str, Any] = json.loads(captured.out)
    return found


@pytest.fixture(scope="module")
def verdicts(room: Path, annotated: Path) -> list[Verdict]:
    model = room / "detector.tflite"
    with Judge(Task(model, digest_of(model), None, True, {"device": "simulator"})) as judge:
        return [judge.judge(Sample(number, annotated / f"{number}.png", "", 0)) for number in range(12)]


def annotate(annotated: Path, verdicts: list[Verdict], name: str, moved: float = 0.0) -> Path:
    """Write an annotation file whose truth is what the reference found, moved by some pixels."""
    document = json.loads((annotated / "instances.json").read_text())
    for verdict in verdicts:
        for number, score, (left, top, right, bottom) in verdict.reference_found:
            if score >= GOOD:
                box = [left + moved, top, right - left, bottom - top]
                document["annotations"].append(
                    {"image_id": 100 + verdict.number, "category_id": (7, 9)[number], "bbox": box}
                )
    assert len(document["annotations"]) > 20
    file = annotated / name
    file.write_text(json.dumps(document))
    return file


def test_the_reference_is_right_about_itself(
    room: Path, annotated: Path, verdicts: list[Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, room, annotate(annotated, verdicts, "own.json"), "-w", 1)
    assert list(found["reference"]) == list(MEASURES)
    assert [found["reference"][name] for name in ("AP", "AP50", "AR 100")] == [1.0, 1.0, 1.0]
    assert found["reference"]["AP large"] is None, "no box of these small pictures is large"
    assert 0.5 < found["chip"]["AP"] <= 1.0
    assert found["difference"]["AP"] == found["chip"]["AP"] - found["reference"]["AP"]
    assert (found["unknown"], found["pictures"], found["bad"]) == (["unicorn"], 12, [])


def test_boxes_that_are_off_count_by_how_much(
    room: Path, annotated: Path, verdicts: list[Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, room, annotate(annotated, verdicts, "off.json", moved=1.5), "-w", 1)["reference"]
    assert 0 < found["AP75"] < found["AP50"] <= 1
    assert found["AP"] < 0.9


def test_processes_and_bad_pictures(
    room: Path, annotated: Path, verdicts: list[Verdict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(annotate(annotated, verdicts, "some.json").read_text())
    document["images"].append({"id": 7, "file_name": "missing.png"})
    file = tmp_path / "elsewhere.json"
    file.write_text(json.dumps(document))
    one = evaluated(capsys, room, file, "--pictures", annotated, "-w", 1)
    assert one == evaluated(capsys, room, file, "--pictures", annotated, "-w", 3)
    assert [bad["name"] for bad in one["bad"]] == ["missing.png"]
    assert one["reference"]["AP"] == 1.0
    given = ["-m", room / "detector.tflite", "-d", file, "--pictures", annotated, "--device", "simulator", "-w", 1]
    assert run(["evaluate", *map(str, given)]) == 0
    captured = capsys.readouterr()
    assert "AP50           1.000" in captured.out
    assert "the model has no class for unicorn" in captured.out
    assert "missing.png: cannot read picture" in captured.err


def lie(**changes: Any) -> dict[str, Any]:
    sound = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "categories": [{"id": 7, "name": "class 0"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    return {**sound, **changes}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no COCO annotation file"),
        (b"[]", "is no COCO annotation file"),
        (b"\x80", "is no COCO annotation file"),
        (b"{}", "'images' is missing"),
        (b"[" * 200, "is no COCO annotation file"),
        (lie(images=[]), "annotation 1 is of an image or a category that is not there"),
        (lie(images=[], annotations=[]), "has no images"),
        (lie(images=[{"id": "x", "file_name": "0.png"}]), "an id is 'x'"),
        (lie(images=[{"id": 1, "file_name": "../../etc/passwd"}]), "lies outside the folder"),
        (lie(images=[{"id": 1, "file_name": "/etc/passwd"}]), "lies outside the folder"),
        (lie(images=[{"id": 1, "file_name": "0.png"}] * 2), "two images have one id"),
        (lie(categories=[]), "an image or a category that is not there"),
        (lie(categories=[{"id": 7, "name": "unicorn"}]), "the model has no class of the file's categories: unicorn"),
        (lie(annotations=[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3]}]), "no box of four numbers"),
        (lie(annotations=[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, float("inf")]}]), "no box of four"),
        (lie(annotations=[{"image_id": 1, "category_id": 7, "bbox": "box!"}]), "is no COCO annotation file"),
        (lie(annotations=3), "is no COCO annotation file"),
        (lie(annotations=[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 10**400, 4]}]), "int too large"),
        (lie(annotations=[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 10**400}]), "int too large"),
    ],
)
def test_files_that_are_no_annotations(
    room: Path, annotated: Path, tmp_path: Path, content: Any, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "instances.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    given = ["-m", room / "detector.tflite", "-d", file, "--pictures", annotated, "--device", "simulator", "-w", 1]
    assert run(["evaluate", *map(str, given)]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_a_classifier_is_no_detector(room: Path, annotated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["-m", room / "classifier.tflite", "-d", annotated / "instances.json", "--device", "simulator"]
    assert run(["evaluate", *map(str, given)]) == 2
    assert "is no detector that is known here" in capsys.readouterr().err
