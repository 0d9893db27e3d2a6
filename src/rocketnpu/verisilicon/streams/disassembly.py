"""Recordings as text: streams, instructions and, on request, coefficients; and the way back to their bytes.

A text names its chip first, then for each submission its stream and every instruction that the stream starts::

    CHIP a311d
    SUBMISSION 1
    STREAM
    LOAD_STATE PS_NN_INST_ADDR ADDRESS_64=67108352
    NN 0xffff4000
    WORD0 KERNEL_X=3 KERNEL_Z=16 KERNELS_PER_CORE=2
    DATA 0xffff5000
    BYTES 4001000040010000

Everything behind a ``#`` is comment.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.files.printable import printable_line
from rocketnpu.verisilicon.coefficients.kernels import Bytes
from rocketnpu.verisilicon.registers.instruction import WORD
from rocketnpu.verisilicon.registers.jobs import UNITS
from rocketnpu.verisilicon.registers.states import NN_START, STATES, TP_START
from rocketnpu.verisilicon.simulator.lookup import ENTRIES
from rocketnpu.verisilicon.streams import text as forms
from rocketnpu.verisilicon.streams.jobs import Job, buffer_at, jobs_of
from rocketnpu.verisilicon.streams.recording import Recording, Submission

STREAM = "STREAM"
DATA = "DATA"
_BYTES_A_LINE = 32


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes of a recording that a text stands for."""

    submission: int
    kind: str
    """``STREAM``, ``NN``, ``TP`` or ``DATA``."""
    address: int
    """0 for a stream."""
    data: bytes


def sections(recording: Recording, *, full: bool) -> list[Section]:
    """Return what a text of a recording stands for, in order; coefficients and tables only if ``full``."""
    found = []
    for number, submission in enumerate(recording.submissions):
        found.append(Section(number, STREAM, 0, submission.stream.tobytes()))
        for job in jobs_of(submission, recording.soc)[0]:
            if not job.words.size:
                continue
            found.append(Section(number, job.unit, job.address, job.words.tobytes()))
            data = _data(job, submission) if full else None
            if data is not None:
                found.append(Section(number, DATA, data[0], data[1].tobytes()))
    return found


def to_text(recording: Recording, name: str, *, full: bool) -> str:
    """Return a recording's text; :func:`assemble` reads it back to its :func:`sections`."""
    lines = [f"# {name}: {recording.model}, by {recording.producer}", f"CHIP {recording.soc.name}"]
    for number, submission in enumerate(recording.submissions):
        jobs, problem = jobs_of(submission, recording.soc)
        lines += ["", f"SUBMISSION {number}", STREAM, *_stream(submission, jobs)]
        lines += [f"# {problem}"] if problem else []
        for job in jobs:
            lines += ["", *_job(job, submission, full=full)]
    return "\n".join(map(printable_line, lines)) + "\n"  # a name in a comment ends no line


def raw_text(data: bytes, name: str) -> str:
    """Return the text of a stream that lies in a file by itself.

    Raises:
        CommandError: it is no whole number of words.
    """
    if len(data) % WORD:
        raise CommandError(f"{name}: a stream is a multiple of {WORD} bytes long, this has {len(data)}")
    lines = [line for _, line in forms.stream_lines(np.frombuffer(data, "<u4"))]
    return "\n".join([f"# {printable_line(name)}", STREAM, *lines]) + "\n"


def _stream(submission: Submission, jobs: list[Job]) -> Iterator[str]:
    starts = iter(jobs)
    names = tuple(f"LOAD_STATE {STATES.by_offset[offset].name}" for offset in (NN_START, TP_START))
    for _, line in forms.stream_lines(submission.stream):
        job = next(starts, None) if line.startswith(names) else None
        yield line if job is None else f"{line}  # job {job.number}: {job.unit} at 0x{job.address:x}"


def _job(job: Job, submission: Submission, *, full: bool) -> Iterator[str]:
    if not job.words.size:
        yield f"# job {job.number}: {job.problem}"
        return
    yield f"{job.unit} 0x{job.address:x}  # job {job.number}{_where(submission, job.address)}"
    if job.problem:
        yield f"# {job.problem}"
    reserved = job.layout.reserved(job.words)
    yield from (f"# {name}: bits outside every field: 0x{bits:x}" for name, bits in reserved.items())
    for name in ("IN_ADDRESS", "OUT_ADDRESS"):
        yield f"# {name} 0x{job.fields[name]:x}{_where(submission, job.fields[name])}"
    whole = [f"{name} {job.fields[name]}" for name, pieces in job.layout.pieces.items() if len(pieces) > 1]
    yield f"# {', '.join(whole)}"
    yield from forms.instruction_lines(job.words, job.layout)
    data = _data(job, submission)
    if data is None:
        return
    yield f"# {_summary(job)}{_where(submission, data[0])}"
    if full:
        yield from _kernels(job)
        yield f"{DATA} 0x{data[0]:x}"
        raw = data[1].tobytes()
        for place in range(0, len(raw), _BYTES_A_LINE):
            yield f"BYTES {raw[place : place + _BYTES_A_LINE].hex()}"


def _where(submission: Submission, address: int) -> str:
    buffer = buffer_at(submission, address)
    return "" if buffer is None else f", buffer {buffer.handle}+0x{address - buffer.address:x} ({buffer.role})"


def _data(job: Job, submission: Submission) -> tuple[int, Bytes] | None:
    """Return address and bytes of a job's coefficients or table; None where it has none that can be read."""
    if job.nn is not None and job.kernels is not None and job.coefficients is not None:
        return job.nn.coefficients, job.coefficients[: job.kernels.size]
    if job.tp is not None and job.tp.lookup is not None:
        buffer = buffer_at(submission, job.tp.lookup)
        if buffer is not None and job.tp.lookup + ENTRIES * WORD <= buffer.end:
            start = job.tp.lookup - buffer.address
            return job.tp.lookup, buffer.content()[start : start + ENTRIES * WORD]
    return None


def _summary(job: Job) -> str:
    if job.nn is None or job.kernels is None:
        return f"table of {ENTRIES} entries"
    shape, kernels = job.nn.shape, job.kernels
    share = float(np.mean(kernels.weights == shape.zero_point)) if kernels.weights.size else 0.0
    runs = f", runs of {'/'.join(map(str, kernels.zero_run_bits))} bits" if kernels.zero_run_bits else ""
    return (
        f"{shape.kernels} kernels of {shape.columns}x{shape.rows}x{shape.channels}, {share:.1%} of the weights at the "
        f"zero point, {kernels.size} bytes, by core {'/'.join(map(str, kernels.stream_bytes))}{runs}"
    )


def _kernels(job: Job) -> Iterator[str]:
    if job.kernels is None:
        return
    for number, weights in enumerate(job.kernels.weights):
        yield (
            f"# kernel {number}: place {job.kernels.places[number]}, bias {job.kernels.biases[number]}, "
            f"weights {' '.join(map(str, weights.ravel().tolist()))}"
        )


def assemble(text: str) -> list[Section]:
    """Read a text back.

    Raises:
        CommandError: a line cannot be read; the message names its number, or that of its section's head.
        RegisterFieldError: a value does not fit its field.
    """
    found: list[Section] = []
    submission = 0
    head: tuple[str, int, int] | None = None
    body: list[str] = []

    def close() -> None:
        if head is None:
            return
        try:
            found.append(Section(submission, head[0], head[1], _bytes(head[0], body)))
        except (CommandError, RegisterFieldError) as error:
            raise forms.located(error, head[2]) from None

    for place, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        words = line.split()
        if not words:
            continue
        if words[0] in ("CHIP", "SUBMISSION", STREAM, DATA, *UNITS):
            close()
            try:
                head = _head(words, line, place)
            except CommandError as error:
                raise forms.located(error, place) from None
            body = []
            if words[0] == "SUBMISSION":
                submission = head[1]
            if words[0] in ("CHIP", "SUBMISSION"):
                head = None
        elif head is None:
            raise CommandError(f"line {place}: {line!r} belongs to no section")
        else:
            body.append(line)
    close()
    return found


def _head(words: list[str], line: str, place: int) -> tuple[str, int, int]:
    if len(words) != (1 if words[0] == STREAM else 2):
        raise CommandError(f"not the head of a section: {line!r}")
    value = 0 if words[0] in (STREAM, "CHIP") else forms.number(words[1], line)
    return words[0], value, place


def _bytes(kind: str, body: list[str]) -> bytes:
    if kind == STREAM:
        return forms.parse_stream(body).tobytes()
    if kind in UNITS:
        return forms.parse_instruction(body, UNITS[kind]).tobytes()
    parts = []
    for line in body:
        name, _, digits = line.partition(" ")
        try:
            parts.append(bytes.fromhex(digits if name == "BYTES" else name))
        except ValueError:
            raise CommandError(f"no bytes: {line!r}") from None
    return b"".join(parts)


def to_archive(found: list[Section]) -> bytes:
    """Return a zip file with the bytes of each section, the same for the same sections."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for section in {_name(section): section for section in found}.values():
            info = zipfile.ZipInfo(_name(section))
            archive.writestr(info, section.data)
    return out.getvalue()


def _name(section: Section) -> str:
    place = "" if section.kind == STREAM else f"-{section.address:08x}"
    return f"submit{section.submission}/{section.kind.lower()}{place}.bin"


def to_document(recording: Recording) -> dict[str, Any]:
    """Return streams and instructions as values for JSON."""
    submissions = []
    for submission in recording.submissions:
        jobs, problem = jobs_of(submission, recording.soc)
        submissions.append(
            {
                "stream": [line for _, line in forms.stream_lines(submission.stream)],
                "problem": problem,
                "jobs": [_entry(job) for job in jobs],
            }
        )
    return {"chip": recording.soc.name, "model": recording.model, "submissions": submissions}


def _entry(job: Job) -> dict[str, Any]:
    coefficients = _summary(job) if job.kernels is not None else None
    return {
        "unit": job.unit,
        "address": job.address,
        "fields": job.fields,
        "problem": job.problem,
        "coefficients": coefficients,
    }
