"""People in a picture, and their joints: YOLOv8's and 11's pose models on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph
from rocketnpu.vision.detections import Boxes, Detection, kept
from rocketnpu.vision.heads import LARGEST_SHARE, MOST, OVERLAP
from rocketnpu.vision.letterbox import Fitting, Pixels
from rocketnpu.vision.model import VisionModel, real_values

_SIDES = ("left", "right")
_PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = ("nose", *(f"{side} {joint}" for joint in _PAIRS for side in _SIDES))
"""COCO's points of a person, in its order."""
BONES: tuple[tuple[str, str], ...] = (
    *(
        (f"{side} {one}", f"{side} {other}")
        for side in _SIDES
        for one, other in (
            ("shoulder", "elbow"),
            ("elbow", "wrist"),
            ("hip", "knee"),
            ("knee", "ankle"),
            ("shoulder", "hip"),
            ("ear", "eye"),
        )
    ),
    *((f"left {joint}", f"right {joint}") for joint in ("shoulder", "hip")),
    *(("nose", f"{side} eye") for side in _SIDES),
)
"""Points between which a line is drawn."""
VISIBLE = 0.5
"""Least score of a point that is drawn."""
_BOX, _POINT = 5, 3
"""Values of a box with its score, and of a point: column, row, score."""
_LABEL = "person"


@dataclass(frozen=True)
class Point:
    """A joint, in pixels of the picture."""

    name: str
    x: float
    y: float
    score: float
    """How likely it is seen."""


@dataclass(frozen=True)
class Pose:
    """One person."""

    whole: Detection
    points: tuple[Point, ...]


class Poser(VisionModel):
    """A context manager. Works from any thread: ``in_flight`` inferences run at once, others wait.

    Known is one output of (1, 5 + 3 * points, boxes), as YOLOv8-pose and YOLO11-pose are exported.
    """

    def __init__(self, model: Path, threshold: float = 0.4, **options: Any) -> None:
        """Read the model, and hand to the NPU what it takes.

        Args:
            model: a ``.tflite`` or ``.onnx`` file.
            threshold: the least score of a person, from 0 to 1.
            **options: those of :class:`rocketnpu.inference.Inference`, such as ``device`` and ``cores``.

        Raises:
            InputError: its output is none that is known here.
            ModelError, UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        super().__init__(model)
        self.threshold = threshold
        self.names = point_names(self.graph)
        self._start(**options)

    def find(self, pixels: Pixels) -> list[Pose]:
        """Find people in a picture, ``(rows, columns, 3)``, the most certain first.

        Raises:
            DeviceError: the device failed.
        """
        fitting = Fitting.boxed((pixels.shape[0], pixels.shape[1]), self.size)
        (output,) = self.run(fitting, pixels)
        real = real_values(output, self.graph.tensors[self.graph.outputs[0]])
        return self.poses(fitting, np.asarray(real, np.float32)[0].T)

    def poses(self, fitting: Fitting, rows: npt.NDArray[np.float32]) -> list[Pose]:
        """Read a model's rows: middle, width, height and score of a box, then points."""
        rows = rows[rows[:, _BOX - 1] >= self.threshold]
        points = rows[:, _BOX:].reshape(len(rows), len(self.names), _POINT)
        places, middles, extents = points[..., :2], rows[:, :2], rows[:, 2:4]
        if rows[:, :4].max(initial=0.0) > LARGEST_SHARE:  # pixels of the input
            size = np.array(self.size[::-1], np.float32)
            places, middles, extents = places / size, middles / size, extents / size
        edges = np.concatenate([middles - extents / 2, middles + extents / 2], axis=1)
        boxes = Boxes(edges, rows[:, _BOX - 1], np.zeros(len(rows), np.int64))
        chosen = kept(boxes, OVERLAP, MOST)
        back, there = fitting.back(edges[chosen]), fitting.points_back(places[chosen])
        return [
            self._pose(back[i], float(boxes.scores[row]), np.concatenate([there[i], points[row, :, 2:]], axis=1))
            for i, row in enumerate(chosen)
        ]

    def _pose(self, edges: npt.NDArray[np.float32], score: float, points: npt.NDArray[np.float32]) -> Pose:
        left, top, right, bottom = (round(float(edge), 1) for edge in edges)
        joints = tuple(
            Point(name, round(float(x), 1), round(float(y), 1), float(seen))
            for name, (x, y, seen) in zip(self.names, points, strict=True)
        )
        return Pose(Detection(_LABEL, 0, score, (left, top, right, bottom)), joints)


def point_names(graph: Graph) -> tuple[str, ...]:
    """Return the names of a pose model's points: COCO's where they are as many, else their numbers.

    Raises:
        InputError: the output is none that is known here; the message says what was found.
    """
    tensors = [graph.tensors[number] for number in graph.outputs]
    shape = tensors[0].shape if len(tensors) == 1 else ()
    values = shape[1] - _BOX if len(shape) == 3 and shape[0] == 1 else 0
    if values < _POINT or values % _POINT or shape[1] >= shape[2]:
        shapes = ", ".join("x".join(map(str, tensor.shape)) or "no fixed shape" for tensor in tensors)
        raise InputError(
            f"{graph.name} finds no poses in a form that is known here: its outputs have shapes {shapes}; known is "
            "1 x 5 + 3 * points x boxes, as YOLOv8-pose and YOLO11-pose have it"
        )
    count = values // _POINT
    return JOINTS if count == len(JOINTS) else tuple(f"point {number}" for number in range(count))
