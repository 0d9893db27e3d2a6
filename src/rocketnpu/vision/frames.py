"""Pictures one after another: from a file, a folder or a video; and the way back into one.

Videos are read and written by PyAV, an optional package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from rocketnpu.closing import Closing
from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.pictures import read_pixels
from rocketnpu.vision.letterbox import Pixels

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of files in a folder that are taken for pictures."""
_CODEC, _PIXELS = "mpeg4", "yuv420p"
"""What every player and every build of FFmpeg has."""
_RATE = Fraction(25)
"""Frames a second of videos that do not say."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture."""

    name: str
    """A picture's file, or ``frame N`` of a video."""
    source: Pixels | Path
    """A decoded frame, or a file that is read when it is wanted."""
    seconds: float | None = None
    """From the start of the video."""

    def read(self) -> Pixels:
        """Return RGB, ``(rows, columns, 3)``.

        Raises:
            InputError: the file cannot be read.
        """
        return read_pixels(self.source) if isinstance(self.source, Path) else self.source


class Frames(Protocol):
    """A source of frames; iterated once."""

    rate: Fraction | None
    """Frames a second of a video."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order.

        Raises:
            InputError: one cannot be read.
        """

    def count(self) -> int:
        """Return how many there will be, 0 where that is not known."""


class PictureFiles:
    """Picture files, in the order of their names."""

    rate: Fraction | None = None

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[Frame]:
        """Name each; who works on it reads it."""
        return (Frame(path.name, path) for path in self._paths)

    def count(self) -> int:
        """Return how many files there are."""
        return len(self._paths)


class VideoFile(Closing):
    """A video. A context manager."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            UnsupportedError: PyAV is not installed.
            InputError: it is no video, or it has no pictures.
        """
        av = require_av()
        self._path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, OSError, IndexError, ValueError) as error:
            raise InputError(f"{path} is neither a picture nor a video that can be read: {error}") from None
        self._errors = (av.FFmpegError, OSError, ValueError)
        self.rate: Fraction | None = self._stream.average_rate or _RATE

    def __iter__(self) -> Iterator[Frame]:
        """Decode one frame after another."""
        try:
            for number, frame in enumerate(self._container.decode(self._stream)):
                seconds = None if frame.time is None else float(frame.time)
                yield Frame(f"frame {number}", np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), seconds)
        except self._errors as error:
            raise InputError(f"video {self._path} cannot be decoded further: {error}") from None

    def count(self) -> int:
        """Return what the file says of its length."""
        return int(self._stream.frames or 0)

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._container.close()


class VideoWriter(Closing):
    """A video that is written frame by frame; all frames have the first one's size."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Open the file; its ending says what kind of container it is.

        Raises:
            UnsupportedError: PyAV is not installed.
            InputError: the file cannot be written, or its ending is not that of a video.
        """
        av = require_av()
        self._path, self._av = path, av
        self._stream: Any = None
        try:
            self._container = av.open(str(path), "w")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"cannot write a video to {path}: {error}") from None
        self._rate = rate

    def write(self, pixels: Pixels) -> None:
        """Add a frame.

        Raises:
            InputError: it cannot be written.
        """
        try:
            if self._stream is None:
                self._stream = self._start(pixels)
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"cannot write a video to {self._path}: {error}") from None

    def _start(self, pixels: Pixels) -> Any:
        stream = self._container.add_stream(_CODEC, rate=self._rate)
        # The format keeps colours for two by two pixels: a last odd row or column is scaled away.
        stream.height, stream.width = (size // 2 * 2 for size in pixels.shape[:2])
        stream.pix_fmt = _PIXELS
        stream.bit_rate = max(1_000_000, stream.height * stream.width * 4)
        return stream

    def close(self) -> None:
        """Write what the encoder still holds, and close the file. Closing twice is allowed."""
        if self._stream is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._stream = None
        self._container.close()


class Opened:
    """The frames of a path, closed with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self.frames: Frames

    def __enter__(self) -> Self:
        """Open a picture, a folder of pictures, or a video.

        Raises:
            InputError: there is no such file, or nothing in it that can be read.
            UnsupportedError: it is a video, and PyAV is not installed.
        """
        if self._path.is_dir():
            found = sorted(file for file in self._path.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
            if not found:
                raise InputError(f"{self._path} has no pictures: files that end in {', '.join(sorted(PICTURES))}")
            self.frames = PictureFiles(found)
        elif self._path.suffix.lower() in PICTURES or not self._path.exists():
            self.frames = PictureFiles([self._path])
        else:
            self.frames = self._stack.enter_context(VideoFile(self._path))
        return self

    def __exit__(self, *_error: object) -> None:
        """Close what is open."""
        self._stack.close()


def encode_picture(path: Path, pixels: Pixels) -> bytes:
    """Return the bytes of a picture file; the path's ending says the format.

    Raises:
        InputError: the ending is none that Pillow writes.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise InputError(f"cannot write a picture to {path}: its ending is none of a picture, such as .png or .jpg")
    data = BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


def require_av() -> Any:
    """Return PyAV.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise UnsupportedError("videos need the package PyAV: pip install rocketnpu[video]") from None
    return av
