"""Convolution layers: cut by kernels and by rows, what they ask of the chip, and what the chip cannot hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rockchip.tasks.layers import plain_layer
from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import ConstantPool, Location
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cbuf import Share, check_row, map_entries, row_entries, shares
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise, convolution_tasks, outlined_tasks
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import (
    MEMORY,
    Combine,
    Conversion,
    Elementwise,
    Lookup,
    Multiply,
    Rows,
    Stage,
)


def depthwise(size: int, window: int, channels: int) -> ConvolutionLayer:
    layer = plain_layer(size, window, channels, channels)
    return replace(layer, weights=np.zeros((window, window, channels), np.int8))


def tasks_of(layer: ConvolutionLayer) -> list[Any]:
    """Both ways to make tasks agree but for where constants lie."""
    found, outlined = convolution_tasks(layer, ConstantPool(), RK3588), outlined_tasks(layer, RK3588)

    def bare(task: Any) -> Any:
        weights = replace(task.weights, at=Location(""))
        return replace(task, weights=weights, output=replace(task.output, operands=None))

    assert [bare(task) for task in found] == [bare(task) for task in outlined]
    return list(found)


@pytest.mark.parametrize("layer", [plain_layer(8, 3, 48, 48), depthwise(8, 3, 48)])
def test_a_slice_of_kernels_takes_what_belongs_to_them(layer: ConvolutionLayer) -> None:
    operand = FeatureMap.packed("z", 8, 8, 48, 16)
    layer = replace(
        layer,
        weights=np.arange(layer.weights.size, dtype=np.int64).astype(np.int8).reshape(layer.weights.shape),
        biases=np.arange(48, dtype=np.int64),
        requantise=Requantise(Conversion(1, 0, 0), np.arange(48) * 3),
        addend=Elementwise(Combine.ADD, Rows(operand, 0, 8), 0, 1, 0),
    )
    assert layer.kernel_slice(0, 48) is layer
    part = layer.kernel_slice(16, 20)
    assert part.biases.tolist() == list(range(16, 36))
    assert part.requantise.channel_multipliers is not None
    assert part.requantise.channel_multipliers.tolist() == list(range(48, 108, 3))
    whole = layer.weights if layer.depthwise else np.moveaxis(layer.weights, 0, -1)
    cut = part.weights if layer.depthwise else np.moveaxis(part.weights, 0, -1)
    np.testing.assert_array_equal(cut, whole[..., 16:36])
    assert part.target == layer.target.channel_slice(16, 20)
    assert part.source == (layer.source.channel_slice(16, 20) if layer.depthwise else layer.source)
    assert part.addend is not None
    assert part.addend.operand == Rows(operand.channel_slice(16, 20), 0, 8)
    assert layer.kernel_slice(0, 47).target.channels == 47


def test_a_slice_of_rows_reads_what_its_windows_cover() -> None:
    operand = FeatureMap.packed("z", 4, 4, 16, 16)
    layer = replace(plain_layer(8, 3, 16, 16, 2), addend=Elementwise(Combine.ADD, Rows(operand, 0, 4), 0, 1, 0))
    assert layer.row_slice(0, 4) is layer
    first, last = layer.row_slice(0, 2), layer.row_slice(2, 2)
    assert (first.source.height, first.padding, first.source.at.offset) == (4, (1, 1), 0)
    assert (last.source.height, last.padding, last.source.at.offset) == (5, (0, 1), 3 * 8 * 16)
    assert last.addend is not None
    assert last.addend.operand == Rows(operand.row_slice(2, 2), 0, 2)
    vector = Elementwise(Combine.MULTIPLY, Rows(FeatureMap.packed("v", 1, 1, 16, 16), 0, 1), 0, 1, 0, per_channel=True)
    assert replace(layer, addend=vector).row_slice(2, 2).addend == vector


ADDEND = Elementwise(Combine.ADD, Rows(FeatureMap.packed("z", 8, 8, 16, 16), 0, 8), 0, 1, 0)
PLAIN = Conversion(1, 0, 0)


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, ()),
        ({"rules": ("own",)}, ("own",)),
        ({"requantise": Requantise(PLAIN, relu=True)}, ()),
        ({"requantise": Requantise(PLAIN, ceiling=0)}, (Unproven.CEILING,)),
        ({"requantise": Requantise(PLAIN, room=0)}, (Unproven.CEILING,)),
        ({"requantise": Requantise(PLAIN, lift=-1)}, (Unproven.LIFT,)),
        ({"dilation": (1, 2)}, (Unproven.DILATION,)),
        ({"dilation": (2, 1)}, (Unproven.DILATION,)),
        ({"addend": ADDEND}, ()),
        ({"addend": ADDEND, "requantise": Requantise(PLAIN, relu=True)}, (Unproven.ELEMENTWISE_RELU,)),
        ({"source": FeatureMap.packed("x", 8, 8, 3, 3)}, (Unproven.PACKED_PICTURE,)),
        ({"source": FeatureMap.packed("x", 8, 8, 16, 16).column_slice(2, 2)}, (Unproven.SOURCE_GAP,)),
        ({"source": FeatureMap.packed("x", 8, 8, 16, 16).column_slice(2, 1)}, ()),
        ({"rules": ("own",), "dilation": (2, 2)}, ("own", Unproven.DILATION)),
    ],
)
def test_numbers_ask_for_unproven_rules(changes: dict[str, Any], asked: tuple[str, ...]) -> None:
    assert replace(plain_layer(8, 1, 16, 16), **changes).unproven == asked


@pytest.mark.parametrize(("bias", "taken"), [((1 << 31) - 1 - 128 * 9 * 16, True), ((1 << 31) - 128 * 9 * 16, False)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("zero", [0, 1, -1])
def test_an_accumulator_has_32_bits(bias: int, taken: bool, sign: int, zero: int) -> None:
    layer = plain_layer(8, 3, 16, 16)
    biases = np.zeros(16, np.int64)
    biases[5] = sign * bias
    weights = np.full((16, 3, 3, 16), zero + (1 if zero else -1), np.int8)
    layer = replace(layer, weights=weights, weight_zero_point=zero, biases=biases)
    if taken:
        assert tasks_of(layer)
        return
    with pytest.raises(UnsupportedError, match="the accumulator may reach 2147483648, it has 32 bits"):
        convolution_tasks(layer, ConstantPool(), RK3588)


@pytest.mark.parametrize(
    ("channels", "width", "row"),
    [(128, 2047, None), (128, 2048, 2048), (192, 1023, None), (192, 1024, 2048), (64, 9999, None)],
)
def test_rows_whose_last_channels_are_read_wrongly(channels: int, width: int, row: int | None) -> None:
    """(ceil(channels / 64) - 1) * width is at most 2047 (outside 2.6b)."""
    for count in (channels, channels - 63):
        if row is None:
            check_row(width, count, RK3588)
            continue
        with pytest.raises(UnsupportedError, match=f"{width} pixels of {count} channels make a row of {row} whole"):
            check_row(width, count, RK3588)


@pytest.mark.parametrize(
    ("window", "channels", "kernels", "parts"),
    [
        (3, 16, 48, [48]),
        (26, 16, 32, [32]),
        (31, 16, 32, [16, 16]),
        (31, 16, 40, [16, 16, 8]),
        (31, 16, 16, [16]),
        (1, 11264, 32, [32]),
        (1, 11280, 32, [16, 16]),
    ],
)
def test_kernels_are_cut_where_a_group_would_not_fit(
    window: int, channels: int, kernels: int, parts: list[int]
) -> None:
    """32 kernels must fit eleven banks, 360,448 bytes; else sixteen at a time."""
    layer = replace(
        plain_layer(1, 1, channels, kernels),
        source=FeatureMap.packed("x", window, window, channels, 16),
        weights=np.zeros((kernels, window, window, channels), np.int8),
        padding=(0, 0),
    )
    assert [task.target.feature.channels for task in tasks_of(layer)] == parts


def fits(window: int, channels: int) -> bool:
    """Whether a window's rows and one kernel of all channels fit twelve banks together."""
    kernel = window * window * -(-channels // 16) * 16
    return -(-kernel // 32768) - (-window * row_entries(window, channels, RK3588) // 512) <= 12


@pytest.mark.parametrize(
    ("window", "channels"),
    [(3, 1024), (9, 6000), (21, 800), (21, 896), (25, 576), (31, 192), (31, 330), (31, 384), (31, 600), (31, 1100)],
)
def test_channels_of_depthwise_kernels_are_cut_in_groups_of_64(window: int, channels: int) -> None:
    """In as few ranges as fit, each of as many groups but the last: all channels of a task are one kernel."""
    layer = replace(
        depthwise(1, 1, channels),
        source=FeatureMap.packed("x", window, window, channels, 16),
        weights=np.zeros((window, window, channels), np.int8),
        padding=(0, 0),
    )
    groups = -(-channels // 64)
    steps = [-(-groups // parts) * 64 for parts in range(1, groups + 1)]
    step = next(step for step in steps if fits(window, min(step, channels)))
    firsts = list(range(0, channels, step))
    found = tasks_of(layer)
    assert [task.target.feature.channels for task in found] == [min(step, channels - first) for first in firsts]
    assert [task.target.feature.at.offset for task in found] == firsts


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (544, "a group of kernels takes 1045568 bytes, the convolution buffer leaves room for 360448"),
        (545, "one kernel has 538160 bytes, the register holds 524287"),
    ],
)
def test_one_kernel_fits_its_register(channels: int, text: str) -> None:
    """31x31 of 544 channels would, and is too large for the buffer; one channel more is a slot more."""
    layer = replace(
        plain_layer(1, 1, channels, 2),
        source=FeatureMap.packed("x", 31, 31, channels, 16),
        weights=np.zeros((2, 31, 31, channels), np.int8),
        padding=(0, 0),
    )
    with pytest.raises(UnsupportedError, match=text):
        convolution_tasks(layer, ConstantPool(), RK3588)


@pytest.mark.parametrize(("kernels", "programmed"), [(1, 2), (2, 2), (31, 32), (33, 34)])
def test_kernels_are_programmed_in_pairs(kernels: int, programmed: int) -> None:
    """The last of zero bytes (spec 3.5)."""
    layer = plain_layer(4, 1, 16, kernels)
    layer = replace(layer, weights=layer.weights + np.int8(5), weight_zero_point=-3)
    pool = ConstantPool()
    (task,) = convolution_tasks(layer, pool, RK3588)
    assert (task.weights.kernels, task.weights.bytes, task.feature_offset) == (programmed, 16 * programmed, 3)
    last = bytes(16 * (programmed - kernels))
    assert pool.content()[task.weights.at.offset :][: 16 * programmed] == b"\x05" * 16 * kernels + last


@pytest.mark.parametrize("depth", [False, True])
def test_multiply_accumulates_leave_padding_out(depth: bool) -> None:
    layer = depthwise(6, 3, 20) if depth else plain_layer(6, 3, 20, 33)
    (task,) = tasks_of(layer)
    assert task.macs == 36 * 9 * (20 if depth else 20 * 33)


@pytest.mark.parametrize(("height", "most"), [(2047, 2047), (2048, 2017)])
def test_a_task_has_rows_as_its_fields_hold(height: int, most: int) -> None:
    """2,047; of taller maps padding that comes out is counted in."""
    layer = replace(
        plain_layer(1, 1, 16, 16),
        source=FeatureMap.packed("x", height, 1, 16, 16),
        target=FeatureMap.packed("y", height, 1, 16, 16),
    )
    counts = [task.source.count for task in tasks_of(layer)]
    assert sum(counts) == height
    assert max(counts) <= most
    assert len(counts) == -(-height // most)


def test_what_is_made_of_an_accumulator() -> None:
    """Each number of a layer in its stage; behind an addition the clamp belongs to EW."""
    multipliers = np.arange(16)
    layer = replace(
        plain_layer(4, 1, 16, 16), requantise=Requantise(Conversion(9, 8, 7), multipliers, True, 55, 66, None, 77)
    )
    stages = tasks_of(layer)[0].output
    assert stages.bs == Stage(MEMORY, Multiply(MEMORY, 14), relu=True, ceiling=77)
    assert stages.bn == Stage(add=66, relu=True, ceiling=55)
    assert (stages.conversion, stages.elementwise, stages.lookup) == (Conversion(9, 8, 7), None, None)
    operand = FeatureMap.packed("z", 4, 4, 16, 16)
    adding = replace(layer, addend=Elementwise(Combine.ADD, Rows(operand, 0, 4), 1, 2, 3))
    stages = tasks_of(adding)[0].output
    assert stages.bn == Stage(add=66)
    assert stages.elementwise == Elementwise(Combine.ADD, Rows(operand, 0, 4), 1, 2, 3, relu=True, ceiling=55)
    sloped = replace(layer, requantise=Requantise(PLAIN, multipliers, slope_shift=9))
    stages = tasks_of(sloped)[0].output
    assert stages.bs == Stage(MEMORY, Multiply(MEMORY, 9), prelu=True)
    assert stages.bn == Stage()
    table = Lookup((0,) * 513, (0,) * 513)
    assert tasks_of(replace(layer, lookup=table))[0].output.lookup is table


@pytest.mark.parametrize(
    ("weights", "group", "depth", "found"),
    [
        (9 * 32768, 32768, False, [(2, True), (3, True), (7, False)]),
        (9 * 32768 + 1, 32768, False, [(7, False), (2, True)]),
        (10 * 32768, 32768, False, [(7, False), (2, True)]),
        (11 * 32768, 32768, False, [(7, False), (1, True)]),
        (11 * 32768 + 1, 32768, False, [(7, False)]),
        (11 * 32768 + 1, 6 * 32768, False, [(6, False)]),
        (11 * 32768 + 1, 11 * 32768, False, [(1, False)]),
        (5 * 32768, 5 * 32768, True, [(6, True), (7, True)]),
        (11 * 32768, 11 * 32768, True, [(1, False), (1, True)]),
    ],
)
def test_banks_are_shared_out(weights: int, group: int, depth: bool, found: list[tuple[int, bool]]) -> None:
    assert [(one.data_banks, one.reuse_weights) for one in shares(weights, group, depth, RK3588)] == found


def test_a_group_of_kernels_larger_than_the_buffer() -> None:
    with pytest.raises(UnsupportedError, match="takes 360449 bytes, the convolution buffer leaves room for 360448"):
        shares(500_000, 11 * 32768 + 1, False, RK3588)


@pytest.mark.parametrize(("channels", "slot", "rows"), [(64, 16, 4), (3, 3, 11), (4, 4, 11), (3, 16, 16)])
def test_rows_that_a_share_holds(channels: int, slot: int, rows: int) -> None:
    """Of packed rows four bytes a pixel, and no more pixels than recorded streams have."""
    width = {64: 128, 3: 2000 if slot == 3 else 128, 4: 2000}[channels]
    feature = FeatureMap.packed("x", 99, width, channels, slot)
    banks = 1 if slot == 16 else 11
    assert Share(banks, True).rows(feature, RK3588) == rows
    assert map_entries(feature, RK3588) == {64: 128, 3: 125 if slot == 3 else 32, 4: 125}[channels]
