"""A detector in a pool: a camera's frame in, rows of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.scores import pixels_input
from rocketnpu.serving.pool import Outputs, Pool
from rocketnpu.vision.detector import named_head
from rocketnpu.vision.letterbox import Fitting
from rocketnpu.vision.model import picture_size, real_values

_LEAST_SCORE = 0.1
"""Of a box that is told: clients choose their own threshold above it."""


class Watcher:
    """Reads and writes for one pool. Works from any thread."""

    def __init__(self, pool: Pool) -> None:
        """Look at the model.

        Raises:
            InputError: it is no detector that is known here.
        """
        self.pool = pool
        self._size = picture_size(pool.graph)
        self._head, _ = named_head(pool.graph, self._size, None)
        self._tensors = [pool.graph.tensors[number] for number in pool.graph.outputs]

    def is_called(self, name: object) -> bool:
        """Say whether a client means this model: by its name here, or by its file's."""
        if not isinstance(name, str):
            return False
        return name in (self.pool.name, self.pool.path.name) or PurePath(name).stem == self.pool.name

    def given(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return the model's input for a picture, ``(rows, columns, 3)``."""
        return [pixels_input(self._fitting(pixels).apply(pixels)[None], self.pool.graph)]

    def rows(self, pixels: npt.NDArray[np.uint8], outputs: Outputs, most: int) -> npt.NDArray[np.float32]:
        """Return ``(most, 6)``: class, score, top, left, bottom and right, the best first, and zeros behind them.

        Edges are shares of the picture, from 0 to 1.
        """
        reals: Sequence[Any] = [
            real_values(values, tensor) for values, tensor in zip(outputs, self._tensors, strict=True)
        ]
        boxes = self._head.boxes(reals, _LEAST_SCORE).sound()
        best = np.argsort(-boxes.scores, kind="stable")[:most]
        height, width = pixels.shape[:2]
        edges = self._fitting(pixels).back(boxes.edges[best]) / np.array([width, height] * 2, np.float32)
        found = np.zeros((most, 6), np.float32)
        found[: len(best), 0] = boxes.classes[best]
        found[: len(best), 1] = boxes.scores[best]
        found[: len(best), 2:] = np.clip(edges[:, [1, 0, 3, 2]], 0, 1)
        return found

    def _fitting(self, pixels: npt.NDArray[np.uint8]) -> Fitting:
        place = Fitting.boxed if self._head.keeps_proportions else Fitting.stretched
        return place((pixels.shape[0], pixels.shape[1]), self._size)
