"""Pooling layers cut to what a task of the pooling unit may have."""

from __future__ import annotations

import pytest

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import PoolingLayer, pooling_tasks
from rocketnpu.rockchip.tasks.task import PoolingTask


def layer(
    size: tuple[int, int],
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    made: tuple[int, int] | None = None,
) -> PoolingLayer:
    made = made or (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
    source, target = FeatureMap.packed("x", *size, 16, 16), FeatureMap.packed("y", *made, 16, 16)
    return PoolingLayer(3, "pool", source, target, kernel, stride, padding, -128, ("rule",))


def rows(tasks: list[PoolingTask]) -> list[int]:
    return [task.target.count for task in tasks]


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ((1, 8191), [1]),
        ((2, 4095), [2]),
        ((2, 4096), [1, 1]),
        ((8175, 1), [8175]),
        ((8176, 1), [8175, 1]),
        ((4087, 2), [4087]),
        ((4095, 2), [4095]),
        ((4096, 2), [4095, 1]),
    ],
)
def test_output_slots_and_rows_of_one_task(size: tuple[int, int], counts: list[int]) -> None:
    """8,191 output pixels (runs on RK3588; spec 6.4); the rows that are read are counted by 13 bits."""
    assert rows(pooling_tasks(layer(size))) == counts


@pytest.mark.parametrize("stride", [1, 2, 3, 16])
def test_tall_maps_are_cut_where_their_rows_end(stride: int) -> None:
    """However far windows reach, a task reads at most 8,191 rows."""
    tasks = pooling_tasks(layer((50_000, 1), (16, 1), (stride, 1), (7, 0), (50_000 // stride - 1, 1)))
    assert len(tasks) > 1
    assert max(task.source.count for task in tasks) <= 8191
    assert sum(rows(tasks)) == 50_000 // stride - 1
    step = 8175 // stride
    assert rows(tasks)[:-1] == [step] * (len(tasks) - 1)


def test_a_task_says_what_it_reads_and_makes() -> None:
    (task,) = pooling_tasks(layer((9, 12), (3, 2), (2, 2), (1, 0), (5, 6)))
    assert task.label == "pool rows 0..4 of 5x6x16"
    assert (task.operator, task.rules, task.macs, task.pad_value) == (3, ("rule",), 0, -128)
    assert (task.source.first, task.source.count, task.columns) == (0, 9, 12)
    assert (task.pad_before, task.pad_after) == ((1, 0), (1, 0))
    assert (task.kernel, task.stride) == ((3, 2), (2, 2))


def test_of_a_cut_layer_only_the_ends_are_padded() -> None:
    first, second = pooling_tasks(layer((4096, 2), (3, 1), (1, 1), (1, 0)))
    assert (first.pad_before, first.pad_after, first.source.first, first.source.count) == ((1, 0), (0, 0), 0, 4096)
    assert (second.pad_before, second.pad_after, second.source.first, second.source.count) == ((0, 0), (1, 0), 4094, 2)
    assert second.label == "pool rows 4095..4095 of 4096x2x16"


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "text"),
    [
        ((17, 1), (1, 1), (0, 0), "window 17x1 with stride 1x1, at most 16 is possible"),
        ((1, 1), (1, 17), (0, 0), "window 1x1 with stride 1x17, at most 16 is possible"),
        ((9, 9), (1, 1), (8, 0), "padding of 8, at most 7 is possible"),
    ],
)
def test_windows_that_the_unit_does_not_have(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], text: str
) -> None:
    with pytest.raises(UnsupportedError, match=text):
        pooling_tasks(layer((40, 40), kernel, stride, padding))


def test_a_layer_needs_the_rules_it_names() -> None:
    assert layer((4, 4)).unproven == ("rule",)
    assert PoolingLayer(0, "", *(FeatureMap.packed("x", 1, 1, 1, 16),) * 2, (1, 1), (1, 1), (0, 0), 0).unproven == ()
