"""Programs in files: one file, a format version, and a checksum over all of it.

Layout, little-endian: 8 bytes magic, u32 format version, u32 header length, the header as JSON, the buffers' contents
and the relocation table one after another, 32 bytes SHA-256 of everything before.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.errors import ProgramError
from rocketnpu.family import chips, family_of
from rocketnpu.files.limits import PROGRAM_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.files.writing import write_file
from rocketnpu.graph import DType
from rocketnpu.program.layout import KINDS, FeatureLayout
from rocketnpu.program.program import (
    Binding,
    Program,
    ProgramBuffer,
    ProgramJob,
    ProgramTask,
    Role,
)
from rocketnpu.program.relocations import DTYPES, Relocations

MAGIC = b"RKTPROG\0"
VERSION = 3
"""1 had sentinels that other tasks wrote too, and jobs that relied on weights of the job before; 2 named no family."""
_HEAD = struct.Struct("<8sII")
_SUM_BYTES = hashlib.sha256().digest_size


def to_bytes(program: Program) -> bytes:
    """Write a program as the content of its file."""
    table = program.relocations
    blobs = [buffer.data for buffer in program.buffers] + [table.columns().astype("<i8").tobytes()]
    header = json.dumps(_describe(program), separators=(",", ":")).encode()
    body = b"".join((_HEAD.pack(MAGIC, VERSION, len(header)), header, *blobs))
    return body + hashlib.sha256(body).digest()


def save(program: Program, path: str | Path) -> None:
    """Write a program to a file, all of it or nothing.

    Raises:
        ProgramError: the file cannot be written.
    """
    write_file(path, to_bytes(program), "program", ProgramError)


def load(path: str | Path) -> Program:
    """Read a program from a file.

    Raises:
        ProgramError: the file is missing, damaged, or of another format version.
    """
    data = read_file(path, PROGRAM_BYTES, "program", ProgramError)
    try:
        return from_bytes(data)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None


def from_bytes(data: bytes) -> Program:
    """Read a program from the content of its file.

    Raises:
        ProgramError: the bytes are damaged, or of another format version.
    """
    if len(data) < _HEAD.size + _SUM_BYTES or data[: len(MAGIC)] != MAGIC:
        raise ProgramError("not a program of this project")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ProgramError(f"format version {version}, this release reads {VERSION}: compile the model again")
    view = memoryview(data)
    if hashlib.sha256(view[:-_SUM_BYTES]).digest() != data[-_SUM_BYTES:]:
        raise ProgramError("damaged: its checksum does not match; compile the model again")
    try:
        header = json.loads(data[_HEAD.size : _HEAD.size + length])
        return _rebuild(header, view[_HEAD.size + length : -_SUM_BYTES])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ProgramError(f"damaged: {type(error).__name__}: {error}") from None


def _describe(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "family": family_of(program.chip).family,
        "chip": program.chip,
        "buffers": [[b.name, b.role.value, b.size, len(b.data)] for b in program.buffers],
        "commands": program.commands,
        "relocations": len(program.relocations),
        "jobs": [
            {
                "tasks": [[t.offset, t.words, t.kind, t.operator, t.label, t.macs] for t in job.tasks],
                "reads": job.reads,
                "writes": job.writes,
                "sentinel": job.sentinel,
            }
            for job in program.jobs
        ],
        "inputs": [_binding(binding) for binding in program.inputs],
        "outputs": [_binding(binding) for binding in program.outputs],
        "rules": program.rules,
        "notes": program.notes,
    }


def _binding(binding: Binding) -> dict[str, Any]:
    layout = binding.layout
    return {
        "tensor": binding.tensor,
        "name": binding.name,
        "shape": binding.shape,
        "dtype": binding.dtype.value,
        "buffer": binding.buffer,
        "layout": {"kind": layout.kind, **asdict(layout)},
    }


def _rebuild(header: dict[str, Any], blobs: memoryview) -> Program:
    chip, family = header["chip"], header["family"]
    if chip not in chips() or family_of(chip).family != family:
        raise ProgramError(f"for the chip {chip!r} of the family {family!r}; this release knows {', '.join(chips())}")
    buffers = []
    position = 0
    for name, role, size, length in header["buffers"]:
        content = bytes(blobs[position : position + length])
        if len(content) != length or length > size:
            raise ProgramError("damaged: a buffer's content is cut short")
        buffers.append(ProgramBuffer(name, Role(role), size, content))
        position += length
    columns = np.frombuffer(blobs[position:], "<i8").reshape(-1, header["relocations"]).astype(np.int64)
    program = Program(
        header["name"],
        header["chip"],
        tuple(buffers),
        header["commands"],
        Relocations.from_columns(columns),
        tuple(_job(job) for job in header["jobs"]),
        tuple(_bound(binding) for binding in header["inputs"]),
        tuple(_bound(binding) for binding in header["outputs"]),
        tuple(header["rules"]),
        tuple(header["notes"]),
    )
    _check(program)
    return program


def _job(job: dict[str, Any]) -> ProgramJob:
    buffer, offset, size = job["sentinel"]
    return ProgramJob(
        tuple(ProgramTask(*task) for task in job["tasks"]),
        tuple(job["reads"]),
        tuple(job["writes"]),
        (buffer, offset, size),
    )


def _bound(binding: dict[str, Any]) -> Binding:
    return Binding(
        binding["tensor"],
        binding["name"],
        tuple(binding["shape"]),
        DType(binding["dtype"]),
        binding["buffer"],
        _layout(binding["layout"]),
    )


def _layout(fields: dict[str, Any]) -> FeatureLayout:
    values = dict(fields)
    return KINDS[values.pop("kind")](**values)


def _is_inside(program: Program, buffer: int, offset: int, size: int) -> bool:
    return 0 <= offset < offset + size <= program.buffers[buffer].size


def _check(program: Program) -> None:
    """Refuse references that lead outside the program: a checksum does not tell who made the file."""
    count = len(program.buffers)
    words = len(program.buffers[program.commands].data) // 8
    sizes = np.array([buffer.size for buffer in program.buffers])
    table = program.relocations
    inside = (
        all(np.all((numbers >= 0) & (numbers < count)) for numbers in (table.targets, table.buffers))
        and bool(np.all(np.isin(table.widths, list(DTYPES)) & (table.offsets % table.widths == 0)))
        and bool(np.all((table.offsets >= 0) & (table.offsets + table.widths <= sizes[table.targets])))
        and all(0 <= number < count for job in program.jobs for number in (*job.reads, *job.writes, job.sentinel[0]))
        and all(_is_inside(program, *job.sentinel) for job in program.jobs)
        and all(0 <= task.offset // 8 <= words - task.words for task in program.tasks)
        and all(0 <= b.buffer < count for b in (*program.inputs, *program.outputs))
    )
    if not inside:
        raise ProgramError("damaged: a reference leads outside the program")
    for binding in (*program.inputs, *program.outputs):
        if binding.layout.end > program.buffers[binding.buffer].size:
            raise ProgramError(f"damaged: tensor {binding.name} ends outside its buffer")
