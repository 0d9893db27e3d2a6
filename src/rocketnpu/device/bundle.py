"""A failure bundle: what a device was given, frozen as a recording, so that ``rocketnpu replay`` runs it elsewhere.

A zip in the format of the recordings that ``replay`` reads (``recording.json`` and the buffers' contents), with
three additions for people: ``failure.json`` ``failing_task.json``, and ``tasks.txt``, the task index with every list
decoded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu._version import __version__
from rocketnpu.device.placement import Placement
from rocketnpu.errors import DeviceError
from rocketnpu.family import family_of

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the zip: a board without a battery may believe in an earlier year, which a zip cannot hold."""
_TROUBLE = (OSError, ValueError, zipfile.LargeZipFile)


def write_bundle(placed: Placement, path: Path, failure: Mapping[str, Any]) -> None:
    """Write the program's buffers as they are now, its jobs and its task index to a zip file.

    Args:
        placed: the program; constants, commands and inputs still hold what was submitted.
        path: the file to write; an older one is replaced, and a link there is not followed. Only its owner may read
            it, for it holds the user's input.
        failure: what is known about the failure, for ``failure.json``.

    Raises:
        DeviceError: the file cannot be written.
    """

    def fill(archive: zipfile.ZipFile) -> None:
        buffers = [_store(archive, placed, number) for number in range(len(placed.buffers))]
        manifest = {
            "producer": f"rocketnpu {__version__}, device {placed.device.name}",
            "model": placed.program.name,
            "model_sha256": "",
            **family_of(placed.program.chip).recording(placed.jobs, buffers, placed.fetch),
        }
        _add(archive, "recording.json", json.dumps(manifest, indent=1))
        _add(archive, "failure.json", json.dumps(dict(failure), indent=1))
        _add(archive, "tasks.txt", "\n".join(_task_index(placed)) + "\n")

    _replace(path, None, fill)


def add_facts(path: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Add a file of facts to a bundle; the bundle stays as it was where that fails.

    Raises:
        DeviceError: it cannot be written.
    """
    _replace(path, path, lambda archive: _add(archive, name, json.dumps(dict(facts), indent=1)))


def _replace(path: Path, older: Path | None, fill: Callable[[zipfile.ZipFile], None]) -> None:
    """Write a zip that begins as ``older``, readable by its owner alone, and put it in its place as a whole."""
    fresh: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".rocketnpu-", dir=path.parent)
        os.close(descriptor)
        fresh = Path(name)
        if older is not None:
            shutil.copyfile(older, fresh)
        with zipfile.ZipFile(fresh, "w" if older is None else "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            fill(archive)
        fresh.replace(path)
    except _TROUBLE as error:
        with contextlib.suppress(OSError):
            if fresh is not None:
                fresh.unlink()
        reason = getattr(error, "strerror", None) or error
        raise DeviceError(f"cannot write the failure bundle {path}: {reason}") from None


def _add(archive: zipfile.ZipFile, name: str, data: str | bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    archive.writestr(entry, data)


def _store(archive: zipfile.ZipFile, placed: Placement, number: int) -> dict[str, Any]:
    buffer, memory = placed.buffers[number], placed.memories[number]
    entry: dict[str, Any] = {
        "handle": buffer.handle,
        "address": buffer.address,
        "size": buffer.size,
        "role": placed.program.buffers[number].role.value,
    }
    if np.frombuffer(memory, np.uint8).any():
        name = f"submit0/bo{buffer.handle:04d}.bin"
        _add(archive, name, bytes(memory))
        entry["file"] = name
    return entry


def _task_index(placed: Placement) -> Iterable[str]:
    for number, job in enumerate(placed.program.jobs):
        for index, task in enumerate(job.tasks):
            yield f"# job {number} task {index}: operator {task.operator}, {task.label}, {task.words} words"
            yield placed.task_text(number, index)
