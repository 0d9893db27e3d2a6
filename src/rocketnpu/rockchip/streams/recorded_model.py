"""The model that a recording was made of, if it lies beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.rockchip.streams.recording import Recording


def recorded_model(path: Path, recording: Recording) -> Graph | None:
    """Return the recorded model: the file of the recording's own name, or of the model's, whose checksum fits.

    Raises:
        ModelError: it is damaged.
    """
    for name in (f"{path.stem}.tflite", Path(recording.model).name):
        place = path.parent / name
        if name and place.is_file():
            data = place.read_bytes()
            if hashlib.sha256(data).hexdigest() == recording.model_sha256:
                return tflite.parse(data, place.name)
    return None
