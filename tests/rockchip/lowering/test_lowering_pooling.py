"""MAX_POOL_2D by the pooling unit and by convolutions, AVERAGE_POOL_2D and MEAN: exact, or within 1."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_checks import PROVEN, check, single, writes

from bench import Case
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy, Target
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import MAX_SLOTS, PoolingLayer, pooling_tasks, window_span
from rocketnpu.rockchip.tasks.task import PoolingTask
from strategies import case, cases

PPU, DPU = 0x60, 0x1D
MAINLINE = Policy("mainline")
FEW = ("lowest", "rows", "random")


def pool(
    kind: str,
    size: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: Padding = Padding.VALID,
    activation: Activation = Activation.NONE,
    zero: int = 7,
    dtype: DType = DType.INT8,
) -> Case:
    """A pool over a map of rows, columns and channels."""
    out = [
        -(-n // s) if padding is Padding.SAME else (n - k) // s + 1
        for n, k, s in zip(size[:2], kernel, stride, strict=True)
    ]
    tensors = [((1, *size), 0.1, zero), ((1, *out, size[2]), 0.1, zero)]
    return single(kind, tensors, ops.Pool2D(stride, padding, kernel, activation), dtype)


@pytest.mark.parametrize("target", ["simulator", "vendor", "mainline"])
def test_pools_on_all_pictures(target: Target) -> None:
    taken: Counter[str] = Counter()
    for seed in range(45):
        found = case("pool", seed)
        kind = found.graph.operators[0].kind
        assert check(found, 0 if kind == "MAX_POOL_2D" else 1, Policy(target)) == ""
        taken[kind] += 1
    assert min(taken.values()) >= 10


@settings(max_examples=40)
@given(found=cases("pool"), target=st.sampled_from(["simulator", "mainline"]))
def test_random_pools(found: Case, target: Target) -> None:
    exact = found.graph.operators[0].kind == "MAX_POOL_2D"
    assert check(found, 0 if exact else 1, Policy(target), ("random", "columns")) == ""


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1])
@pytest.mark.parametrize("target", ["simulator", "mainline"])
@pytest.mark.parametrize("zero", [-128, 7])
def test_clamps_behind_maxima(activation: Activation, target: Target, zero: int) -> None:
    found = pool("MAX_POOL_2D", (9, 8, 20), (3, 2), (2, 2), Padding.SAME, activation, zero)
    assert check(found, 0, Policy(target)) == ""


def test_a_wide_map_is_cut_at_the_unit_s_slots() -> None:
    found = pool("MAX_POOL_2D", (150, 140, 17), (3, 3), padding=Padding.SAME)
    assert check(found, 0, patterns=FEW) == ""
    tasks = compile_graph(found.graph).tasks
    assert len(tasks) == -(-150 * 140 // (MAX_SLOTS // 140 * 140))
    assert {task.kind for task in tasks} == {PPU}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((9, 11, 3), (2, 2), (2, 2), Padding.VALID),  # a row and a column are left over
        ((20, 20, 3), (16, 16), (4, 4), Padding.VALID),
        ((33, 33, 3), (2, 3), (16, 11), Padding.VALID),  # gaps between windows
        ((33, 20, 3), (1, 1), (13, 3), Padding.SAME),
        ((5, 6, 3), (1, 1), (1, 1), Padding.SAME),
        ((4, 4, 3), (4, 4), (9, 20), Padding.SAME),  # a single output: strides do not matter
    ],
)
def test_the_unit_s_geometry(size: tuple[int, int, int], kernel: tuple, stride: tuple, padding: Padding) -> None:
    found = pool("MAX_POOL_2D", size, kernel, stride, padding)
    assert check(found, 0) == ""
    tasks = [task for task in compile_graph(found.graph).tasks if not task.label.startswith("status")]
    assert {task.kind for task in tasks} == {PPU}


def test_large_windows_become_convolutions() -> None:
    for kernel, padding in (((16, 16), Padding.SAME), ((17, 3), Padding.VALID), ((31, 2), Padding.SAME)):
        found = pool("MAX_POOL_2D", (33, 33, 5), kernel, (1, 1), padding)
        assert check(found, 0, patterns=FEW) == ""
        assert {task.kind for task in compile_graph(found.graph).tasks} == {DPU}


def test_the_mainline_kernel_gets_no_task_without_an_interrupt() -> None:
    for seed in range(30):
        program = compile_graph(case("pool", seed).graph, MAINLINE)
        assert {task.kind for task in program.tasks} == {DPU}
        assert Unproven.POOLING_UNIT not in program.rules


@pytest.mark.parametrize(
    ("kernel", "stride", "target"),
    [
        ((32, 3), (1, 1), "simulator"),
        ((3, 3), (17, 1), "vendor"),
        ((17, 3), (8, 8), "vendor"),
        ((3, 3), (8, 1), "mainline"),
    ],
)
def test_windows_for_which_nothing_does(kernel: tuple, stride: tuple, target: Target) -> None:
    found = pool("MAX_POOL_2D", (70, 70, 3), kernel, stride)
    divided = plan(found.graph, Policy(target))
    assert "window" in divided.decisions[0].reason
    assert not divided.parts


def test_the_policy_keeps_maxima_on_the_cpu() -> None:
    found = pool("MAX_POOL_2D", (8, 8, 16), (2, 2), (2, 2))
    for target, rule in (("simulator", Unproven.POOLING_UNIT), ("mainline", Unproven.ELEMENTWISE_MAXIMUM)):
        proven = Policy(target, allow_unproven=False)
        assert rule in plan(found.graph, proven).decisions[0].reason
        with pytest.raises(UnsupportedError, match=rule):
            compile_graph(found.graph, proven)
        assert rule in compile_graph(found.graph, Policy(target)).rules


def test_other_scales_stay_on_the_cpu() -> None:
    shape = (1, 4, 4, 3)
    attributes = ops.Pool2D((1, 1), Padding.SAME, (2, 2))
    found = single("MAX_POOL_2D", [(shape, 0.1, 0), (shape, 0.2, 0)], attributes)
    assert "same scale" in plan(found.graph).decisions[0].reason


def test_registers_of_a_maximum() -> None:
    found = pool("MAX_POOL_2D", (9, 12, 20), (3, 2), (2, 2), Padding.SAME)
    (task,) = lower(found.graph, RK3588, Policy()).tasks
    known = {
        0x6004: 0xE,
        0x7004: 0xE,
        0x600C: 11,
        0x6010: 8,
        0x6014: 31,
        0x6018: 5,
        0x601C: 4,
        0x6020: 31,
        0x6024: 0x11,
        0x6034: 1 | 2 << 8 | 1 << 16 | 1 << 20,
        0x6038: 0,
        0x603C: 0,
        0x6040: 0 | 1 << 4 | 0 << 8 | 1 << 12,
        0x6044: 0xFFFFFF80,
        0x6048: 7,
        0x607C: 5 * 6 * 16,
        0x6084: 5 * 6 * 16,
        0x60DC: 3,
        0x7024: 12 * 16,
        0x7028: 9 * 12 * 16,
        0x7030: 1,
    }
    found_registers = writes(emit(task, RK3588).words)
    assert {offset: found_registers[offset] for offset in known} == known


@given(
    size=st.integers(1, 60),
    kernel=st.integers(1, 16),
    stride=st.integers(1, 16),
    padding=st.integers(0, 15),
    first=st.integers(0, 8),
    count=st.integers(1, 8),
)
def test_spans_hold_what_windows_cover(
    size: int, kernel: int, stride: int, padding: int, first: int, count: int
) -> None:
    cells = {
        place
        for window in range(first, first + count)
        for place in range(window * stride - padding, window * stride - padding + kernel)
    }
    low, high = min(cells), max(cells)
    inside = [place for place in range(low, high + 1) if 0 <= place < size]
    assume(inside)
    span = window_span(size, kernel, stride, padding, first, count)
    assert list(range(span.first, span.first + span.count)) == inside
    assert span.before + span.count + span.after == (count - 1) * stride + kernel
    assert span.before == max(0, -low)


@given(rows=st.integers(1, 400), columns=st.integers(1, 2047))
def test_tasks_cover_each_row_once(rows: int, columns: int) -> None:
    feature = FeatureMap.packed("x", rows, columns, 16, 16)
    layer = PoolingLayer(
        0, "pool", feature, FeatureMap.packed("y", rows, columns, 16, 16), (3, 3), (1, 1), (1, 1), -128
    )
    tasks = pooling_tasks(layer)
    assert [row for task in tasks for row in range(task.target.first, task.target.first + task.target.count)] == list(
        range(rows)
    )
    for task in tasks:
        assert isinstance(task, PoolingTask)
        assert task.target.count * columns <= MAX_SLOTS
        assert task.pad_before[0] + task.source.count + task.pad_after[0] == task.target.count + 2


@pytest.mark.parametrize("padding", [Padding.SAME, Padding.VALID])
@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_averages_leave_padding_out(padding: Padding, activation: Activation, dtype: DType) -> None:
    found = pool("AVERAGE_POOL_2D", (9, 10, 33), (3, 3), (1, 2), padding, activation, 30, dtype)
    assert check(found, 1) == ""
    rules = compile_graph(found.graph).rules
    assert (Unproven.ELEMENTWISE_MULTIPLY in rules) == (padding is Padding.SAME)


def test_padded_averages_want_factors_that_are_bytes() -> None:
    found = pool("AVERAGE_POOL_2D", (20, 20, 3), (9, 9), (1, 1), Padding.SAME)
    assert "one common divisor" in plan(found.graph).decisions[0].reason
    with pytest.raises(UnsupportedError, match="one common divisor"):
        compile_graph(found.graph)


@pytest.mark.parametrize(
    "size", [(32, 32, 40), (112, 112, 17), (56, 33, 16), (37, 5, 65), (182, 182, 3), (217, 8, 33), (3, 150, 1)]
)
def test_means_over_large_maps_are_proven_and_accurate(size: tuple[int, int, int]) -> None:
    shape = (1, *size)
    axes = np.array([1, 2], np.int32)
    for seed, factor in enumerate((1.0, 0.5)):
        found = mean(shape, (1, 1, 1, size[2]), axes, factor, seed * 100 - 90)
        assert check(found, 1, PROVEN) == ""
    assert check(pool("AVERAGE_POOL_2D", size, size[:2]), 1, PROVEN, FEW) == ""


def mean(shape: tuple[int, ...], out: tuple[int, ...], axes: np.ndarray, factor: float = 1.0, zero: int = 3) -> Case:
    """A MEAN whose output scale is ``factor`` times the input's."""
    builder = ModelBuilder()
    x = builder.tensor(shape, DType.INT8, scale=0.05, zero_point=zero)
    y = builder.tensor(out, DType.INT8, scale=0.05 * factor, zero_point=zero if factor == 1.0 else -10)
    reduce = ops.Reduce(len(out) == len(shape))
    builder.operator("MEAN", [x, builder.tensor(axes.shape, DType.INT32, data=axes)], [y], reduce)
    return Case("MEAN", builder.build([x], [y]), 2)


@pytest.mark.parametrize("axis", [1, 2, -2])
@pytest.mark.parametrize("keep", [True, False])
def test_means_over_one_axis(axis: int, keep: bool) -> None:
    shape = (1, 7, 12, 20)
    out = tuple(1 if place == axis % 4 else n for place, n in enumerate(shape) if keep or place != axis % 4)
    assert check(mean(shape, out, np.array([axis], np.int32), 0.7), 1, PROVEN) == ""


@pytest.mark.parametrize("size", [(218, 4), (217, 217), (300, 300)])
def test_maps_too_large_for_two_steps(size: tuple[int, int]) -> None:
    found = mean((1, *size, 3), (1, 1, 1, 3), np.array([1, 2], np.int32))
    reason = plan(found.graph).decisions[0].reason
    assert "704" in reason
    assert not plan(found.graph).parts


def test_a_large_window_that_is_not_the_map() -> None:
    found = pool("AVERAGE_POOL_2D", (40, 40, 3), (33, 33))
    assert "31 rows" in plan(found.graph).decisions[0].reason
