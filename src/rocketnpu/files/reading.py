"""Read a user's files, which may be anything: endless, special, or made to harm."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from rocketnpu.errors import InputError, RocketError
from rocketnpu.files.limits import JSON_BYTES, JSON_DEPTH

_BLOCK_BYTES = 1 << 20
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)


def read_file(path: str | Path, limit: int, what: str, error: type[RocketError]) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Args:
        path: the file; links are followed.
        limit: in bytes; no more than that is ever read.
        what: what the file is meant to be, as in "model".
        error: what is raised.

    Raises:
        RocketError: an ``error``: the file is missing, cannot be read, is larger, or is no regular file: folders,
            pipes and devices could block, or have no end.
    """
    with open_file(path, what, error) as file:
        found = os.fstat(file.fileno())
        if found.st_size > limit:
            raise error(f"{what} {path} has {found.st_size} bytes, more than the {limit} that are read")
        try:
            blocks, left = [], limit + 1
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                blocks.append(block)
                left -= len(block)
        except OSError as problem:
            raise error(f"cannot read {what} {path}: {_reason(problem)}") from None
    if not left:
        raise error(f"{what} {path} has more than the {limit} bytes that are read")
    return b"".join(blocks)


def read_text(path: str | Path, limit: int) -> str:
    """Return a small text of the system's, such as a setting; empty where it cannot be read or has more bytes."""
    try:
        return read_file(path, limit, "text", InputError).decode("utf-8", "replace")
    except InputError:
        return ""


def read_head(path: str | Path, count: int, what: str, error: type[RocketError]) -> bytes:
    """Return the first bytes of a regular file, at most ``count``; arguments as for :func:`read_file`.

    Raises:
        RocketError: an ``error``: the file is missing, cannot be read, or is no regular file.
    """
    with open_file(path, what, error) as file:
        try:
            return file.read(count)
        except OSError as problem:
            raise error(f"cannot read {what} {path}: {_reason(problem)}") from None


def open_file(path: str | Path, what: str, error: type[RocketError]) -> BinaryIO:
    """Open a regular file to be read piece by piece, without waiting for whatever else it may be.

    Raises:
        RocketError: an ``error``: the file is missing, cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise error(f"cannot read {what} {path}: {_reason(problem)}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise error(f"cannot read {what} {path}: it is {kind_of(mode)}, not a file")
    return os.fdopen(descriptor, "rb")


def kind_of(mode: int) -> str:
    """Name what a file that is not a regular one is, by the mode that ``stat`` gives."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something special")


def parse_json(data: bytes, limit: int = JSON_BYTES) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is none, is longer than ``limit`` bytes, or has more than
            :data:`~rocketnpu.files.limits.JSON_DEPTH` lists and objects inside one another.
    """
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes, more than the {limit} that are read")
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > JSON_DEPTH:
            raise ValueError(f"more than {JSON_DEPTH} lists and objects inside one another")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("too many lists and objects inside one another") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
