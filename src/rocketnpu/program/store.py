"""Programs in files: one file, a format version, and a checksum over all of it.

Layout, little-endian: 8 bytes magic, u32 format version, u32 header length, the header as JSON, the buffers' contents
and the relocation table one after another, 32 bytes SHA-256 of everything before.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.errors import ProgramError
from rocketnpu.family import chips, family_of
from rocketnpu.files.limits import PROGRAM_BYTES, PROGRAM_HEADER_BYTES
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.files.writing import write_file
from rocketnpu.program import header
from rocketnpu.program.checks import check_program
from rocketnpu.program.program import Binding, Program, ProgramBuffer
from rocketnpu.program.relocations import Relocations

MAGIC = b"RKTPROG\0"
VERSION = 3
"""1 had sentinels that other tasks wrote too, and jobs that relied on weights of the job before; 2 named no family."""
_HEAD = struct.Struct("<8sII")
_SUM_BYTES = hashlib.sha256().digest_size


def to_bytes(program: Program) -> bytes:
    """Write a program as the content of its file."""
    table = program.relocations
    blobs = [buffer.data for buffer in program.buffers] + [table.columns().astype("<i8").tobytes()]
    described = json.dumps(_describe(program), separators=(",", ":")).encode()
    body = b"".join((_HEAD.pack(MAGIC, VERSION, len(described)), described, *blobs))
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
    end = _HEAD.size + length
    if end > len(data) - _SUM_BYTES:
        raise ProgramError("damaged: its header is cut short")
    try:
        described = parse_json(data[_HEAD.size : end], PROGRAM_HEADER_BYTES)
    except ValueError as error:
        raise ProgramError(f"damaged: its header: {error}") from None
    return _rebuild(described, view[end:-_SUM_BYTES])


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


def _rebuild(described: Any, blobs: memoryview) -> Program:
    chip, family = (header.text(header.member(described, key), f"the {key}") for key in ("chip", "family"))
    if chip not in chips() or family_of(chip).family != family:
        raise ProgramError(f"for the chip {chip!r} of the family {family!r}; this release knows {', '.join(chips())}")
    buffers, position = [], 0
    for name, role, size, length in header.entries(described):
        content = bytes(blobs[position : position + length])
        if len(content) != length:
            raise ProgramError("damaged: a buffer's content is cut short")
        buffers.append(ProgramBuffer(name, role, size, content))
        position += length
    jobs, inputs, outputs = (header.items(header.member(described, key), key) for key in ("jobs", "inputs", "outputs"))
    program = Program(
        header.text(header.member(described, "name"), "the name"),
        chip,
        tuple(buffers),
        header.number(header.member(described, "commands"), "the number of the commands buffer"),
        _relocations(header.number(header.member(described, "relocations"), "the relocations"), blobs[position:]),
        tuple(header.job(job) for job in jobs),
        tuple(header.binding(binding) for binding in inputs),
        tuple(header.binding(binding) for binding in outputs),
        header.texts(header.member(described, "rules"), "a rule"),
        header.texts(header.member(described, "notes"), "a note"),
    )
    check_program(program)
    return program


def _relocations(count: int, blob: memoryview) -> Relocations:
    columns = len(fields(Relocations))
    if len(blob) != 8 * columns * count:
        raise ProgramError(f"damaged: {len(blob)} bytes are no table of {count} relocations")
    return Relocations.from_columns(np.frombuffer(blob, "<i8").reshape(columns, count).astype(np.int64))
