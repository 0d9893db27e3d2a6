"""Tasks grouped to jobs, each with the loading of the look-up tables that its tasks use.

A job runs on one core and whole; between two jobs anybody may use the core, and the next may run on another. So a job
relies on nothing that an earlier one left behind: it loads its tables itself, equal ones once while they stay current,
and its tasks fetch their weights unless the task right before them in the same job left them (addendum 7.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from rocketnpu.program.constants import ConstantPool
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise, convolution_tasks
from rocketnpu.rockchip.tasks.cycles import START, milliseconds, task_cycles
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    Conversion,
    ConvolutionTask,
    FlyingTask,
    Lookup,
    OutputStage,
    Rows,
    Task,
)

LOADED = "loaded"
"""Region that loaders write a slot of; nobody reads it."""
STATUS = "status "
"""Beginning of the names of regions that status tasks write; no NPU task reads them."""
OPENED = "opened"
"""Region that opening tasks write a slot of; nobody reads it."""
SPARE = (LOADED, OPENED)
_PASS = OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0))


def job_groups(tasks: Sequence[Task], soc: Soc) -> tuple[tuple[Task, ...], ...]:
    """Cut tasks into jobs of at most ``soc.job_cycles`` each, or of one task, ready to run by themselves."""
    groups: list[list[Task]] = [[]]
    spent = 0
    for task, cycles in zip(tasks, _costs(tasks, soc), strict=True):
        full = spent + cycles > soc.job_cycles or 2 * len(groups[-1]) >= soc.max_tasks  # each may get a loader
        if groups[-1] and full:
            groups.append([])
            spent = 0
        groups[-1].append(task)
        spent += cycles
    return tuple(tuple(with_fetches(with_loaders(group))) for group in groups)


def _costs(tasks: Iterable[Task], soc: Soc) -> Iterable[int]:
    """Estimate cycles of each task with the loader that it needs in front."""
    current: Lookup | None = None
    for task in tasks:
        wanted = _tables(task)
        fresh = wanted is not None and wanted != current
        current = wanted or current
        yield task_cycles(task, soc) + (START if fresh else 0)


def job_notes(tasks: Iterable[Task], soc: Soc) -> tuple[str, ...]:
    """Name the tasks that alone exceed what a job should hold: jobs cannot be cut inside a task."""
    return tuple(
        f"operator {task.operator}: task {task.label} takes {milliseconds(cycles, soc.clock_hz):.0f} ms at "
        f"{soc.clock_hz // 1_000_000} MHz by estimate; the mainline kernel ends a job after 500 ms"
        for task in tasks
        if (cycles := task_cycles(task, soc)) > soc.job_cycles
    )


def with_loaders(tasks: Iterable[Task]) -> Iterable[Task]:
    """Put a loader before each task whose tables are not those that were loaded last."""
    current: Lookup | None = None
    for task in tasks:
        wanted = _tables(task)
        if wanted is not None and wanted != current:
            yield loader(task, wanted)
            current = wanted
        yield task


def _tables(task: Task) -> Lookup | None:
    return task.output.lookup if isinstance(task, ConvolutionTask) else None


def with_fetches(tasks: Iterable[Task]) -> Iterable[Task]:
    """Have each task of a job fetch its weights unless the task right before it left them.

    Reuse holds within one job, from one task to the next, with kernels and bank split the same; elsewhere the chip
    computes garbage without a sign (addendum 7.2).
    """
    previous: Task | None = None
    for task in tasks:
        kept = task
        if isinstance(task, ConvolutionTask) and task.weights.reuse and not _leaves_weights(previous, task):
            kept = replace(task, weights=replace(task.weights, reuse=False))
        yield kept
        previous = kept


def _leaves_weights(previous: Task | None, task: ConvolutionTask) -> bool:
    if not isinstance(previous, ConvolutionTask):
        return False
    same_weights = replace(previous.weights, reuse=True) == task.weights
    same_split = (previous.banks.data, previous.banks.weights) == (task.banks.data, task.banks.weights)
    return same_weights and same_split and previous.kernel.size == task.kernel.size


def loader(task: Task, tables: Lookup) -> FlyingTask:
    """Make the task that loads ``tables`` for ``task``: it copies the first pixel that ``task`` reads to a spare place.

    That place alone makes the copy harmless; loading wants some task of DPU and DPU_RDMA (addendum 5.4).
    """
    slot = task.source.feature.slot
    pixel = FeatureMap(task.source.at, 1, 1, slot, slot, slot)
    spare = FeatureMap.packed(LOADED, 1, 1, slot, slot)
    label = f"load look-up tables for {task.label}"
    return FlyingTask(task.operator, label, Rows(pixel, 0, 1), _PASS, Rows(spare, 0, 1), task.rules, tables=tables)


def status_task(job: int, last: Task, constants: ConstantPool, soc: Soc) -> ConvolutionTask:
    """Make a task that ends a job by writing a slot which nothing else writes.

    Args:
        job: number of the job.
        last: the task that it follows.
        constants: where its weights and its pixel go.
        soc: the chip.
    """
    return _slot_task(last.operator, f"status of job {job}:", f"{STATUS}{job}", constants, soc)


def opened(group: tuple[Task, ...], constants: ConstantPool, soc: Soc) -> tuple[Task, ...]:
    """Have a job that begins with a flying task begin with a convolution instead.

    A flying task that is started by itself, behind somebody else's convolution, may hang; inside a chain it does not
    (outside 2.5).
    """
    if not isinstance(group[0], FlyingTask):
        return group
    label = f"convolution before {group[0].label}:"
    return (_slot_task(group[0].operator, label, OPENED, constants, soc), *group)


def _slot_task(operator: int, label: str, region: str, constants: ConstantPool, soc: Soc) -> ConvolutionTask:
    """Make a task that writes one slot of a region of its own.

    It is a 1x1 convolution of one pixel, the same as a fully connected layer of 16 inputs and outputs, because those
    are exact on silicon (addendum 1.7) while a plain copy of bytes is not proven there.
    """
    slot = soc.slot
    layer = ConvolutionLayer(
        operator=operator,
        label=label,
        source=FeatureMap(constants.add(bytes(slot)), 1, 1, slot, slot, slot),
        target=FeatureMap.packed(region, 1, 1, slot, slot),
        weights=np.zeros((slot, 1, 1, slot), np.int8),
        weight_zero_point=0,
        biases=np.zeros(slot, np.int64),
        stride=(1, 1),
        dilation=(1, 1),
        padding=(0, 0),
        pad_value=0,
        requantise=Requantise(Conversion(1 << 14, 14, 0)),
    )
    (task,) = convolution_tasks(layer, constants, soc)
    return task
