"""Jobs: how much one may hold, which tables it loads, and which weights it may rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocketnpu.program.constants import ConstantPool, Location
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cycles import START, task_cycles
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.jobs import (
    job_groups,
    job_notes,
    loader,
    opened,
    status_task,
    with_fetches,
    with_loaders,
)
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    Banks,
    Conversion,
    ConvolutionTask,
    FlyingTask,
    KernelShape,
    Lookup,
    OutputStage,
    Rows,
    WeightBlock,
)

ONE, OTHER = Lookup((0,) * 513, (1,) * 513), Lookup((2,) * 513, (3,) * 513)
X, Y = FeatureMap.packed("x", 8, 8, 16, 16), FeatureMap.packed("y", 8, 8, 32, 16)


def task(lookup: Lookup | None = None, *, reuse: bool = False, **changes: object) -> ConvolutionTask:
    output = OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0), lookup=lookup)
    weights = WeightBlock(Location("constants"), 32, 16, False, reuse)
    kernel = KernelShape((1, 1), (1, 1), (1, 1), 0, 0, 0)
    made = ConvolutionTask(7, "name", Rows(X, 2, 4), kernel, weights, Banks(6, 6, 2), 0, output, Rows(Y, 0, 4))
    return replace(made, **changes)  # type: ignore[arg-type]


COPY = FlyingTask(1, "copy", Rows(X, 0, 8), OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0)), Rows(X, 0, 8))


def lengths(tasks: list[ConvolutionTask], cycles: int, most: int = 4095) -> list[int]:
    return [len(group) for group in job_groups(tasks, replace(RK3588, job_cycles=cycles, max_tasks=most))]


def test_a_job_holds_no_more_cycles_than_it_may() -> None:
    cost = task_cycles(task(), RK3588)
    assert lengths([task()] * 6, 3 * cost) == [3, 3]
    assert lengths([task()] * 6, 3 * cost - 1) == [2, 2, 2]
    assert lengths([task()] * 3, cost) == [1, 1, 1]
    assert lengths([task()] * 3, cost - 1) == [1, 1, 1], "a single task is a job, whatever it costs"
    assert lengths([task()], 0) == [1]


def test_loaders_cost_a_start() -> None:
    cost = task_cycles(task(ONE), RK3588)
    assert lengths([task(ONE)] * 2, 2 * cost + START) == [3]
    assert lengths([task(ONE)] * 2, 2 * cost + START - 1) == [2, 2]
    assert lengths([task(ONE), task(OTHER)], 2 * cost + 2 * START) == [4]
    assert lengths([task(ONE), task(OTHER)], 2 * cost + 2 * START - 1) == [2, 2]


@pytest.mark.parametrize(("most", "found"), [(8, [4, 2]), (9, [5, 1]), (7, [4, 2]), (2, [1] * 6), (12, [6])])
def test_each_task_of_a_job_may_get_a_loader(most: int, found: list[int]) -> None:
    assert lengths([task()] * 6, 1 << 40, most) == found


def test_tables_are_loaded_where_they_change() -> None:
    tasks = [task(), task(ONE), task(), COPY, task(ONE), task(OTHER), task(ONE)]
    found = list(with_loaders(tasks))
    tables = [each.tables if isinstance(each, FlyingTask) else None for each in found]
    assert tables == [None, ONE, None, None, None, None, OTHER, None, ONE, None]
    assert [each for each in found if not isinstance(each, FlyingTask) or each.tables is None] == tasks


def test_a_loader_copies_a_pixel_to_where_nobody_reads() -> None:
    asked = task(ONE, rules=("some rule",))
    found = loader(asked, ONE)
    assert (found.operator, found.label, found.rules) == (7, "load look-up tables for name", ("some rule",))
    assert found.source == Rows(FeatureMap(Location("x", 2 * 8 * 16), 1, 1, 16, 16, 16), 0, 1)
    assert found.target == Rows(FeatureMap(Location("loaded"), 1, 1, 16, 16, 16), 0, 1)
    assert found.output == OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0))
    assert found.tables is ONE


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (task(), True),
        (task(reuse=True), True),
        (None, False),
        (COPY, False),
        (task(banks=Banks(5, 6, 2)), False),
        (task(banks=Banks(6, 5, 2)), False),
        (task(banks=Banks(6, 6, 3)), True),
        (task(kernel=KernelShape((2, 1), (1, 1), (1, 1), 0, 0, 0)), False),
        (task(kernel=KernelShape((1, 1), (2, 1), (1, 1), 1, 0, 5)), True),
        (task(weights=WeightBlock(Location("constants", 16), 32, 16, False)), False),
        (task(weights=WeightBlock(Location("constants"), 34, 16, False)), False),
        (task(weights=WeightBlock(Location("constants"), 32, 32, False)), False),
    ],
)
def test_weights_stay_only_from_one_task_to_the_next(before: ConvolutionTask | FlyingTask | None, kept: bool) -> None:
    """The very same kernels under the same split of the buffer (addendum 7.2)."""
    asked = task(reuse=True)
    *_, found = with_fetches([asked] if before is None else [before, asked])
    assert isinstance(found, ConvolutionTask)
    assert found.weights.reuse == kept
    assert replace(found, weights=asked.weights) == asked


def test_a_row_of_tasks_fetches_once() -> None:
    found = list(with_fetches([task(reuse=True)] * 4))
    assert [each.weights.reuse for each in found if isinstance(each, ConvolutionTask)] == [False, True, True, True]


def test_tasks_that_alone_take_too_long_are_named() -> None:
    cycles = task_cycles(task(), RK3588)
    assert job_notes([task()], replace(RK3588, job_cycles=cycles)) == ()
    soc = replace(RK3588, job_cycles=cycles - 1, clock_hz=1_000_000)
    text = f"operator 7: task name takes {cycles / 1000:.0f} ms at 1 MHz by estimate"
    assert job_notes([task(), COPY], soc)[0] == f"{text}; the mainline kernel ends a job after 500 ms"


def test_a_job_begins_with_a_convolution() -> None:
    pool = ConstantPool()
    assert opened((task(), COPY), pool, RK3588) == (task(), COPY)
    first, second = opened((COPY,), pool, RK3588)
    assert second is COPY
    assert isinstance(first, ConvolutionTask)
    assert (first.operator, first.target.feature.at, first.target.count) == (1, Location("opened"), 1)
    assert first.label == "convolution before copy: rows 0..0 of 1x1x16"


def test_a_status_task_writes_one_slot_of_its_own() -> None:
    found = status_task(5, task(), ConstantPool(), RK3588)
    assert (found.operator, found.label) == (7, "status of job 5: rows 0..0 of 1x1x16")
    assert found.target.feature == FeatureMap.packed("status 5", 1, 1, 16, 16)
    assert found.source.feature.channels == 16
    assert found.rules == ()
    assert (found.weights.kernels, found.weights.kernel_bytes, found.macs) == (16, 16, 256)
    assert found.output.conversion == Conversion(1 << 14, 14, 0)
