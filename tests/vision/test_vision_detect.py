"""The hens, the dog and the cat, through SSDLite MobileDet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from materials import CHECKOUT, find_shared
from rocketnpu import zoo
from rocketnpu.cli.main import run
from rocketnpu.litert import require_litert
from rocketnpu.pictures import load_picture

STEPS = 0.0112
"""Of the picture: two steps of the model's own edges. LiteRT's kernels are up to 0.0105 from each other."""
HENS = CHECKOUT / "examples" / "hens.jpg"


@pytest.fixture(scope="module")
def mobiledet() -> Path:
    model = zoo.named("ssdlite_mobiledet")
    found = zoo.Cache().find(model, model.model)
    if found is None:
        pytest.skip("no SSDLite MobileDet: run `rocketnpu models get ssdlite_mobiledet` once")
    return found


def pictures() -> list[tuple[Path, str]]:
    shared = find_shared()
    others = [("dog.webp", "dog"), ("cat.bmp", "cat")] if shared else []
    return [(HENS, "bird"), *((shared / "pictures" / name, label) for name, label in others if shared)]


def reference(model: Path, picture: Path) -> list[tuple[int, float, list[float]]]:
    """The answer of LiteRT's built-in kernels: class, score, and left, top, right, bottom in pixels."""
    litert = require_litert()
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = litert.Interpreter(model_path=str(model), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], load_picture(picture, 320, 320))
    interpreter.invoke()
    edges, classes, scores, _ = (interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details())
    wide, high = size_of(picture)
    size = np.array([wide, high, wide, high])
    found = [
        (int(number), float(score), np.clip(box[[1, 0, 3, 2]] * size, 0, size).tolist())
        for box, number, score in zip(edges, classes, scores, strict=True)
        if score >= 0.55
    ]
    return sorted(found, key=lambda one: -one[1])


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def detected(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(["detect", "--device", "simulator", "--json", *map(str, arguments)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(("picture", "label"), pictures(), ids=lambda value: getattr(value, "stem", None))
def test_boxes_are_within_two_steps_of_litert(
    mobiledet: Path, picture: Path, label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "drawn.png"
    document = detected(capsys, "-i", picture, "-m", mobiledet, "-t", 0.45, "-o", drawn)
    found = document["frames"][0]["detections"]
    wanted = reference(mobiledet, picture)
    assert found[0]["label"] == label
    wide, high = size_of(picture)
    for number, score, box in wanted:
        alike = [np.array(one["box"]) for one in found if one["number"] == number]
        apart = [np.abs((other - box) / [wide, high, wide, high]).max() for other in alike]
        assert min(apart) <= STEPS, (number, score)
    assert size_of(drawn) == (wide, high)
    assert document["estimate for the board"]["milliseconds"] > 1


def test_several_cores_give_what_one_gives(mobiledet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(HENS) as picture:
        hens = picture.convert("RGB")
    for number in range(6):
        hens.rotate(10 * number).resize((320, 240)).save(tmp_path / f"{number}.png")
    one = detected(capsys, "-i", tmp_path, "-m", mobiledet)
    three = detected(capsys, "-i", tmp_path, "-m", mobiledet, "--cores", 3)
    assert [frame["name"] for frame in one["frames"]] == [f"{number}.png" for number in range(6)]
    assert one["frames"] == three["frames"]


def test_a_classifier_is_no_detector(mobilenet_v1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", "-i", str(HENS), "-m", str(mobilenet_v1), "--device", "simulator"]) == 2
    assert "is no detector that is known here: its outputs have shapes 1x1001" in capsys.readouterr().err
