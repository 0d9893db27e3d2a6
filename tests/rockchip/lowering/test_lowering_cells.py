"""Pictures in cells: what stride 2 reads of pixels is read at stride 1 of two by two of them, with the same results."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import SCHEMES, Bench, Seeded
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Activation, DType, Graph, Padding, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.layout import CellLayout, SurfaceLayout
from rocketnpu.rockchip.lowering.convolution import Kernel, cell_kernel
from rocketnpu.rockchip.lowering.placement import place as place_all
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import cells
from rocketnpu.rockchip.tasks.task import ConvolutionTask
from strategies import weigh

PROVEN = Policy("mainline", allow_unproven=False)


def stem(
    channels: int, size: tuple[int, int], scheme: str, kernel: int, padding: Padding, stride: int = 2, seed: int = 0
) -> Graph:
    """A convolution of a picture."""
    bench = Bench.of(Seeded(seed), (scheme,))
    x = bench.input((1, *size, channels))
    found = weigh(bench, x, (24, kernel, kernel, channels), 0, kernel**2 * channels, Activation.RELU, always=True)
    reach = 0 if padding is Padding.SAME else kernel - 1
    rows, columns = (-(-(length - reach) // stride) for length in size)
    y = bench.output((1, rows, columns, 24), found.mean, found.spread)
    attributes = ops.Conv2D((stride, stride), padding, (1, 1), Activation.RELU)
    (part,) = plan(bench.finish("CONV_2D", found.after(x[0]), y, attributes, [x[0]]).graph).parts
    return part


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7])
def test_results_are_the_integer_models_and_those_of_slots(kernel: int, padding: Padding, scheme: str) -> None:
    for channels, size in ((3, (26, 20)), (1, (12, 34)), (4, (8, 14)), (2, (10, 10))):
        part = stem(channels, size, scheme, kernel, padding, seed=kernel)
        (number,) = part.inputs
        tensor = part.tensors[number]
        picture: Any = np.random.default_rng(1).integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype.value)
        program = compile_graph(part, PROVEN)
        assert isinstance(program.inputs[0].layout, CellLayout)
        with SimulatorDevice() as device:
            (made,) = run(device, program, [picture])
        np.testing.assert_array_equal(made, graph_model(part, {number: picture}, PROVEN)[part.outputs[0]])
        whole = stem(channels, (size[0], size[1] + 16), scheme, kernel, padding, seed=kernel)
        assert [task.kernel.stride for task in lower(whole, RK3588, PROVEN).tasks] == [(1, 1)]


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 8), st.integers(1, 8), st.integers(1, 4),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=150)
def test_a_kernel_on_cells_is_the_kernel_on_pixels(
    rows: int, columns: int, height: int, width: int, channels: int, above: int, left: int, seed: int
) -> None:
    """Without any layer: sums over windows, computed from pixels and from cells, element by element."""
    random = np.random.default_rng(seed)
    padding = min(above, height - 1), min(left, width - 1)
    picture = random.integers(-128, 128, (2 * (rows + height), 2 * (columns + width), channels), np.int8)
    weights = random.integers(-128, 128, (3, height, width, channels), np.int8)
    kernel = Kernel(weights, 5, np.ones(1), np.zeros(3, np.int64))
    made, shifted = cell_kernel(kernel, padding)
    plain = _sums(picture, weights.astype(np.int64) - 5, padding, 2, (rows, columns))
    celled = _sums(cells(picture), made.weights.astype(np.int64) - 5, shifted, 1, (rows, columns))
    np.testing.assert_array_equal(plain, celled)


def _sums(x: Any, weights: Any, padding: tuple[int, int], stride: int, size: tuple[int, int]) -> Any:
    """Sum over windows; what is padded counts as 0."""
    _, height, width, _ = weights.shape
    found = np.zeros((*size, len(weights)), np.int64)
    for y in range(size[0]):
        for column in range(size[1]):
            for ky in range(height):
                for kx in range(width):
                    row, place = y * stride + ky - padding[0], column * stride + kx - padding[1]
                    if 0 <= row < x.shape[0] and 0 <= place < x.shape[1]:
                        found[y, column] += weights[:, ky, kx] @ x[row, place].astype(np.int64)
    return found


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.booleans(), st.integers(0, 3))
def test_cells_hold_each_byte_where_they_say(rows: int, columns: int, channels: int, flip: bool, offset: int) -> None:
    layout = CellLayout(2 * rows, 2 * columns, channels, 16 * offset, flip, 16)
    picture = np.random.default_rng(rows).integers(0, 256, (1, 2 * rows, 2 * columns, channels), np.uint8)
    memory = np.full(layout.end + 5, 0x55, np.uint8)
    layout.pack(picture, memory.data)
    places = set()
    for y in range(2 * rows):
        for x in range(2 * columns):
            for c in range(channels):
                cell = y // 2 * columns + x // 2
                place = layout.offset + cell * 16 + (y % 2 * 2 + x % 2) * channels + c
                places.add(place)
                assert memory[place] == picture[0, y, x, c] ^ (0x80 if flip else 0)
    assert all(memory[place] == 0x55 for place in set(range(memory.size)) - places)
    back = np.zeros_like(picture)
    layout.unpack(memory.data, back)
    np.testing.assert_array_equal(back, picture)


@pytest.mark.parametrize(
    "change", [{"height": 5}, {"width": 3}, {"channels": 5}, {"offset": 1}, {"offset": -2}, {"slot": 2}, {"offset": 64}]
)
def test_layouts_that_are_none_are_refused(change: dict[str, int]) -> None:
    layout = replace(CellLayout(4, 4, 3, 0, False, 16), **change)
    with pytest.raises(ValueError, match=r"layout|cells"):
        layout.check(4 * 4 * 3, 64)


@pytest.mark.parametrize(
    ("channels", "size", "stride", "why"),
    [
        (5, (16, 16), 2, "more than four channels"),
        (3, (15, 16), 2, "an odd height"),
        (3, (16, 18), 1, "stride 1"),
        (3, (18, 18), 3, "stride 3"),
    ],
)
def test_others_stay_in_slots(channels: int, size: tuple[int, int], stride: int, why: str) -> None:
    part = stem(channels, size, "int8", 3, Padding.SAME, stride)
    assert isinstance(compile_graph(part, PROVEN).inputs[0].layout, SurfaceLayout), why


@pytest.mark.parametrize(("kernel", "celled"), [(3, False), (5, True), (7, True)])
def test_all_rules_choose_between_packed_pictures_and_cells(kernel: int, celled: bool) -> None:
    """Packed pictures save the host's conversion, cells the NPU's time: much of it where kernels are large."""
    part = stem(3, (64, 64), "int8", kernel, Padding.SAME)
    layout = compile_graph(part, Policy("mainline")).inputs[0].layout
    assert isinstance(layout, CellLayout) == celled
    assert celled or layout.slot == 3


def test_cells_take_a_quarter_of_the_loads() -> None:
    (celled,) = (stem(3, (64, 64), "int8", 3, Padding.SAME),)
    tasks = lower(celled, RK3588, PROVEN).tasks
    assert all(isinstance(task, ConvolutionTask) for task in tasks)
    assert sum(task.source.count for task in tasks) == 32
    assert {task.source.feature.channels for task in tasks} == {12}


def test_a_picture_is_found_behind_any_number_of_views() -> None:
    """Behind more of them than functions may call one another."""
    graph = stem(3, (8, 8), "uint8", 3, Padding.SAME)
    (convolution,), (number,) = graph.operators, graph.inputs
    count, tensors, views, seen = sys.getrecursionlimit() + 100, dict(graph.tensors), [], number
    shape = max(tensors) + 1
    tensors[shape] = Tensor(shape, "shape", (4,), DType.INT32, data=np.array(tensors[number].shape, np.int32))
    for place in range(count):
        made = shape + 1 + place
        tensors[made] = replace(tensors[number], index=made)
        views.append(ops.Operator(place, "RESHAPE", (seen, shape), (made,)))
        seen = made
    last = replace(convolution, index=count, inputs=(seen, *convolution.inputs[1:]))
    features = place_all(replace(graph, tensors=tensors, operators=(*views, last)), RK3588, PROVEN)
    assert features[number].in_cells
    assert features[seen] == features[number]
