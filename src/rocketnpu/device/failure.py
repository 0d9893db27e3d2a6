"""A job that did not run to its end: which task, of which operator, with which registers."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from weakref import WeakKeyDictionary

from rocketnpu.device.bundle import add_facts, write_bundle
from rocketnpu.device.placement import Placement
from rocketnpu.errors import DeviceError, DeviceTimeoutError, StartRefusedError
from rocketnpu.family import family_of

_numbers: WeakKeyDictionary[Placement, int] = WeakKeyDictionary()
_counter, _naming = count(), threading.Lock()
"""Placed programs are numbered as they fail: several cores of one process run the same program."""
_PROBE_TIMEOUT = 5.0
_SHOWN_REGISTERS = 12
"""Lines of the register text in the message; all are in the attribute and in the bundle."""


class JobFailedError(DeviceTimeoutError):
    """A job left its output untouched: the kernel dropped it, or reset its core after 500 ms.

    Attributes:
        job: number of the job in the program.
        task: number of the task within the job, or None where each task works alone.
        operator: number of the operator in the graph.
        label: the task in words.
        core: the core in words.
        registers: the decoded command list of the task.
        bundle: zip file for ``rocketnpu replay``, or None if it could not be written.
    """

    def __init__(self, placed: Placement, job: int, task: int | None, bundle: Path | None) -> None:
        """Describe the failure of ``task`` (of the whole job where None)."""
        tasks = placed.program.jobs[job].tasks
        index = len(tasks) - 1 if task is None else task
        self.job, self.task, self.bundle = job, task, bundle
        self.operator, self.label = tasks[index].operator, tasks[index].label
        number = placed.core_of(job)
        self.core = "the core that the kernel chose" if number is None else f"core {number}"
        self.registers = placed.task_text(job, index)
        which = (
            f"task {index} of {len(tasks)}" if task is not None else f"one of its {len(tasks)} tasks, the last being"
        )
        shown = "; ".join(line for line in self.registers.splitlines() if " " in line)
        lines = shown.split("; ")
        more = f"; and {len(lines) - _SHOWN_REGISTERS} more" if len(lines) > _SHOWN_REGISTERS else ""
        told = f"; `rocketnpu replay {bundle}` runs it on the simulator" if bundle else ""
        super().__init__(
            f"{placed.device.name}: job {job} of {placed.program.name} did not finish on {self.core}: {which} "
            f"(operator {self.operator}, {self.label}); registers: {'; '.join(lines[:_SHOWN_REGISTERS])}{more}{told}"
        )


def describe_failure(placed: Placement, job: int, folder: Path | None = None) -> JobFailedError:
    """Save a bundle, find the task that fails by running the job's tasks one by one, and return the error to raise.

    The mainline kernel tells neither that a job failed nor where (addendum 9.1), so the tasks are asked.
    """
    facts = {"program": placed.program.name, "device": placed.device.name, "job": job}
    try:
        path = _bundle_path(placed, job, folder)
        write_bundle(placed, path, facts)
    except (DeviceError, OSError):
        return JobFailedError(placed, job, _failing_task(placed, job), None)
    error = JobFailedError(placed, job, _failing_task(placed, job), path)
    known = {name: getattr(error, name) for name in ("task", "operator", "label", "core", "registers")}
    with contextlib.suppress(DeviceError):
        add_facts(path, "failing_task.json", known)
    return error


def _bundle_path(placed: Placement, job: int, folder: Path | None) -> Path:
    """Name one file a placed program and job, so that a failure that repeats does not fill the disk."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", placed.program.name)[:40]
    with _naming:
        number = _numbers.setdefault(placed, next(_counter))
        where = folder or _private_folder(os.getpid())
    return where / f"rocketnpu-{name}-{os.getpid()}-{number}-job{job}.zip"


@cache
def _private_folder(process: int) -> Path:
    """Make a folder that only the user can enter and nobody can guess, one a process."""
    return Path(tempfile.mkdtemp(prefix=f"rocketnpu-{process}-"))


def _failing_task(placed: Placement, job: int) -> int | None:
    for index in range(len(placed.program.jobs[job].tasks)):
        try:
            if not _runs(placed, job, index):
                return index
        except StartRefusedError:
            continue  # what may hang a board is not asked by itself
        except DeviceError:
            return index
    return None


def _runs(placed: Placement, job: int, index: int) -> bool:
    """Run one task alone and say whether it changed the first bytes of its output."""
    device, task, family = placed.device, placed.jobs[job].tasks[index], family_of(placed.program.chip)
    targets = family.output_addresses(placed.task_words(job, index), task.kind, placed.fetch)
    for buffer, memory in zip(placed.buffers, placed.memories, strict=True):
        offset = targets[0] - buffer.address if targets else -1
        if not 0 <= offset <= buffer.size - family.smallest_write:
            continue
        place = slice(offset, offset + family.smallest_write)
        # The least that a task writes may be a single byte: it is not a value and its complement as well.
        for pattern in (bytes(family.smallest_write), b"\xff" * family.smallest_write):
            memory[place] = pattern
            device.sync_for_device(buffer)
            device.submit([replace(placed.jobs[job], tasks=(task,))])
            device.sync_for_cpu(buffer, _PROBE_TIMEOUT)
            if memory[place] != pattern:
                return True
    return False
