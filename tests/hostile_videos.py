"""Videos that somebody damaged: bytes, numbers, whole pieces."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np

from rocketnpu.errors import InputError
from rocketnpu.vision.frames import Opened, VideoWriter

ENDINGS = ("mp4", "mkv", "avi", "ts", "mov")
_NUMBERS = (b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0")


def write(path: Path, frames: int = 3) -> bytes:
    """Write a sound video, and return its bytes."""
    with VideoWriter(path, Fraction(10)) as video:
        for number in range(frames):
            video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    return path.read_bytes()


def mutated(seed: int, sound: bytes) -> bytes:
    """Return the damaged video of a seed."""
    choose, data = random.Random(seed), bytearray(sound)
    for _ in range(choose.choice((1, 1, 2, 5, 30))):
        place = choose.randrange(len(data))
        kind = choose.randrange(4)
        if kind == 0:
            data[place] = choose.randrange(256)
        elif kind == 1:
            data[place : place + 4] = choose.choice(_NUMBERS)
        elif kind == 2:
            del data[place : place + choose.choice((1, 3, 8, len(data)))]
        else:
            data[place:place] = data[choose.randrange(len(data)) :][: choose.randrange(1, 200)]
        data = data or bytearray(1)
    return bytes(data)


def outcome(path: Path) -> str:
    """Read a video to its end: "refused", or "seen"."""
    try:
        with Opened(path) as opened:
            assert opened.frames.count() >= 0
            assert opened.frames.rate is not None
            assert opened.frames.rate > 0
            assert all(frame.read().ndim == 3 for frame in opened.frames)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return "refused"
    return "seen"
