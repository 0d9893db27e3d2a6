"""Tasks grouped to jobs, each with the loading of the look-up tables that its tasks use.

A job runs on one core and whole; between two jobs anybody may use the core, and the next may run on another. So a job
relies on no table that an earlier one loaded, and inside it equal tables are loaded once while they stay current.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rocketnpu.soc import ATOM, Soc
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.task import BYPASS, Conversion, ConvolutionTask, FlyingTask, Lookup, OutputStage, Rows, Task

LOADED = "loaded"
"""Region that loaders write a slot of; nobody reads it."""
_PASS = OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0))


def job_groups(tasks: Sequence[Task], soc: Soc) -> tuple[tuple[Task, ...], ...]:
    """Cut tasks into jobs small enough for the kernel's time limit, and have each load the tables that it needs."""
    groups: list[list[Task]] = [[]]
    work = 0
    for task in tasks:
        if groups[-1] and work + task.macs > soc.job_macs:
            groups.append([])
            work = 0
        groups[-1].append(task)
        work += task.macs
    return tuple(tuple(with_loaders(group)) for group in groups)


def with_loaders(tasks: Iterable[Task]) -> Iterable[Task]:
    """Put a loader before each task whose tables are not those that were loaded last."""
    current: Lookup | None = None
    for task in tasks:
        wanted = task.output.lookup if isinstance(task, ConvolutionTask) else None
        if wanted is not None and wanted != current:
            yield loader(task, wanted)
            current = wanted
        yield task


def loader(task: Task, tables: Lookup) -> FlyingTask:
    """Make the task that loads ``tables`` for ``task``: it copies the first pixel that ``task`` reads to a spare place.

    That place alone makes the copy harmless; loading wants some task of DPU and DPU_RDMA (addendum 5.4).
    """
    pixel = FeatureMap(task.source.at, 1, 1, ATOM, ATOM)
    spare = FeatureMap.packed(LOADED, 1, 1, ATOM)
    label = f"load look-up tables for {task.label}"
    return FlyingTask(task.operator, label, Rows(pixel, 0, 1), _PASS, Rows(spare, 0, 1), task.rules, tables=tables)
