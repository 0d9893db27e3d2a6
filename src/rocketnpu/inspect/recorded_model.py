"""The model that a recording was made of, if it lies beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rocketnpu.errors import ModelError
from rocketnpu.files.limits import MODEL_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.graph import Graph
from rocketnpu.model import tflite


def recorded_model(path: Path, model: str, sha256: str) -> Graph | None:
    """Return the recorded model: the file of the recording's own name, or of the model's, whose checksum fits.

    It is looked for beside the recording, and in a folder ``models`` beside the recording's folder.

    Raises:
        ModelError: it is damaged.
    """
    names = (f"{path.stem}.tflite", Path(model).name)
    folders = (path.parent, path.resolve().parent.parent / "models")
    for place in (folder / name for folder in folders for name in names if name):
        if place.is_file():
            data = read_file(place, MODEL_BYTES, "model", ModelError)
            if hashlib.sha256(data).hexdigest() == sha256:
                return tflite.parse(data, place.name)
    return None
