"""A detection model on a device: pixels in, detections out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import Graph
from rocketnpu.labels import read_labels
from rocketnpu.vision.coco import names_for
from rocketnpu.vision.detections import Detection
from rocketnpu.vision.heads import Head, head_of
from rocketnpu.vision.letterbox import Fitting, Pixels
from rocketnpu.vision.model import VisionModel, real_values


class Detector(VisionModel):
    """A context manager. Works from any thread: ``in_flight`` inferences run at once, others wait."""

    def __init__(self, model: Path, labels: Path | None = None, threshold: float = 0.4, **options: Any) -> None:
        """Read the model and its labels, and hand to the NPU what it takes.

        Args:
            model: a ``.tflite`` or ``.onnx`` file.
            labels: names of its classes, a line each; COCO's where not given and the number of classes fits.
            threshold: the least score of a detection, from 0 to 1.
            **options: those of :class:`rocketnpu.inference.Inference`, such as ``device`` and ``cores``.

        Raises:
            InputError: it is no detector that is known here, or the labels do not fit.
            ModelError, UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        super().__init__(model)
        self.threshold = threshold
        self.head, self.names = named_head(self.graph, self.size, labels)
        self._start(**options)

    def detect(self, pixels: Pixels) -> list[Detection]:
        """Find what is in a picture, ``(rows, columns, 3)``, the most certain first.

        Raises:
            DeviceError: the device failed.
        """
        fitting = self.fitting(pixels)
        return self.detections(fitting, self.run(fitting, pixels))

    def fitting(self, pixels: Pixels) -> Fitting:
        """Return how a picture lies in the model's input."""
        place = Fitting.boxed if self.head.keeps_proportions else Fitting.stretched
        return place((pixels.shape[0], pixels.shape[1]), self.size)

    def detections(self, fitting: Fitting, outputs: Sequence[npt.NDArray[Any]]) -> list[Detection]:
        """Read a model's outputs for a picture that lay in its input so."""
        tensors = [self.graph.tensors[number] for number in self.graph.outputs]
        reals = [real_values(values, tensor) for values, tensor in zip(outputs, tensors, strict=True)]
        found = self.head.boxes(reals, self.threshold).sound()
        edges = fitting.back(found.edges)
        order = np.argsort(-found.scores, kind="stable")
        return [self._named(edges[i], float(found.scores[i]), int(found.classes[i])) for i in order]

    def _named(self, edges: npt.NDArray[np.float32], score: float, number: int) -> Detection:
        label = self.names[number] if 0 <= number < len(self.names) else f"class {number}"
        left, top, right, bottom = (round(float(edge), 1) for edge in edges)
        return Detection(label, number, score, (left, top, right, bottom))


def named_head(graph: Graph, size: tuple[int, int], labels: Path | None) -> tuple[Head, tuple[str, ...]]:
    """Return a model's head and the names of its classes.

    Raises:
        InputError: it is no detector that is known here, or the labels do not fit.
    """
    head = head_of(graph, size)
    if labels is not None:
        return head, read_labels(labels, head.classes)
    return head, names_for(head.classes) or tuple(f"class {number}" for number in range(head.classes))
