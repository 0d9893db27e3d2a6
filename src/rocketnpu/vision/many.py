"""A detector at work on many frames: several at a time, what is found in the order of the frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from rocketnpu.pipeline import Pipeline
from rocketnpu.vision.frames import Frame
from rocketnpu.vision.letterbox import Pixels

AHEAD = 2
"""Frames taken beyond those that are worked on: each of a film in 4K has 25 MB."""
Found = TypeVar("Found")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Seen(Generic[Found, Made]):
    """A frame, what a model found in it, and what was made of both."""

    frame: Frame
    found: Found
    made: Made


def see_all(
    look: Callable[[Pixels], Found],
    frames: Iterable[Frame],
    make: Callable[[Frame, Pixels, Found], Made],
    in_flight: int,
) -> Iterator[tuple[Frame, Future[Seen[Found, Made]]]]:
    """Read frames, look at each, and make something of it, all in threads; yield them in order.

    Args:
        look: what a model says of a picture; called from several threads at once.
        frames: taken as room becomes free. Where a source fails, the frames before it come first.
        make: what is done with a frame in its thread, such as drawing.
        in_flight: inferences at a time; beside them each processor reads or makes something.

    Raises:
        RocketError: the source failed. What a frame fails by is in its future.
    """

    def work(frame: Frame) -> Seen[Found, Made]:
        pixels = frame.read()
        found = look(pixels)
        return Seen(frame, found, make(frame, pixels, found))

    taken: list[Frame] = []

    def noted() -> Iterator[Frame]:
        for frame in frames:
            taken.append(frame)
            yield frame

    with Pipeline(work, in_flight + (os.cpu_count() or 1), AHEAD) as pipeline:
        for future in pipeline.outcomes(noted()):
            yield taken.pop(0), future
