"""A folder in which every name and word is a stranger's, and command lines that meet them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from picture_models import classifier
from rocketnpu.model.builder import ModelBuilder
from square_models import CLASSES, onnx_yolo, squares, tflite_pose, tflite_segments, tflite_yolo

EVIL = "\x1b]0;owned\x07\x9b2J\u202e\r\nFORGED: "
"""Steers a terminal, and begins a line of its own."""
WORDS = EVIL.replace("\n", "")
"""For files in which a line ends a word."""
PICTURE, PICTURES, LABELS, MORE_LABELS = f"p{EVIL}.png", f"in{EVIL}", f"labels{EVIL}", f"more{EVIL}"
LINES = {
    "benchmark": ["benchmark", "-m", "c{}.tflite", "-d", "simulator", "--num-runs", "1"],
    "benchmark onnx": ["benchmark", "-m", "o{}.onnx", "-d", "simulator", "--num-runs", "1"],
    "board": ["board", "--module", "none{}"],
    "classify": ["classify", "-m", "c{}.tflite", "-i", PICTURE, "-d", "simulator"],
    "compare": ["compare", "-m", "c{}.tflite"],
    "compile": ["compile", "-m", "c{}.tflite", "-o", "out{}"],
    "compile onnx": ["compile", "-m", "unknown{}.onnx"],
    "detect": ["detect", "-m", "y{}.tflite", "-l", LABELS, "-i", PICTURE, "-d", "simulator"],
    "detect folder": ["detect", "-m", "y{}.tflite", "-l", LABELS, "-i", PICTURES, "-d", "simulator"],
    "detect json": ["detect", "-m", "y{}.tflite", "-l", LABELS, "-i", PICTURES, "-d", "simulator", "--json"],
    "detect no detector": ["detect", "-m", "c{}.tflite", "-i", PICTURE, "-d", "simulator"],
    "detect onnx": ["detect", "-m", "o{}.onnx", "-l", LABELS, "-i", PICTURES, "-d", "simulator"],
    "device": ["detect", "-m", "y{}.tflite", "-i", PICTURE, "-d", "none{}"],
    "disassemble": ["disassemble", "r.zip"],
    "disassemble raw": ["disassemble", PICTURE],
    "doctor": ["doctor", "--overlay", "none{}/x"],
    "emulate": ["emulate", "--no{}"],
    "estimate": ["estimate", "-m", "c{}.tflite"],
    "estimate onnx": ["estimate", "-m", "o{}.onnx"],
    "estimate recording": ["estimate", "-m", "r.zip"],
    "evaluate classes": ["evaluate", "-m", "c{}.tflite", "-d", "classes{}", "--device", "simulator"],
    "evaluate boxes": ["evaluate", "-m", "y{}.tflite", "-l", LABELS, "-d", "coco{}.json", "--device", "simulator"],
    "evaluate no boxes": ["evaluate", "-m", "y{}.tflite", "-d", "coco{}.json", "--device", "simulator"],
    "evidence": ["evidence", "--import", "report{}.json"],
    "evidence name": ["evidence", "none{}"],
    "inspect onnx": ["inspect", "-m", "o{}.onnx"],
    "inspect recording": ["inspect", "-m", "r.zip"],
    "inspect unknown": ["inspect", "-m", "unknown{}.onnx"],
    "models": ["models", "get", "none{}"],
    "operators": ["operators", "none{}"],
    "pose": ["pose", "-m", "q{}.tflite", "-i", PICTURES, "-d", "simulator"],
    "replay": ["replay", "r.zip"],
    "segment": ["segment", "-m", "s{}.tflite", "-l", MORE_LABELS, "-i", PICTURES, "-d", "simulator"],
    "selftest": ["selftest", "--device", "none{}"],
    "serve host": ["serve", "-m", "a=c{}.tflite", "-p", "0", "--host", "none{}"],
    "serve name": ["serve", "-m", "{}=c{}.tflite", "-p", "0"],
    "serve no detector": ["serve", "-m", "a=c{}.tflite", "-p", "0", "--frigate", "ipc:///none{}"],
    "shape": ["inspect", "-m", "o{}.onnx", "--input", "none{}=1x2x3x4"],
}
"""Command lines, where ``{}`` stands for :data:`EVIL`."""
REFUSED = {
    *("board", "compile onnx", "detect no detector", "device", "doctor", "emulate", "evaluate no boxes"),
    *("evidence name", "inspect unknown", "models", "operators", "selftest", "serve host", "serve name"),
    *("serve no detector", "shape"),
    *("detect folder", "detect json", "detect onnx", "pose", "segment"),
}
"""Those that end with a sentence; the last ones do so after all good pictures."""


def lay_out(folder: Path, data: Path, patched: pytest.MonkeyPatch) -> None:
    """Make everything that the command lines name, with ``data`` as the tests' recordings."""
    plain = ModelBuilder.tensor
    numbers = iter(range(10_000))

    def named(builder: ModelBuilder, *arguments: Any, **options: Any) -> int:
        return plain(builder, *arguments, **{**options, "name": f"{next(numbers)}{EVIL}"})

    patched.setattr(ModelBuilder, "tensor", named)
    models = {"c": classifier(), "y": tflite_yolo(8), "s": tflite_segments(True), "q": tflite_pose()}
    for name, model in models.items():
        (folder / f"{name}{EVIL}.tflite").write_bytes(model)
    names = [f"{name}{WORDS}" for name in CLASSES]
    (folder / LABELS).write_text("\n".join(names), newline="")
    (folder / MORE_LABELS).write_text("\n".join([f"nothing{WORDS}", *names]), newline="")
    Image.fromarray(squares((64, 64), {(1, 1): "red", (3, 3): "green"})).save(folder / "plain.png")
    shutil.copy(folder / "plain.png", folder / PICTURE)
    for room in (PICTURES, f"classes{EVIL}/class 1"):
        (folder / room).mkdir(parents=True)
        shutil.copy(folder / "plain.png", folder / room / PICTURE)
        (folder / room / f"bad{EVIL}.png").write_bytes(b"no picture")
    _write_json(folder)
    _write_recording(folder, data)


def _write_json(folder: Path) -> None:
    boxes = {
        "images": [{"id": 1, "file_name": PICTURE}, {"id": 2, "file_name": f"bad{EVIL}.png"}],
        "categories": [{"id": 1, "name": f"unicorn{EVIL}"}, {"id": 2, "name": f"red{WORDS}".rstrip()}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5]}],
    }
    (folder / f"coco{EVIL}.json").write_text(json.dumps(boxes))
    board = dict.fromkeys(("chip", "driver", "version", "kernel", "kind"), EVIL)
    rule = {"result": "proven", "fits": EVIL, "date": EVIL}
    report = {"kind": "rocketnpu rules", "format": 1, "version": EVIL, "board": board, "rules": {EVIL: rule}}
    (folder / f"report{EVIL}.json").write_text(json.dumps(report))


def _write_recording(folder: Path, data: Path) -> None:
    """Copy a recording with a stranger's words wherever its manifest has words of no meaning."""
    with zipfile.ZipFile(data) as sound, zipfile.ZipFile(folder / "r.zip", "w") as made:
        for name in sound.namelist():
            content = sound.read(name)
            if name == "recording.json":
                manifest = json.loads(content)
                manifest |= {"producer": EVIL, "model": EVIL}
                content = json.dumps(manifest).encode()
            made.writestr(name, content)


def write_onnx(folder: Path) -> None:
    """Make networks whose names, and in one of which an operator, are a stranger's."""
    import onnx

    onnx_yolo(8, folder / "plain.onnx")
    model = onnx.load(folder / "plain.onnx")
    for number, node in enumerate(model.graph.node):
        node.name = f"{number}{EVIL}"
        for names in (node.input, node.output):
            names[:] = [f"{name}{EVIL}" if name else "" for name in names]
    graph = model.graph
    for values in (graph.initializer, graph.input, graph.output, graph.value_info):
        for value in values:
            value.name += EVIL
    graph.name = model.producer_name = EVIL
    (folder / f"o{EVIL}.onnx").write_bytes(model.SerializeToString())
    graph.node[0].op_type, graph.node[0].domain = f"Op{EVIL}", f"domain{EVIL}"
    (folder / f"unknown{EVIL}.onnx").write_bytes(model.SerializeToString())
