"""A picture brought to a model's input size, and boxes brought back to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
GREY = 114
"""What borders are filled with where YOLO models are trained."""


@dataclass(frozen=True)
class Fitting:
    """How a picture lies in an input. Pairs are rows, columns, in pixels."""

    picture: tuple[int, int]
    size: tuple[int, int]
    """Of the whole input."""
    scaled: tuple[int, int]
    """Of the picture inside it."""
    first: tuple[int, int]
    """Row and column of its first pixel."""

    @classmethod
    def stretched(cls, picture: tuple[int, int], size: tuple[int, int]) -> Fitting:
        """Fill the whole input, whatever becomes of the proportions."""
        return cls(picture, size, size, (0, 0))

    @classmethod
    def boxed(cls, picture: tuple[int, int], size: tuple[int, int]) -> Fitting:
        """Keep the proportions, in the middle of the input, with borders."""
        scale = min(size[0] / picture[0], size[1] / picture[1])
        scaled = (max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale)))
        return cls(picture, size, scaled, ((size[0] - scaled[0]) // 2, (size[1] - scaled[1]) // 2))

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the input, ``(rows, columns, channels)``, of a picture of this fitting's size."""
        height, width = self.scaled
        resized = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
        if self.scaled == self.size:
            return resized
        whole = np.full((*self.size, pixels.shape[2]), GREY, np.uint8)
        top, left = self.first
        whole[top : top + height, left : left + width] = resized
        return whole

    def back(self, edges: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn edges, shares of the input (left, top, right, bottom), into pixels of the picture, cut at its border."""
        corners = self.points_back(edges.reshape(-1, 2, 2))
        cut: npt.NDArray[np.float32] = np.clip(corners, 0, np.array(self.picture[::-1], np.float32))
        return cut.reshape(-1, 4)

    def points_back(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn points, shares of the input (column, row) in the last axis, into pixels of the picture."""
        inside = points * np.array(self.size[::-1], np.float32) - np.array(self.first[::-1], np.float32)
        ratio = np.array(self.picture[::-1], np.float64) / np.array(self.scaled[::-1], np.float64)
        found: npt.NDArray[np.float32] = inside * ratio.astype(np.float32)
        return found
