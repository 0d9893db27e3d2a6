"""Recordings: what a program handed to an NPU driver, frozen with all buffers so that it can be replayed.

A recording is a zip file or a directory with ``recording.json`` (producer, model, submissions; a submission holds
buffers and jobs), the buffers' contents when they were submitted (``submitN/boHHHH.bin``; a buffer without a file is
all zero), ``inputK.bin`` (the model's input, raw) and, where known, ``reference.npz`` (array ``tI`` is tensor I of
the model as the reference kernels compute it). A failure bundle of this package's runtime is a recording with
``failure.json`` and ``failing_task.json`` beside.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError

FORMAT = 1
MAX_BYTES = 1 << 30
"""A file of a recording larger than this is refused: it would be a decompression bomb, not a buffer."""


@dataclass(frozen=True, slots=True)
class RecordedBuffer:
    """Memory that the device could reach."""

    handle: int
    address: int
    size: int
    role: str
    data: bytes = field(repr=False)
    """Contents at submission; shorter than ``size`` where the rest is zero, empty for an output."""

    def content(self) -> npt.NDArray[np.uint8]:
        """Return a fresh, writable copy of all ``size`` bytes."""
        array = np.zeros(self.size, np.uint8)
        array[: len(self.data)] = np.frombuffer(self.data, np.uint8)
        return array


@dataclass(frozen=True, slots=True)
class RecordedTask:
    """One command list."""

    address: int
    words: int


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """Command lists that ran one after another, and handles of the buffers they read and write."""

    tasks: tuple[RecordedTask, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordedOperation:
    """An operation of the model as the producer split it: which jobs run it, which tensors it reads and makes."""

    kind: str
    jobs: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """One hand-over to the driver."""

    buffers: tuple[RecordedBuffer, ...]
    jobs: tuple[RecordedJob, ...]
    operations: tuple[RecordedOperation, ...]
    """Empty if the producer did not say."""


@dataclass(frozen=True, slots=True)
class RecordedTensor:
    """An input or output of the recorded model."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording."""

    producer: str
    model: str
    model_sha256: str
    submissions: tuple[Submission, ...]
    inputs: tuple[RecordedTensor, ...]
    outputs: tuple[RecordedTensor, ...]
    input_data: tuple[bytes, ...] = field(repr=False)
    reference: Mapping[int, npt.NDArray[Any]] = field(repr=False)
    """Tensors by index; empty if the recording has none."""
    failure: Mapping[str, Any] = field(default_factory=dict)
    """Of a failure bundle: what the device that failed was, and which job, task and operator."""

    def operations(self, submission: Submission) -> tuple[RecordedOperation, ...]:
        """Return a submission's operations; if the producer did not say, the whole model is one."""
        if submission.operations:
            return submission.operations
        ends = (tuple(tensor.index for tensor in side) for side in (self.inputs, self.outputs))
        return (RecordedOperation("model", tuple(range(len(submission.jobs))), *ends),)


def load(path: Path | str) -> Recording:
    """Read a recording from a zip file or a directory.

    Raises:
        InputError: it cannot be read, or contradicts itself.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return _Reader(
                place, lambda name: (place / name).read_bytes() if (place / name).is_file() else None
            ).recording()
        with zipfile.ZipFile(place) as archive:
            return _Reader(place, _archive_reader(place, archive)).recording()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{place}: cannot be read as a recording: {error}") from error


def _archive_reader(place: Path, archive: zipfile.ZipFile) -> Callable[[str], bytes | None]:
    sizes = {item.filename: item.file_size for item in archive.infolist()}

    def read(name: str) -> bytes | None:
        if name not in sizes:
            return None
        if sizes[name] > MAX_BYTES:
            raise InputError(f"{place}: {name} claims {sizes[name]} bytes; at most {MAX_BYTES} are read")
        return archive.read(name)

    return read


class _Reader:
    """Turns the files of one recording into objects, checking each value."""

    def __init__(self, place: Path, read: Callable[[str], bytes | None]) -> None:
        self._place, self._read = place, read

    def fail(self, message: str) -> NoReturn:
        raise InputError(f"{self._place}: {message}")

    def recording(self) -> Recording:
        raw = self._read("recording.json")
        if raw is None:
            self.fail("there is no recording.json in it")
        try:
            root = json.loads(raw)
        except (ValueError, RecursionError) as error:
            self.fail(f"recording.json: {error}")
        if not isinstance(root, dict) or root.get("format") != FORMAT:
            found = root.get("format") if isinstance(root, dict) else root
            self.fail(f"recording.json: format {found!r}; this version reads format {FORMAT}")
        inputs = tuple(self._tensor(item) for item in self._list(root, "inputs", optional=True))
        return Recording(
            producer=self._text(root, "producer"),
            model=self._text(root, "model"),
            model_sha256=self._text(root, "model_sha256"),
            submissions=tuple(self._submission(item) for item in self._list(root, "submits")),
            inputs=inputs,
            outputs=tuple(self._tensor(item) for item in self._list(root, "outputs", optional=True)),
            input_data=tuple(self._required(f"input{index}.bin") for index in range(len(inputs))),
            reference=self._reference(),
            failure=self._failure(),
        )

    def _failure(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in ("failure.json", "failing_task.json"):
            raw = self._read(name)
            try:
                part = json.loads(raw) if raw is not None else {}
            except (ValueError, RecursionError) as error:
                self.fail(f"{name}: {error}")
            if not isinstance(part, dict):
                self.fail(f"{name}: it holds no facts by name")
            found.update(part)
        return found

    def _submission(self, item: Any) -> Submission:
        buffers = tuple(self._buffer(entry) for entry in self._list(item, "buffers"))
        self._check_places(buffers)
        known = {buffer.handle for buffer in buffers}
        jobs = tuple(self._job(entry, known) for entry in self._list(item, "jobs"))
        for task in (task for job in jobs for task in job.tasks):
            end = task.address + 8 * task.words
            if not any(b.address <= task.address and end <= b.address + b.size for b in buffers):
                self.fail(f"a task's {task.words} command words at 0x{task.address:x} lie in no buffer")
        operations = self._list(item, "operations", optional=True)
        return Submission(buffers, jobs, tuple(self._operation(entry, len(jobs)) for entry in operations))

    def _operation(self, item: Any, jobs: int) -> RecordedOperation:
        tensors = item.get("tensors") if isinstance(item, dict) else None
        names = [self._indices(item, "jobs"), self._indices(tensors, "inputs"), self._indices(tensors, "outputs")]
        if any(job >= jobs for job in names[0]):
            self.fail(f"an operation names jobs {names[0]}, there are {jobs}")
        return RecordedOperation(self._text(item, "type"), *names)

    def _indices(self, item: Any, key: str) -> tuple[int, ...]:
        values = self._list(item, key)
        if not all(isinstance(value, int) and value >= 0 for value in values):
            self.fail(f"recording.json: {key!r} should hold indices, holds {values!r:.60}")
        return tuple(values)

    def _check_places(self, buffers: tuple[RecordedBuffer, ...]) -> None:
        if len({buffer.handle for buffer in buffers}) != len(buffers):
            self.fail("two buffers of a submission have the same handle")
        end = 0
        for buffer in sorted(buffers, key=lambda item: item.address):
            if buffer.address < end:
                self.fail(f"buffer {buffer.handle} at 0x{buffer.address:x} overlaps the one before it")
            end = buffer.address + buffer.size

    def _buffer(self, item: Any) -> RecordedBuffer:
        handle, address, size = (self._number(item, key) for key in ("handle", "dma_address", "size"))
        if not size or size > MAX_BYTES or address + size > 1 << 32:
            self.fail(f"buffer {handle}: {size} bytes at 0x{address:x} are no part of a 32-bit address space")
        name = item.get("file")
        data = self._required(name) if name is not None else b""
        if len(data) > size:
            self.fail(f"{name} holds {len(data)} bytes for a buffer of {size}")
        return RecordedBuffer(handle, address, size, str(item.get("role", "")), data)

    def _job(self, item: Any, known: set[int]) -> RecordedJob:
        tasks = tuple(
            RecordedTask(self._number(entry, "regcmd"), self._number(entry, "regcmd_count"))
            for entry in self._list(item, "tasks")
        )
        reads, writes = (
            tuple(self._handle(value, known) for value in self._list(item, key)) for key in ("in_bos", "out_bos")
        )
        return RecordedJob(tasks, reads, writes)

    def _handle(self, value: Any, known: set[int]) -> int:
        if not isinstance(value, int) or value not in known:
            self.fail(f"a job names buffer {value!r}, which does not exist")
        return value

    def _tensor(self, item: Any) -> RecordedTensor:
        scale, zero_point, *_ = [*self._list(item, "quantization", optional=True), 0.0, 0]
        shape = self._list(item, "shape")
        if not all(isinstance(size, int) and size >= 0 for size in shape) or not isinstance(scale, int | float):
            self.fail(f"tensor {item.get('name')!r} has shape {shape!r} and scale {scale!r}")
        if not isinstance(zero_point, int):
            self.fail(f"tensor {item.get('name')!r} has zero point {zero_point!r}")
        dtype = self._text(item, "dtype")
        return RecordedTensor(
            self._number(item, "index"), self._text(item, "name"), tuple(shape), dtype, float(scale), zero_point
        )

    def _reference(self) -> dict[int, npt.NDArray[Any]]:
        raw = self._read("reference.npz")
        if raw is None:
            return {}
        try:
            with np.load(BytesIO(raw), allow_pickle=False) as arrays:
                return {int(name.removeprefix("t")): arrays[name] for name in arrays.files}
        except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            self.fail(f"reference.npz: {error}")

    def _required(self, name: Any) -> bytes:
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
            self.fail(f"{name!r} is no name of a file inside the recording")
        data = self._read(name)
        if data is None:
            self.fail(f"file {name} is missing")
        return data

    def _list(self, item: Any, key: str, *, optional: bool = False) -> list[Any]:
        value = item.get(key) if isinstance(item, dict) else None
        if value is None and optional and isinstance(item, dict):
            return []
        if not isinstance(value, list):
            self.fail(f"recording.json: {key!r} should be a list, is {value!r:.60}")
        return value

    def _number(self, item: Any, key: str) -> int:
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
            self.fail(f"recording.json: {key!r} should be a non-negative number, is {value!r:.60}")
        return value

    def _text(self, item: Any, key: str) -> str:
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, str):
            self.fail(f"recording.json: {key!r} should be a text, is {value!r:.60}")
        return value
