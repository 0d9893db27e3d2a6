"""A labelled folder, and an annotation file, of pictures that nobody would recognise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from picture_models import classifier, detector

CLASSES = ("ant", "bee", "Great Auk", "crane", "crane", "eel", "fox", "gnu", "hen", "ibis")


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, and the names of the classifier's classes."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "classifier.tflite").write_bytes(classifier())
    (folder / "detector.tflite").write_bytes(detector())
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.fixture(scope="session")
def labelled(room: Path) -> Path:
    """Eighty pictures in four folders, two that are none, and a file that is nothing."""
    random = np.random.default_rng(17)
    folder = room / "labelled"
    for name in ("bee", "great_auk", "4", "ant"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            paint(folder / name / f"{number:02d}.png", random, 16)
    (folder / "bee" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "ant" / "empty.png").write_bytes(b"")
    (folder / "ant" / "notes.txt").write_text("no picture, and not meant to be")
    return folder


@pytest.fixture(scope="session")
def annotated(room: Path) -> Path:
    """Twelve pictures and no annotations yet: a document to be completed."""
    random = np.random.default_rng(23)
    folder = room / "annotated"
    folder.mkdir()
    for number in range(12):
        paint(folder / f"{number}.png", random, 32)
    document = {
        "images": [{"id": 100 + number, "file_name": f"{number}.png"} for number in range(12)],
        "categories": [{"id": 7, "name": "class 0"}, {"id": 9, "name": "class 1"}, {"id": 11, "name": "unicorn"}],
        "annotations": [],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


def paint(path: Path, random: np.random.Generator, side: int) -> None:
    Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(path)
