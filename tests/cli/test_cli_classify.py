"""``classify``, ``inspect`` and ``compile`` as a user meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

HENS = Path(__file__).resolve().parents[2] / "examples" / "hens.jpg"


def rocketnpu(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROCKETNPU_CACHE": str(cache), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rocketnpu.cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of four classes: the brightness of four corners."""
    builder = ModelBuilder()
    picture = builder.tensor((1, 8, 8, 3), DType.UINT8, scale=1 / 128, zero_point=128)
    weights = np.zeros((4, 4, 4, 3), np.uint8)
    for corner in range(4):
        weights[corner, 3 * (corner // 2), 3 * (corner % 2)] = 100
    kernel = builder.tensor((4, 4, 4, 3), DType.UINT8, scale=0.01, zero_point=0, data=weights)
    bias = builder.tensor((4,), DType.INT32, scale=0.01 / 128, data=np.zeros(4, np.int32))
    map2 = builder.tensor((1, 2, 2, 4), DType.UINT8, scale=0.05, zero_point=128)
    pooled = builder.tensor((1, 1, 1, 4), DType.UINT8, scale=0.05, zero_point=128)
    flat = builder.tensor((1, 4), DType.UINT8, scale=0.05, zero_point=128)
    shape = builder.tensor((2,), DType.INT32, data=np.array([1, 4], np.int32))
    scores = builder.tensor((1, 4), DType.UINT8, scale=1 / 256, zero_point=0)
    builder.operator("CONV_2D", [picture, kernel, bias], [map2], ops.Conv2D((4, 4), Padding.VALID))
    builder.operator("AVERAGE_POOL_2D", [map2], [pooled], ops.Pool2D((1, 1), Padding.VALID, (2, 2)))
    builder.operator("RESHAPE", [pooled, shape], [flat])
    builder.operator("SOFTMAX", [flat], [scores], ops.Softmax(1.0))
    path = tmp_path / "corners.tflite"
    path.write_bytes(builder.build([picture], [scores]))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("north west\nnorth east\nsouth west\nsouth east\n")
    return path


def test_classify_writes_the_picture_with_its_classes(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "named.png"
    done = rocketnpu("classify", "-i", HENS, "-m", model, "-n", 2, "-o", output, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(HENS) as given, Image.open(output) as written:
        before, after = (np.asarray(one.convert("RGB")).astype(int) for one in (given, written))
    changed = np.argwhere((before != after).any(axis=2))
    rows, columns = changed.max(axis=0)
    assert (after[: rows + 1, : columns + 1].min(axis=2) < 60).any(), "black letters"
    assert rows < before.shape[0] // 4, "in a corner"
    assert columns < before.shape[1] // 2
    bad = rocketnpu("classify", "-i", HENS, "-m", model, "-o", tmp_path / "named.txt", cache=tmp_path)
    assert (bad.returncode, "its ending is none of a picture" in bad.stderr) == (2, True)


def test_classify(model: Path, labels: Path, tmp_path: Path) -> None:
    done = rocketnpu("classify", "-i", HENS, "-m", model, "-l", labels, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    fallen = "rocketnpu: there is no NPU here (`rocketnpu doctor` says why): running on the simulator\n"
    assert done.stderr == f"{fallen}device: simulator\n"
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all(re.fullmatch(r"[01]\.\d\d: (north|south) (west|east)", line) for line in lines[:4])
    assert re.fullmatch(r"time: \d+\.\dms", lines[4])
    told = rocketnpu("classify", "--json", "-n", 2, "-i", HENS, "-m", model, "-l", labels, cache=tmp_path)
    found = json.loads(told.stdout)
    assert [f"{item['score']:.2f}: {item['label']}" for item in found["results"]] == lines[:2]


def test_the_hens(mobilenet_v1: Path, mobilenet_labels: Path, tmp_path: Path) -> None:
    done = rocketnpu("classify", "-i", HENS, "-m", mobilenet_v1, "-l", mobilenet_labels, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    score, name = done.stdout.splitlines()[0].split(": ")
    assert name == "hen"
    assert float(score) >= 0.9


PICTURES = {
    "cat.bmp": "Egyptian cat",
    "parrot.jpg": "macaw",
    "bird.bmp": "chickadee",
    "sunflower.bmp": "daisy",
    "dog.webp": "German shepherd",
    "grace_hopper.bmp": "military uniform",
}


def test_other_pictures(shared: Path, mobilenet_v1: Path, mobilenet_labels: Path, tmp_path: Path) -> None:
    for picture, name in PICTURES.items():
        chosen = ("-i", shared / "pictures" / picture, "-m", mobilenet_v1, "-l", mobilenet_labels)
        arguments = ("classify", "--json", *chosen)
        assert json.loads(rocketnpu(*arguments, cache=tmp_path).stdout)["results"][0]["label"] == name


def test_inspect_and_compile(model: Path, tmp_path: Path) -> None:
    found = json.loads(rocketnpu("inspect", "--json", "-m", model, cache=tmp_path).stdout)
    assert [row["where"] for row in found["operators"]] == ["npu 0", "npu 0", "npu 0", "cpu"]
    assert found["operators"][0]["banks"] == "1/11"
    assert found["operators"][0]["macs"] == 4 * 4 * 4 * 4 * 3
    assert found["operators"][3]["reason"] == "the NPU has no SOFTMAX"
    text = rocketnpu("inspect", "-m", model, cache=tmp_path).stdout
    assert "3 of 4 operators on the NPU in 1 part, " in text
    made = rocketnpu("compile", "-m", model, "-o", tmp_path / "corners.rktprog", cache=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "corners.rktprog").stat().st_size > 1000


def only_softmax() -> bytes:
    builder = ModelBuilder()
    picture = builder.tensor((1, 2, 2, 3), DType.UINT8, scale=0.1)
    scores = builder.tensor((1, 2, 2, 3), DType.UINT8, scale=1 / 256)
    builder.operator("SOFTMAX", [picture], [scores], ops.Softmax(1.0))
    return builder.build([picture], [scores])


def test_bad_input_is_one_line_and_status_2(model: Path, labels: Path, tmp_path: Path) -> None:
    good = model.read_bytes()
    bad = {
        "empty.tflite": (b"", "is empty"),
        "text.tflite": (b"hello, I am no model at all, but long enough", "not a TFLite model"),
        "short.tflite": (good[: len(good) // 2], "short.tflite"),
        "plain.tflite": (only_softmax(), "no operator that the NPU takes"),
    }
    for name, (content, words) in bad.items():
        (tmp_path / name).write_bytes(content)
        for verb in (("inspect",), ("compile",), ("classify", "-i", HENS, "-l", labels)):
            if name == "plain.tflite" and verb[0] != "compile":
                continue
            done = rocketnpu(*verb, "-m", tmp_path / name, cache=tmp_path)
            one_line(done, words)
    (tmp_path / "broken.jpg").write_bytes(HENS.read_bytes()[:500])
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    one_line(rocketnpu("classify", "-i", tmp_path / "none.jpg", "-m", model, "-l", labels, cache=tmp_path), "none.jpg")
    one_line(rocketnpu("classify", "-i", tmp_path / "broken.jpg", "-m", model, "-l", labels, cache=tmp_path), "broken")
    done = rocketnpu("classify", "-i", HENS, "-m", model, "-l", tmp_path / "two.txt", cache=tmp_path)
    one_line(done, "2 labels, but the model has 4 outputs")
    one_line(rocketnpu("classify", "-i", HENS, "-m", tmp_path / "none.tflite", cache=tmp_path), "none.tflite")
    one_line(rocketnpu("classify", "-i", HENS, "-m", model, "-d", "abacus", cache=tmp_path), "abacus")


def one_line(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("rocketnpu: ")
    assert words in done.stderr
