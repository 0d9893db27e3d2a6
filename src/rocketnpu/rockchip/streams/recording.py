"""Recordings: what a program handed to an NPU driver, frozen with all buffers so that it can be replayed.

Its files are those of :mod:`rocketnpu.inspect.recording_file`, format 1: a submission holds buffers
(``submitN/boHHHH.bin``; a buffer without a file is all zero) and jobs. Where the chip's own result is known, the entry
``silicon`` names submission, buffer handle, offset and the file of the bytes that it wrote. A failure bundle of this
package's runtime is a recording with ``failure.json`` and ``failing_task.json`` beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from rocketnpu.device.base import DeviceJob
from rocketnpu.files.limits import COMMAND_WORDS
from rocketnpu.inspect.recording_file import RecordedBuffer, RecordedTensor, RecordingFile, read_recording

FORMAT = 1


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
class RecordedSilicon:
    """What the chip wrote to a buffer of one submission."""

    submission: int
    handle: int
    offset: int
    data: bytes = field(repr=False)


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
    silicon: RecordedSilicon | None = None
    """The chip's own result, where somebody recorded it."""

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
    return read_recording(path, _recording)


def _recording(file: RecordingFile) -> Recording:
    root = file.document([FORMAT])
    inputs = tuple(file.tensor(item) for item in file.list(root, "inputs", optional=True))
    submissions = tuple(_submission(file, item) for item in file.list(root, "submits"))
    count = sum(task.words for submission in submissions for job in submission.jobs for task in job.tasks)
    if count > COMMAND_WORDS:
        file.fail(f"its tasks have {count:,} command words, more than the {COMMAND_WORDS:,} that are read")
    return Recording(
        producer=file.text(root, "producer"),
        model=file.text(root, "model"),
        model_sha256=file.text(root, "model_sha256"),
        submissions=submissions,
        inputs=inputs,
        outputs=tuple(file.tensor(item) for item in file.list(root, "outputs", optional=True)),
        input_data=tuple(file.required(f"input{index}.bin") for index in range(len(inputs))),
        reference=file.reference(),
        failure={**file.facts("failure.json"), **file.facts("failing_task.json")},
        silicon=_silicon(file, root.get("silicon"), submissions),
    )


def _silicon(file: RecordingFile, item: Any, submissions: tuple[Submission, ...]) -> RecordedSilicon | None:
    if item is None:
        return None
    number, handle, offset = (file.number(item, key) for key in ("submit", "handle", "offset"))
    data = file.required(item.get("file"))
    if number >= len(submissions):
        file.fail(f"the chip's result belongs to submission {number}, there are {len(submissions)}")
    sizes = {buffer.handle: buffer.size for buffer in submissions[number].buffers}
    if not data or offset + len(data) > sizes.get(handle, 0):
        file.fail(f"the chip's result, {len(data)} bytes at {offset}, does not lie in a buffer {handle}")
    return RecordedSilicon(number, handle, offset, data)


def _submission(file: RecordingFile, item: Any) -> Submission:
    entries = file.list(item, "buffers")
    buffers = tuple(file.buffer(entry, "dma_address", _role(entry)) for entry in entries)
    file.check_places(buffers)
    known = {buffer.handle for buffer in buffers}
    jobs = tuple(_job(file, entry, known) for entry in file.list(item, "jobs"))
    for task in (task for job in jobs for task in job.tasks):
        end = task.address + 8 * task.words
        if not any(buffer.address <= task.address and end <= buffer.end for buffer in buffers):
            file.fail(f"a task's {task.words} command words at 0x{task.address:x} lie in no buffer")
    operations = file.list(item, "operations", optional=True)
    return Submission(buffers, jobs, tuple(_operation(file, entry, len(jobs)) for entry in operations))


def _role(item: Any) -> str:
    return str(item.get("role", "")) if isinstance(item, dict) else ""


def _operation(file: RecordingFile, item: Any, jobs: int) -> RecordedOperation:
    tensors = item.get("tensors") if isinstance(item, dict) else None
    names = [file.indices(item, "jobs"), file.indices(tensors, "inputs"), file.indices(tensors, "outputs")]
    if any(job >= jobs for job in names[0]):
        file.fail(f"an operation names jobs {names[0]}, there are {jobs}")
    return RecordedOperation(file.text(item, "type"), *names)


def _job(file: RecordingFile, item: Any, known: set[int]) -> RecordedJob:
    tasks = tuple(
        RecordedTask(file.number(entry, "regcmd"), file.number(entry, "regcmd_count"))
        for entry in file.list(item, "tasks")
    )
    reads, writes = (
        tuple(_handle(file, value, known) for value in file.list(item, key)) for key in ("in_bos", "out_bos")
    )
    return RecordedJob(tasks, reads, writes)


def _handle(file: RecordingFile, value: Any, known: set[int]) -> int:
    if type(value) is not int or value not in known:
        file.fail(f"a job names buffer {value!r}, which does not exist")
    return value


def describe(jobs: Sequence[DeviceJob], buffers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a submission of ours in this form; see :meth:`rocketnpu.family.Family.recording`."""
    listed = [{"dma_address" if key == "address" else key: value for key, value in one.items()} for one in buffers]
    described = [
        {
            "tasks": [{"regcmd": task.address, "regcmd_count": task.words} for task in job.tasks],
            "in_bos": [buffer.handle for buffer in job.reads],
            "out_bos": [buffer.handle for buffer in job.writes],
        }
        for job in jobs
    ]
    return {"format": FORMAT, "submits": [{"buffers": listed, "jobs": described}]}
