"""Pictures one after another: from a file, a folder or a video; and the way back into one.

Videos are read and written by PyAV, an optional package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from PIL import Image

from rocketnpu.closing import Closing
from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.files.limits import VIDEO_FORMATS, VIDEO_PIXELS
from rocketnpu.files.reading import open_file
from rocketnpu.files.writing import replacing
from rocketnpu.pictures import read_pixels
from rocketnpu.vision.letterbox import Pixels

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of files in a folder that are taken for pictures."""
_CODEC, _PIXELS = "mpeg4", "yuv420p"
"""What every player and every build of FFmpeg has."""
_RATE = Fraction(25)
"""Frames a second of videos that do not say."""
_LIMITS = {"max_pixels": str(VIDEO_PIXELS)}
_READING: dict[str, Any] = {
    "options": _LIMITS,
    "container_options": {"format_whitelist": ",".join(VIDEO_FORMATS)},
}


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
        self._errors = (av.FFmpegError, OSError, ValueError)
        with ExitStack() as opened:
            # A file, not its name: names may be addresses, and what a file names would be opened as well.
            file = opened.enter_context(open_file(path, "video", InputError))
            try:
                self._container = opened.enter_context(av.open(file, **_READING))
                self._stream = self._container.streams.video[0]
            except av.ArgumentError:  # what FFmpeg says of a format that is not among those allowed
                raise InputError(f"{path} is neither a picture nor a video of a known format") from None
            except (*self._errors, IndexError) as error:
                raise InputError(f"{path} is neither a picture nor a video that can be read: {_said(error)}") from None
            decoder = self._stream.codec_context
            if decoder is None:
                raise InputError(f"video {path} has pictures that FFmpeg cannot decode")
            self._check_size(decoder)
            decoder.options = _LIMITS  # those above hold while its kind is found out
            self._opened = opened.pop_all()
        rate = self._stream.average_rate
        self.rate: Fraction | None = rate if rate and rate > 0 else _RATE

    def __iter__(self) -> Iterator[Frame]:
        """Decode one frame after another."""
        try:
            for number, frame in enumerate(self._container.decode(self._stream)):
                self._check_size(frame)
                seconds = None if frame.time is None else float(frame.time)
                yield Frame(f"frame {number}", np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), seconds)
        except self._errors as error:
            limit = f", or a frame of more than {VIDEO_PIXELS} pixels" if isinstance(error, ValueError) else ""
            raise InputError(f"video {self._path} cannot be decoded further: {_said(error)}{limit}") from None

    def _check_size(self, found: Any) -> None:
        if found.width * found.height > VIDEO_PIXELS:
            raise InputError(f"video {self._path} is too large: its frames have {found.width} x {found.height} pixels")

    def count(self) -> int:
        """Return what the file says of its length."""
        return max(0, int(self._stream.frames or 0))

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._opened.close()


class _Named:
    """A file that PyAV writes to, under the name that says which kind it is to be."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.name = str(path)
        self.write, self.seek, self.tell, self.seekable = file.write, file.seek, file.tell, file.seekable


class VideoWriter(Closing):
    """A video that is written frame by frame; all frames have the first one's size.

    Only where its block ends without an error does the file take its place: see
    :func:`~rocketnpu.files.writing.replacing`.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Open the file; its ending says what kind of container it is.

        Raises:
            UnsupportedError: PyAV is not installed.
            InputError: the file cannot be written, or its ending is not that of a video.
        """
        av = require_av()
        self._path, self._av, self._rate = path, av, rate
        self._stream: Any = None
        with ExitStack() as opened:
            file = opened.enter_context(replacing(path, "video", InputError))
            with self._told():
                self._container = av.open(_Named(file, path), "w")
            self._opened = opened.pop_all()

    def write(self, pixels: Pixels) -> None:
        """Add a frame.

        Raises:
            InputError: it cannot be written.
        """
        with self._told():
            if self._stream is None:
                self._stream = self._start(pixels)
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    def _start(self, pixels: Pixels) -> Any:
        stream = self._container.add_stream(_CODEC, rate=self._rate)
        # The format keeps colours for two by two pixels: a last odd row or column is scaled away.
        stream.height, stream.width = (size // 2 * 2 for size in pixels.shape[:2])
        stream.pix_fmt = _PIXELS
        stream.bit_rate = max(1_000_000, stream.height * stream.width * 4)
        return stream

    def close(self) -> None:
        """Write what the encoder still holds, and put the file in its place. Closing twice is allowed.

        Raises:
            InputError: it cannot be written.
        """
        with self._opened as opened:
            with self._told():
                if self._stream is not None:
                    for packet in self._stream.encode():
                        self._container.mux(packet)
                    self._stream = None
                self._container.close()
            opened.pop_all().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, or after an error leave nothing of it."""
        if error is None:
            self.close()
            return
        with suppress(InputError), self._told():
            self._container.close()
        self._opened.__exit__(kind, error, trace)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"cannot write a video to {self._path}: {_said(error)}") from None


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


def _said(error: Exception) -> str:
    """Return an error's reason without the file's name, which its message repeats."""
    return getattr(error, "strerror", None) or str(error)


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
