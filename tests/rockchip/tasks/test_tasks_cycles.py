"""The estimate of cycles against the vendor's formula and published times."""

from __future__ import annotations

import pytest

from rocketnpu.program.constants import Location
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cycles import START, milliseconds, task_cycles
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    Banks,
    Conversion,
    ConvolutionTask,
    FlyingTask,
    KernelShape,
    Lookup,
    OutputStage,
    PoolingTask,
    Rows,
    WeightBlock,
)

PLAIN = OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0))
TABLES = Lookup((0,) * 513, (0,) * 513)


def convolution(
    size: int, window: int, channels: int, kernels: int, depthwise: bool = False, lookup: Lookup | None = None
) -> ConvolutionTask:
    source, target = (
        FeatureMap.packed(name, size, size, count, 16) for name, count in (("x", channels), ("y", kernels))
    )
    weights = WeightBlock(Location("constants"), 1 if depthwise else kernels, window * window * channels, depthwise)
    return ConvolutionTask(
        0,
        "",
        Rows(source, 0, size),
        KernelShape((window, window), (1, 1), (1, 1), window // 2, window // 2, 0),
        weights,
        Banks(6, 6, 4),
        0,
        OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0), lookup=lookup),
        Rows(target, 0, size),
    )


@pytest.mark.parametrize(
    ("task", "busy"),
    [
        (convolution(40, 3, 128, 128), 1600 * 9 * 4 * 4),
        (convolution(40, 3, 16, 16), 1600 * 9),  # one block of channels at least
        (convolution(40, 5, 128, 128, depthwise=True), 1600 * 25 * 2),
        (convolution(7, 3, 16, 16), 64 * 9),  # pixels in blocks of 16
        (convolution(3, 3, 64, 64), 64 * 32 * 9 // 12),  # kernels behind the first group, slower than they are used
        (convolution(40, 1, 64, 64, lookup=TABLES), 1600 * 64 // 2),
    ],
)
def test_convolutions_follow_the_vendors_formula(task: ConvolutionTask, busy: int) -> None:
    source, window = task.source.feature, task.kernel.size[0] * task.kernel.size[1]
    group = window * 64 if task.weights.depthwise else 32 * task.weights.kernel_bytes
    first = min(group, task.weights.bytes)
    load = -(-(source.surfaces * 16 * source.height * source.width + first) // 12)
    assert task_cycles(task, RK3588) == START + load + busy


def test_measured_layers_are_not_underestimated_by_much() -> None:
    """32 -> 32, 1x1, 480x480 with SiLU: 4204 us at 1 GHz; 6x6x3 -> 32 at 320x320: 4041 us (timing 4.1, 4.2)."""
    silu = task_cycles(convolution(480, 1, 32, 32, lookup=TABLES), RK3588) - START
    assert 0.9 < milliseconds(silu, 10**9) / 4.204 < 1.25
    stem = task_cycles(convolution(320, 6, 3, 32), RK3588) - START
    assert 0.9 < milliseconds(stem, 10**9) / 4.041 < 1.25


def test_tasks_without_multiplications_take_time() -> None:
    x, y = FeatureMap.packed("x", 64, 64, 32, 16), FeatureMap.packed("y", 64, 64, 32, 16)
    copy = FlyingTask(0, "", Rows(x, 0, 64), PLAIN, Rows(y, 0, 64))
    assert task_cycles(copy, RK3588) == START + -(-2 * 64 * 64 * 32 // 11)
    pooled = FeatureMap.packed("y", 32, 32, 32, 16)
    pool = PoolingTask(0, "", Rows(x, 0, 64), 64, (2, 2), (2, 2), (0, 0), (0, 0), 0, Rows(pooled, 0, 32))
    assert task_cycles(pool, RK3588) == START + -(-64 * 64 * 32 * 5 // 9)
    assert len(job_groups([copy, pool] * 1000, RK3588)) > 1


def test_tables_are_loaded_again_where_a_job_begins() -> None:
    task = convolution(320, 1, 64, 64, lookup=TABLES)
    groups = job_groups([task] * 12, RK3588)
    assert len(groups) > 1
    for group in groups:
        assert isinstance(group[0], FlyingTask)
        assert sum(isinstance(each, FlyingTask) for each in group) == 1
        assert sum(task_cycles(each, RK3588) for each in group) <= RK3588.job_cycles + START * 2
