"""A failure bundle: what a device was given, frozen as a recording, so that ``rocketnpu replay`` runs it elsewhere.

A zip in the format of the recordings that ``replay`` reads (``recording.json`` and the buffers' contents), with
three additions for people: ``failure.json`` ``failing_task.json``, and ``tasks.txt``, the task index with every list
decoded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu._version import __version__
from rocketnpu.device.base import DeviceJob
from rocketnpu.device.placement import Placement
from rocketnpu.errors import DeviceError
from rocketnpu.family import family_of

FORMAT = 1
"""Format of the recording."""


def write_bundle(placed: Placement, path: Path, failure: Mapping[str, Any]) -> None:
    """Write the program's buffers as they are now, its jobs and its task index to a zip file.

    Args:
        placed: the program; constants, commands and inputs still hold what was submitted.
        path: the file to write; an older one is replaced.
        failure: what is known about the failure, for ``failure.json``.

    Raises:
        DeviceError: the file cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            buffers = [_store(archive, placed, number) for number in range(len(placed.buffers))]
            submission = {"buffers": buffers, "jobs": [_job(job) for job in placed.jobs]}
            manifest = {
                "format": FORMAT,
                "producer": f"rocketnpu {__version__}, device {placed.device.name}",
                "model": placed.program.name,
                "model_sha256": "",
                "submits": [submission],
            }
            archive.writestr("recording.json", json.dumps(manifest, indent=1))
            archive.writestr("failure.json", json.dumps(dict(failure), indent=1))
            archive.writestr("tasks.txt", "\n".join(_task_index(placed)) + "\n")
    except OSError as error:
        raise DeviceError(f"cannot write the failure bundle {path}: {error.strerror}") from None


def _store(archive: zipfile.ZipFile, placed: Placement, number: int) -> dict[str, Any]:
    buffer, memory = placed.buffers[number], placed.memories[number]
    entry: dict[str, Any] = {
        "handle": buffer.handle,
        "dma_address": buffer.address,
        "size": buffer.size,
        "role": placed.program.buffers[number].role.value,
    }
    if np.frombuffer(memory, np.uint8).any():
        name = f"submit0/bo{buffer.handle:04d}.bin"
        archive.writestr(name, bytes(memory))
        entry["file"] = name
    return entry


def _job(job: DeviceJob) -> dict[str, Any]:
    return {
        "tasks": [{"regcmd": task.address, "regcmd_count": task.words} for task in job.tasks],
        "in_bos": [buffer.handle for buffer in job.reads],
        "out_bos": [buffer.handle for buffer in job.writes],
    }


def _task_index(placed: Placement) -> Iterable[str]:
    family = family_of(placed.program.chip)
    for number, job in enumerate(placed.program.jobs):
        for index, task in enumerate(job.tasks):
            yield f"# job {number} task {index}: operator {task.operator}, {task.label}, {task.words} words"
            yield family.command_text(placed.task_words(number, index))
