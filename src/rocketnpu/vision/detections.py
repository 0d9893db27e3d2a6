"""Boxes, and the suppression of those that say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Detection:
    """One thing in a picture."""

    label: str
    number: int
    """Of its class, as the model counts."""
    score: float
    box: tuple[float, float, float, float]
    """Left, top, right, bottom, in pixels of the picture."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a model says, before names and pixels: arrays of one length.

    ``edges`` are left, top, right and bottom as shares of the model's input, ``(N, 4)``.
    """

    edges: Floats
    scores: Floats
    classes: Integers

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: npt.NDArray[np.generic]) -> Boxes:
        """Return some of them, by index or by truth."""
        return Boxes(self.edges[chosen], self.scores[chosen], self.classes[chosen])

    def sound(self) -> Boxes:
        """Return those that are numbers, the smaller edge first: a model may give anything."""
        low, high = np.minimum(self.edges[:, :2], self.edges[:, 2:]), np.maximum(self.edges[:, :2], self.edges[:, 2:])
        ordered = Boxes(np.concatenate([low, high], axis=1), self.scores, self.classes)
        return ordered.take(np.isfinite(ordered.edges).all(axis=1) & np.isfinite(self.scores))


def overlaps(one: Floats, others: Floats) -> Floats:
    """Return the area that a box shares with each of others, over the area that both cover together."""
    low = np.maximum(one[:2], others[:, :2])
    high = np.minimum(one[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    both = np.prod(np.clip(one[2:] - one[:2], 0, None)) + areas - shared
    found: Floats = np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
    return found


def suppress(boxes: Boxes, limit: float, most: int) -> Boxes:
    """Keep the best box of each class wherever boxes of that class overlap by more than ``limit``; ``most`` in all.

    Boxes come back with falling scores; of equal scores the first comes first.
    """
    return boxes.take(kept(boxes, limit, most))


def kept(boxes: Boxes, limit: float, most: int) -> Integers:
    """Return the indices of the boxes that :func:`suppress` keeps, in its order."""
    order = np.argsort(-boxes.scores, kind="stable")
    found: list[int] = []
    while len(order) and len(found) < most:
        best, rest = int(order[0]), order[1:]
        found.append(best)
        same = boxes.classes[rest] == boxes.classes[best]
        order = rest[~(same & (overlaps(boxes.edges[best], boxes.edges[rest]) > limit))]
    return np.array(found, np.int64)
