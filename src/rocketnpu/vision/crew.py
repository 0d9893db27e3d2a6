"""Several detectors at work on one sequence of frames, results in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rocketnpu.vision.detections import Detection
from rocketnpu.vision.detector import Detector
from rocketnpu.vision.frames import Frame

AHEAD = 2
"""Frames read ahead of each detector's work, so that none waits for a decoder."""


def detect_all(crew: Sequence[Detector], frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Detection]]]:
    """Run frames through detectors of one model, each in a thread; yield frames in order with what is in them.

    Raises:
        RocketError: a frame could not be read, or a device failed; frames that have begun are waited for.
    """
    free = deque(crew)
    waiting: deque[tuple[Frame, Future[list[Detection]]]] = deque()
    with ThreadPoolExecutor(len(crew)) as threads:
        for frame in frames:
            waiting.append((frame, threads.submit(free[0].detect, frame.pixels)))
            free.rotate(-1)
            while len(waiting) > AHEAD * len(crew):
                done, result = waiting.popleft()
                yield done, result.result()
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
