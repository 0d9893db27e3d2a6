"""The cut of a convolution is the cheapest of those considered, by the judge's own figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rockchip.tasks.layers import plain_layer
from rocketnpu.program.constants import ConstantPool
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cbuf import shares
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import convolution_tasks, explained
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Combine, Elementwise, Lookup, Rows
from rocketnpu.rockchip.timing.judge import judge_words
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.work import cycles


@pytest.mark.parametrize(
    ("size", "window", "channels", "kernels"), [(14, 1, 512, 512), (56, 3, 128, 128), (28, 1, 64, 33), (30, 5, 40, 300)]
)
@pytest.mark.parametrize("target", ["mainline", "vendor"])
def test_the_cheapest_is_taken_and_costs_what_the_judge_says(
    size: int, window: int, channels: int, kernels: int, target: str
) -> None:
    start = start_cycles(target)
    layer = plain_layer(size, window, channels, kernels)
    (considered,) = explained(layer, RK3588, start)
    assert considered[0].cycles == min(one.cycles for one in considered)
    tasks = convolution_tasks(layer, ConstantPool(), RK3588, start)
    assert [task.target.count for task in tasks] == [tile.output_count for tile in considered[0].tiles]
    judged = [cycles(judge_words(emit(task, RK3588).words, RK3588), NETWORK_FIT).total for task in tasks]
    assert considered[0].cycles == sum(judged) + start * len(tasks)


Z, V = FeatureMap.packed("z", 24, 24, 80, 16), FeatureMap.packed("v", 1, 1, 80, 16)
ADDEND = Elementwise(Combine.ADD, Rows(Z, 0, 24), 0, 1, 0)
FACTOR = Elementwise(Combine.MULTIPLY, Rows(V, 0, 1), 0, 1, 0, per_channel=True)
TABLES = Lookup((0,) * 513, (0,) * 513)


@pytest.mark.parametrize("window", [(3, 5), (5, 1), (1, 4)])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    "changes", [{}, {"addend": ADDEND}, {"addend": FACTOR}, {"lookup": TABLES}], ids=["plain", "sum", "factor", "table"]
)
def test_estimates_are_the_judges_for_every_stage(
    window: tuple[int, int], depthwise: bool, changes: dict[str, Any]
) -> None:
    """Windows that are no squares, operands for each pixel and for all, tables."""
    weights = np.zeros((*window, 80) if depthwise else (80, *window, 80), np.int8)
    layer = replace(plain_layer(24, 1, 80, 80), weights=weights, padding=(window[0] // 2, window[1] // 2), **changes)
    start = start_cycles("vendor")
    tasks = convolution_tasks(layer, ConstantPool(), RK3588, start)
    works = [judge_words(emit(task, RK3588).words, RK3588) for task in tasks]
    assert [task_work(task, RK3588) for task in tasks] == works
    judged = [cycles(work, NETWORK_FIT).total for work in works]
    found = explained(layer, RK3588, start)
    assert sum(considered[0].cycles for considered in found) == sum(judged) + start * len(tasks)


def test_a_map_that_fits_beside_all_its_weights_is_one_task() -> None:
    """14x14x512, 512 kernels: four banks and eight. With Mesa's spare bank it took two tasks."""
    layer = plain_layer(14, 1, 512, 512)
    (task,) = convolution_tasks(layer, ConstantPool(), RK3588)
    assert (task.banks.data, task.banks.weights) == (4, 8)


def test_equal_costs_leave_mesas_choice() -> None:
    layer = plain_layer(8, 1, 64, 64)
    (considered,) = explained(layer, RK3588)
    assert considered[0].room == shares(64 * 64, 32 * 64, False, RK3588)[0]
    assert len({one.cycles for one in considered}) == 1


def test_an_alternative_can_be_read() -> None:
    (considered,) = explained(plain_layer(14, 1, 512, 512), RK3588)
    text = [str(one) for one in considered]
    assert text[0].startswith("14 rows, at most 4 banks of features, weights stay: ")
    assert any(one.startswith("8+6 rows, at most 3 banks") for one in text)
    assert any(one.startswith("7+7 rows, at most 3 banks") for one in text)


def test_starts_cost_what_the_kernels_take() -> None:
    """30 us at 198 MHz, 1 us at 1 GHz."""
    assert start_cycles("mainline") == start_cycles("simulator") == 5940
    assert start_cycles("vendor") == 1000
