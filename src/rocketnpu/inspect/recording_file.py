"""The files of a recording, whatever a driver's jobs look like: read with limits, every value checked.

A recording is a zip file or a directory with ``recording.json``, the buffers' contents when they were submitted,
``inputK.bin`` (the model's input, raw) and, where known, ``reference.npz`` (array ``tI`` is tensor I of the model as
the reference kernels compute it). What a submission holds depends on the format that ``recording.json`` names.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.files.limits import RECORDING_BYTES, RECORDING_FILES
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.graph import DType

MAX_BYTES = 1 << 30
"""Bytes of one buffer."""
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
)
_NO_ARRAYS = (*_UNREADABLE, MemoryError, OverflowError, TypeError, KeyError, SyntaxError)
_DTYPES = {kind.value for kind in DType} - {DType.OTHER.value}
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class RecordedBuffer:
    """Memory that the device could reach."""

    handle: int
    address: int
    size: int
    role: str
    data: bytes = field(repr=False)
    """Contents at submission; shorter than ``size`` where the rest is zero, empty for an output."""

    @property
    def end(self) -> int:
        """Address behind it."""
        return self.address + self.size

    def content(self) -> npt.NDArray[np.uint8]:
        """Return a fresh, writable copy of all ``size`` bytes."""
        array = np.zeros(self.size, np.uint8)
        array[: len(self.data)] = np.frombuffer(self.data, np.uint8)
        return array


@dataclass(frozen=True, slots=True)
class RecordedTensor:
    """An input or output of the recorded model."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


def read_recording(path: Path | str, take: Callable[[RecordingFile], Found]) -> Found:
    """Open a zip file or a directory and let ``take`` read it.

    Raises:
        InputError: it cannot be read, or contradicts itself.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return take(RecordingFile(place, _folder_reader(place)))
        with zipfile.ZipFile(BytesIO(read_file(place, RECORDING_BYTES, "recording", InputError))) as archive:
            return take(RecordingFile(place, _archive_reader(place, archive)))
    except _UNREADABLE as error:
        raise InputError(f"{place}: cannot be read as a recording: {error or type(error).__name__}") from error


def _folder_reader(place: Path) -> Callable[[str], bytes | None]:
    left = RECORDING_BYTES

    def read(name: str) -> bytes | None:
        nonlocal left
        if not (place / name).exists():
            return None
        data = read_file(place / name, left, "recording's file", InputError)
        left -= len(data)
        return data

    return read


def _archive_reader(place: Path, archive: zipfile.ZipFile) -> Callable[[str], bytes | None]:
    """Read members by name; a name that many buffers give counts each time."""
    sizes = {item.filename: item.file_size for item in archive.infolist()}
    left = RECORDING_BYTES
    if len(archive.infolist()) > RECORDING_FILES:
        raise InputError(f"{place}: it holds more than {RECORDING_FILES} files")

    def read(name: str) -> bytes | None:
        nonlocal left
        if name not in sizes:
            return None
        left -= sizes[name]
        if left < 0:
            raise InputError(f"{place}: with {name} it unpacks to more than the {RECORDING_BYTES} bytes that are read")
        return archive.read(name)

    return read


class RecordingFile:
    """The files of one recording. Every method raises InputError, naming the file, for what it cannot take."""

    def __init__(self, place: Path, read: Callable[[str], bytes | None]) -> None:
        self._place, self.read = place, read

    def fail(self, message: str) -> NoReturn:
        """Refuse the recording.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self._place}: {message}")

    def document(self, formats: Sequence[int]) -> dict[str, Any]:
        """Return what ``recording.json`` holds, if its format is one of these."""
        raw = self.read("recording.json")
        if raw is None:
            self.fail("there is no recording.json in it")
        try:
            root = parse_json(raw)
        except ValueError as error:
            self.fail(f"recording.json: {error}")
        found = root.get("format") if isinstance(root, dict) else root
        if not isinstance(root, dict) or isinstance(found, bool) or found not in formats:
            known = " and ".join(map(str, formats))
            self.fail(f"recording.json: format {found!r:.60}; what is read here is format {known}")
        return root

    def facts(self, name: str) -> dict[str, Any]:
        """Return what a JSON file holds; nothing where there is no such file."""
        raw = self.read(name)
        try:
            part = parse_json(raw) if raw is not None else {}
        except ValueError as error:
            self.fail(f"{name}: {error}")
        if not isinstance(part, dict):
            self.fail(f"{name}: it holds no facts by name")
        return part

    def buffer(self, item: Any, address_key: str, role: str) -> RecordedBuffer:
        """Read one buffer."""
        handle, address, size = (self.number(item, key) for key in ("handle", address_key, "size"))
        if not size or size > MAX_BYTES or address + size > 1 << 32:
            self.fail(f"buffer {handle}: {size} bytes at 0x{address:x} are no part of a 32-bit address space")
        name = item.get("file")
        data = self.required(name) if name is not None else b""
        if len(data) > size:
            self.fail(f"{name} holds {len(data)} bytes for a buffer of {size}")
        return RecordedBuffer(handle, address, size, role, data)

    def check_places(self, buffers: Sequence[RecordedBuffer]) -> None:
        """See that handles are unique and no two buffers of a submission overlap."""
        if len({buffer.handle for buffer in buffers}) != len(buffers):
            self.fail("two buffers of a submission have the same handle")
        end = 0
        for buffer in sorted(buffers, key=lambda item: item.address):
            if buffer.address < end:
                self.fail(f"buffer {buffer.handle} at 0x{buffer.address:x} overlaps the one before it")
            end = buffer.end

    def tensor(self, item: Any) -> RecordedTensor:
        """Read what is said of an input or output."""
        scale, zero_point, *_ = [*self.list(item, "quantization", optional=True), 0.0, 0]
        shape = self.list(item, "shape")
        if not all(type(size) is int and size >= 0 for size in shape) or not isinstance(scale, int | float):
            self.fail(f"tensor {item.get('name')!r} has shape {shape!r} and scale {scale!r}")
        if type(zero_point) is not int:
            self.fail(f"tensor {item.get('name')!r} has zero point {zero_point!r}")
        dtype = self.text(item, "dtype")
        if dtype not in _DTYPES:
            self.fail(f"tensor {item.get('name')!r} has the element type {dtype!r:.40}")
        return RecordedTensor(
            self.number(item, "index"), self.text(item, "name"), tuple(shape), dtype, float(scale), zero_point
        )

    def reference(self) -> dict[int, npt.NDArray[Any]]:
        """Return the reference's tensors by index; none where the recording has none."""
        raw = self.read("reference.npz")
        if raw is None:
            return {}
        try:
            with zipfile.ZipFile(BytesIO(raw)) as archive:
                total = sum(item.file_size for item in archive.infolist())
            if total > RECORDING_BYTES:
                self.fail(f"reference.npz: it unpacks to {total} bytes, more than the {RECORDING_BYTES} that are read")
            with np.load(BytesIO(raw), allow_pickle=False) as arrays:
                return {int(name.removeprefix("t")): arrays[name] for name in arrays.files}
        except _NO_ARRAYS as error:
            self.fail(f"reference.npz: {error or type(error).__name__}")

    def required(self, name: Any) -> bytes:
        """Return a file's contents."""
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
            self.fail(f"{name!r} is no name of a file inside the recording")
        data = self.read(name)
        if data is None:
            self.fail(f"file {name} is missing")
        return data

    def list(self, item: Any, key: str, *, optional: bool = False) -> list[Any]:
        """Return a list."""
        value = item.get(key) if isinstance(item, dict) else None
        if value is None and optional and isinstance(item, dict):
            return []
        if not isinstance(value, list):
            self.fail(f"recording.json: {key!r} should be a list, is {value!r:.60}")
        return value

    def indices(self, item: Any, key: str) -> tuple[int, ...]:
        """Return a list of non-negative numbers."""
        values = self.list(item, key)
        if not all(type(value) is int and value >= 0 for value in values):
            self.fail(f"recording.json: {key!r} should hold indices, holds {values!r:.60}")
        return tuple(values)

    def number(self, item: Any, key: str) -> int:
        """Return a non-negative number."""
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
            self.fail(f"recording.json: {key!r} should be a non-negative number, is {value!r:.60}")
        return value

    def text(self, item: Any, key: str) -> str:
        """Return a text."""
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, str):
            self.fail(f"recording.json: {key!r} should be a text, is {value!r:.60}")
        return value
