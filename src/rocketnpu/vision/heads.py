"""What a detector's outputs mean: SSD with its post-process inside, YOLOv5, and YOLOv8 and 11, as they are exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph, Tensor
from rocketnpu.vision.detections import Boxes, suppress

Array = npt.NDArray[Any]
OVERLAP = 0.45
"""Beyond which boxes of one class are the same thing: what YOLO's own tools use for pictures."""
MOST = 300
"""Boxes kept of one picture, as there."""
POST_PROCESS = "TFLite_Detection_PostProcess"
SSD_CLASSES = 90
_BOX, _OBJECTNESS = 4, 1
LARGEST_SHARE = 2.0
"""A box reaching beyond this is given in pixels, not in shares of the input."""


class Head(Protocol):
    """Reads a model's outputs."""

    @property
    def classes(self) -> int:
        """How many there are."""

    @property
    def keeps_proportions(self) -> bool:
        """Whether the model was trained on pictures with borders; else they are stretched."""

    def boxes(self, outputs: Sequence[Array], threshold: float) -> Boxes:
        """Return the boxes of one picture whose scores are at least ``threshold``.

        Args:
            outputs: in the order of the graph's outputs, as real numbers.
            threshold: from 0 to 1.
        """


@dataclass(frozen=True)
class PostProcessed:
    """The four outputs of TensorFlow's post-process: boxes, classes from 0, scores, and how many count."""

    classes: int = SSD_CLASSES
    keeps_proportions: bool = False

    def boxes(self, outputs: Sequence[Array], threshold: float) -> Boxes:
        """Take them as they are: suppressed already, edges as top, left, bottom, right."""
        edges, classes, scores, count = (np.asarray(output, np.float32).reshape(-1) for output in outputs)
        room = min(edges.size // _BOX, classes.size, scores.size)
        number = int(np.clip(np.nan_to_num(count[:1].sum()), 0, room))
        found = Boxes(
            edges[: number * _BOX].reshape(-1, _BOX)[:, [1, 0, 3, 2]],
            scores[:number],
            np.nan_to_num(np.clip(classes[:number], -1, 1 << 30)).astype(np.int64),
        )
        return found.take(found.scores >= threshold)


@dataclass(frozen=True)
class Yolo:
    """One output of many rows: middle, width and height, then scores of classes, with an objectness before (YOLOv5)."""

    classes: int
    size: tuple[int, int]
    """Rows and columns of the input."""
    rows_last: bool
    """Whether rows are the last axis (YOLOv8 and 11)."""
    objectness: bool
    keeps_proportions: bool = True

    def boxes(self, outputs: Sequence[Array], threshold: float) -> Boxes:
        """Choose by score, turn middles into edges, and suppress."""
        rows = np.asarray(outputs[0], np.float32).reshape(self._shape(outputs[0]))
        rows = rows.T if self.rows_last else rows
        first = _BOX + (_OBJECTNESS if self.objectness else 0)
        chances = rows[:, first:] * (rows[:, _BOX : _BOX + 1] if self.objectness else np.float32(1))
        classes = chances.argmax(axis=1)
        scores = chances[np.arange(len(rows)), classes]
        chosen = scores >= threshold
        middle, extent = rows[chosen, :2], rows[chosen, 2:_BOX]
        edges = np.concatenate([middle - extent / 2, middle + extent / 2], axis=1)
        if rows[:, :_BOX].max(initial=0.0) > LARGEST_SHARE:
            edges = edges / np.array([self.size[1], self.size[0]] * 2, np.float32)
        return suppress(Boxes(edges, scores[chosen], classes[chosen]), OVERLAP, MOST)

    def _shape(self, output: Array) -> tuple[int, int]:
        values = self.classes + _BOX + (_OBJECTNESS if self.objectness else 0)
        return (values, output.size // values) if self.rows_last else (output.size // values, values)


def head_of(graph: Graph, size: tuple[int, int], classes: int | None = None) -> Head:
    """Recognise a detector by its outputs.

    Args:
        graph: the model.
        size: rows and columns of its input.
        classes: how many there are, where labels say so.

    Raises:
        InputError: the outputs are those of no detector that is known here; the message says what was found.
    """
    tensors = [graph.tensors[number] for number in graph.outputs]
    if any(operator.kind.endswith(POST_PROCESS) for operator in graph.operators) and len(tensors) == 4:
        return PostProcessed(classes or SSD_CLASSES)
    shapes = ", ".join("x".join(map(str, tensor.shape)) or "no fixed shape" for tensor in tensors)
    if len(tensors) != 1 or len(tensors[0].shape) != 3 or tensors[0].shape[0] != 1:
        raise InputError(
            f"{graph.name} is no detector that is known here: its outputs have shapes {shapes}; known are SSD with its "
            "post-process, YOLOv5 (1 x boxes x 5 + classes), and YOLOv8 or 11 (1 x 4 + classes x boxes)"
        )
    return _yolo(graph, tensors[0], size, classes)


def _yolo(graph: Graph, tensor: Tensor, size: tuple[int, int], classes: int | None) -> Yolo:
    """Tell YOLOv5 from its successors: values of a box are fewer than boxes, and lie along another axis."""
    _, first, last = tensor.shape
    rows_last = first < last
    values = min(first, last)
    found = values - _BOX - (0 if rows_last else _OBJECTNESS)
    if found < 1 or (classes is not None and classes != found):
        wanted = "" if classes is None else f", the labels {classes}"
        raise InputError(f"{graph.name}: its output of {first}x{last} has {found} classes{wanted}")
    return Yolo(found, size, rows_last, objectness=not rows_last)
