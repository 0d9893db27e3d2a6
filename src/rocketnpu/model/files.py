"""Read a model file of any format that is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.model import tflite

SUFFIX = ".onnx"
_LENGTH = 8


def is_onnx(path: Path) -> bool:
    """Say whether a file is to be read as ONNX: by its name, unless it says itself that it is TFLite."""
    if path.suffix.lower() != SUFFIX:
        return False
    try:
        with path.open("rb") as file:
            return file.read(_LENGTH)[4:] != tflite.IDENTIFIER
    except OSError:
        return True


def read(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Read a model file; ``shapes`` are those of inputs, by name, that an ONNX file leaves open.

    Raises:
        ModelError: the file is missing, damaged, or no model.
        UnsupportedError: a package that its format needs is not installed, or shapes are given for a TFLite file.
    """
    if is_onnx(path):
        from rocketnpu.model import onnx

        return onnx.load(path, shapes).graph
    if shapes:
        raise UnsupportedError(
            f"{path.name}: the shapes of a TFLite file's inputs stand in it, only ONNX leaves them open"
        )
    return tflite.load(path)
