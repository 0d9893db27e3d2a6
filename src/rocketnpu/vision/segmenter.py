"""A model of semantic segmentation on a device: pixels in, a class for each pixel out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph
from rocketnpu.labels import read_labels
from rocketnpu.vision.letterbox import Fitting, Pixels
from rocketnpu.vision.model import VisionModel

MOST_CLASSES = 256
"""Classes of a map whose values are the classes themselves, and at most of any other."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Which pixels of a picture are of which class."""

    classes: npt.NDArray[np.uint8]
    """By pixel, ``(rows, columns)``."""
    names: Sequence[str]
    """Of classes; those beyond have none."""

    def shares(self) -> dict[int, float]:
        """Return the share of the picture that each class covers, the largest first; of classes that are there."""
        counts = np.bincount(self.classes.reshape(-1), minlength=1)
        order = np.argsort(-counts, kind="stable")
        return {int(number): float(counts[number]) / self.classes.size for number in order if counts[number]}

    def name(self, number: int) -> str:
        """Return the name of a class."""
        return self.names[number] if number < len(self.names) else f"class {number}"


class Segmenter(VisionModel):
    """A context manager. Works from any thread: ``in_flight`` inferences run at once, others wait.

    Known are maps of scores, (1, rows, columns, classes) or (1, classes, rows, columns), and maps of classes,
    (1, rows, columns), with or without an axis of 1. Pictures are stretched to the model's input.
    """

    def __init__(self, model: Path, labels: Path | None = None, **options: Any) -> None:
        """Read the model and its labels, and hand to the NPU what it takes.

        Args:
            model: a ``.tflite`` or ``.onnx`` file.
            labels: names of its classes, a line each.
            **options: those of :class:`rocketnpu.inference.Inference`, such as ``device`` and ``cores``.

        Raises:
            InputError: it gives no map that is known here, or the labels do not fit.
            ModelError, UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        super().__init__(model)
        self.axis = class_axis(self.graph)
        shape = self.graph.tensors[self.graph.outputs[0]].shape
        count = None if self.axis is None else shape[self.axis]
        self.names: Sequence[str] = () if labels is None else read_labels(labels, count)
        self._start(**options)

    def segment(self, pixels: Pixels) -> Regions:
        """Say of each pixel of a picture, ``(rows, columns, 3)``, what it is.

        Raises:
            DeviceError: the device failed.
            InputError: the model gives classes that are none.
        """
        rows, columns = pixels.shape[:2]
        (output,) = self.run(Fitting.stretched((rows, columns), self.size), pixels)
        found = output if self.axis is None else output.argmax(axis=self.axis)
        if not 0 <= found.min() <= found.max() < MOST_CLASSES:
            raise InputError(f"{self.graph.name}: classes of its map are {found.min()} to {found.max()}")
        shape = [size for size in found.shape[1:] if size != 1 or found.ndim == 3]
        whole = Image.fromarray(found.reshape(shape[-2:]).astype(np.uint8))
        return Regions(np.asarray(whole.resize((columns, rows), Image.Resampling.NEAREST), np.uint8), self.names)


def class_axis(graph: Graph) -> int | None:
    """Return the axis of a map's scores; None where its values are classes.

    Raises:
        InputError: the outputs are no map that is known here; the message says what was found.
    """
    tensors = [graph.tensors[number] for number in graph.outputs]
    shape = tensors[0].shape if len(tensors) == 1 else ()
    if len(shape) in (3, 4) and shape[0] == 1 and min(shape[1:]) >= 1:
        if len(shape) == 3 or 1 in (shape[1], shape[3]):
            return None
        axis = 3 if shape[3] <= shape[1] else 1
        if shape[axis] <= MOST_CLASSES:
            return axis
    shapes = ", ".join("x".join(map(str, tensor.shape)) or "no fixed shape" for tensor in tensors)
    raise InputError(
        f"{graph.name} gives no map of classes that is known here: its outputs have shapes {shapes}; known are "
        "1 x rows x columns x classes, 1 x classes x rows x columns, and 1 x rows x columns"
    )
