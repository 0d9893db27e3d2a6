"""Depthwise layers of few channels are folded where that is quicker, and give the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import SCHEMES, Bench, Seeded
from rockchip.tasks.layers import plain_layer
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Activation, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering.average import average_layers
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.convolution import depthwise_layers
from rocketnpu.rockchip.lowering.folding import _folds, _parts, stacked
from rocketnpu.rockchip.lowering.placement import place
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Combine, Elementwise, Rows
from strategies import weigh


def depthwise(size: tuple[int, int], channels: int, kernel: int, stride: int, scheme: str, seed: int) -> Graph:
    bench = Bench.of(Seeded(seed), (scheme,))
    x = bench.input((1, *size, channels))
    found = weigh(bench, x, (1, kernel, kernel, channels), 3, kernel * kernel, Activation.RELU, always=True)
    shape = (1, -(-size[0] // stride), -(-size[1] // stride), channels)
    y = bench.output(shape, found.mean, found.spread)
    attributes = ops.DepthwiseConv2D((stride, stride), Padding.SAME, activation=Activation.RELU)
    (part,) = plan(bench.finish("DEPTHWISE_CONV_2D", found.after(x[0]), y, attributes, [x[0]]).graph).parts
    return part


def layers(part: Graph, **changes: Any) -> list[ConvolutionLayer]:
    policy = Policy("vendor")
    context = replace(Context(part, RK3588, place(part, RK3588, policy), policy), **changes)
    return depthwise_layers(context, part.operators[0])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("size", "channels", "kernel", "stride"),
    [((112, 112), 32, 3, 1), ((112, 112), 16, 3, 1), ((96, 80), 32, 3, 2), ((64, 160), 16, 5, 1), ((80, 96), 32, 5, 2)],
)
def test_folded_layers_give_the_bytes_of_the_integer_model(
    size: tuple[int, int], channels: int, kernel: int, stride: int, scheme: str
) -> None:
    part = depthwise(size, channels, kernel, stride, scheme, kernel)
    assert any("folded" in layer.label for layer in layers(part))
    policy = Policy("vendor")
    (number,) = part.inputs
    tensor = part.tensors[number]
    picture: Any = np.random.default_rng(3).integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype.value)
    with SimulatorDevice() as device:
        (made,) = run(device, compile_graph(part, policy), [picture])
    np.testing.assert_array_equal(made, graph_model(part, {number: picture}, policy)[part.outputs[0]])


def test_every_row_is_made_and_no_task_reads_less_than_its_kernel() -> None:
    for kernel, stride in ((3, 1), (3, 2), (5, 1), (7, 2)):
        found = layers(depthwise((112, 112), 32, kernel, stride, "uint8", 1))
        main, rest = found[0], found[1:]
        assert "folded" in main.label
        pitch, width = main.target.surface_pitch, main.target.line_bytes
        rows = [
            part * pitch // width + main.target.at.offset // width + row
            for part in range(2)
            for row in range(main.target.height)
        ]
        for layer in rest:
            rows += [layer.target.at.offset // width + row for row in range(layer.target.height)]
            assert layer.source.height >= kernel
        assert set(rows) == set(range(112 // stride))


@pytest.mark.parametrize(
    ("size", "channels", "why"),
    [
        ((112, 112), 48, "more than half a group"),
        ((112, 112), 24, "surfaces that are not whole"),
        ((113, 112), 32, "rows that do not divide"),
        ((8, 8), 32, "too small to pay for more tasks"),
    ],
)
def test_others_stay_as_they_are(size: tuple[int, int], channels: int, why: str) -> None:
    found = layers(depthwise(size, channels, 3, 1, "uint8", 2))
    assert [layer.label for layer in found] == ["DEPTHWISE_CONV_2D 3x3"], why


def test_cores_that_share_rows_get_whole_layers() -> None:
    part = depthwise((112, 112), 32, 3, 1, "uint8", 2)
    assert len(layers(part)) > 1
    assert len(layers(part, folds=False)) == 1


def test_mobilenets_first_depthwise_layer_is_folded(mobilenet_v1: Path) -> None:
    (part,) = plan(tflite.load(mobilenet_v1)).parts
    labels = [task.label for task in lower(part, RK3588, Policy("mainline", allow_unproven=False)).tasks]
    assert sum("folded" in label for label in labels) == 2


def mean(size: tuple[int, int], channels: int, scheme: str) -> Graph:
    bench = Bench.of(Seeded(3), (scheme,))
    x = bench.input((1, *size, channels))
    y = bench.tensor((1, 1, 1, channels), *x[1:])
    attributes = ops.Pool2D((1, 1), Padding.VALID, size)
    (part,) = plan(bench.finish("AVERAGE_POOL_2D", [x[0]], y, attributes, [x[0]]).graph).parts
    return part


@pytest.mark.parametrize("scheme", ["uint8", "int8"])
@pytest.mark.parametrize(("size", "channels"), [((7, 7), 1024), ((7, 7), 1280), ((4, 5), 256), ((1, 3), 128)])
def test_means_of_whole_maps_are_stacked(size: tuple[int, int], channels: int, scheme: str) -> None:
    part = mean(size, channels, scheme)
    policy = Policy("vendor", allow_unproven=False)
    (task,) = lower(part, RK3588, policy).tasks
    assert "stacked" in task.label
    assert (task.target.count, task.target.feature.channels) == (channels // 64, 64)
    (number,) = part.inputs
    tensor = part.tensors[number]
    picture: Any = np.random.default_rng(3).integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype.value)
    with SimulatorDevice() as device:
        (made,) = run(device, compile_graph(part, policy), [picture])
    np.testing.assert_array_equal(made, graph_model(part, {number: picture}, policy)[part.outputs[0]])


@pytest.mark.parametrize(("size", "channels"), [((8, 8), 1024), ((7, 7), 64), ((7, 7), 1000)])
def test_other_means_are_not(size: tuple[int, int], channels: int) -> None:
    """Rows beyond the largest stride, a single group, and channels that are no whole groups."""
    labels = [task.label for task in lower(mean(size, channels, "int8"), RK3588, Policy("vendor")).tasks]
    assert not any("stacked" in label for label in labels)


def test_only_whole_maps_of_few_channels_fold() -> None:
    layer = layers(depthwise((112, 112), 32, 3, 1, "int8", 3), folds=False)[0]
    source, target = layer.source, layer.target
    assert _parts(layer, RK3588) == 2
    pitch = source.surface_pitch
    for changes in (
        {"source": replace(source, line_gap=1)},
        {"source": replace(source, surface_pitch=pitch + 16)},
        {"target": replace(target, line_gap=1)},
        {"target": replace(target, surface_pitch=pitch + 16)},
        {"target": replace(target, channels=33)},
        {"target": replace(target, channels=64)},
        {"target": replace(target, height=56, surface_pitch=pitch // 2)},
        {
            "source": replace(source, height=111, surface_pitch=pitch - 112 * 16),
            "target": replace(target, height=111, surface_pitch=pitch - 112 * 16),
        },
    ):
        assert _parts(replace(layer, **changes), RK3588) == 1, changes


@pytest.mark.parametrize(
    ("scheme", "proven", "kinds", "rules"),
    [
        ("int8", True, {True}, set()),
        ("int8", False, {True}, set()),
        ("int8 per channel", False, {True}, {Unproven.CHANNEL_RECORDS_DEPTHWISE}),
        ("int8 per channel", True, {False}, set()),
    ],
)
def test_scales_of_channels_ask_for_a_rule_or_for_dense_blocks(
    scheme: str, proven: bool, kinds: set[bool], rules: set[str]
) -> None:
    """One scale is proven; one for each channel of a depthwise kernel is not (addendum 1.4)."""
    policy = Policy("mainline", allow_unproven=not proven)
    for size in ((112, 112), (10, 12)):
        found = layers(depthwise(size, 32, 3, 1, scheme, 1), policy=policy)
        assert {layer.depthwise for layer in found} == kinds
        assert {rule for layer in found for rule in layer.unproven} == rules
        assert (len(found) > 1) == (kinds == {True} and size == (112, 112)), "large ones are folded"


@given(
    parts=st.sampled_from((2, 4)),
    rows=st.integers(2, 12),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    above=st.integers(0, 3),
    dilation=st.integers(1, 2),
)
@settings(max_examples=120)
def test_rows_at_folds_are_made_again(
    parts: int, rows: int, kernel: int, stride: int, above: int, dilation: int
) -> None:
    """By its definition: rows whose windows see another part's rows, or padding where there are rows."""
    channels, made = 64 // parts, rows * parts
    layer = replace(
        plain_layer(1, 1, channels, channels),
        source=FeatureMap.packed("x", made * stride, 3, channels, 16),
        target=FeatureMap.packed("y", made, 3, channels, 16),
        weights=np.zeros((kernel, 1, channels), np.int8),
        stride=(stride, 1),
        dilation=(dilation, 1),
        padding=(min(above, (kernel - 1) * dilation), 0),
    )
    height, reach = rows * stride, (kernel - 1) * dilation + 1
    windows = [range(n * stride - layer.padding[0], n * stride - layer.padding[0] + reach) for n in range(made)]

    def right(number: int) -> bool:
        part, cells = number // rows, windows[number]
        top = part == 0 or cells[0] >= part * height
        return top and (part == parts - 1 or cells[-1] < (part + 1) * height)

    wrong = {number for number in range(made) if not right(number)}
    found = list(_folds(layer, parts))
    if not found:
        first, behind = -(-layer.padding[0] // stride), sum(cells[-1] < height for cells in windows[:rows])
        assert behind <= first, "nothing that the folded layer makes would be right"
        return
    main, *rest = found
    assert (main.target.height, main.target.channels, main.label) == (rows, 64, "CONV_2D folded")
    again = []
    for one in rest:
        start = one.target.at.offset // one.target.line_bytes
        again += range(start, start + one.target.height)
        assert one.source.height >= min(reach, made * stride)
    assert wrong <= set(again)
    extended = sum(max(min(reach, made * stride) - 1, 0) for _ in rest)
    assert len(again) <= len(wrong) + extended


def test_only_whole_maps_with_one_output_are_stacked() -> None:
    part = mean((7, 7), 256, "int8")
    policy = Policy("vendor")
    context = Context(part, RK3588, place(part, RK3588, policy), policy, folds=False)
    (layer,) = average_layers(context, part.operators[0])
    start = start_cycles("vendor")
    (found,) = stacked(layer, RK3588, start)
    assert found.label.endswith("stacked")
    source, target = layer.source, layer.target
    addend = Elementwise(Combine.ADD, Rows(target, 0, 1), 0, 1, 0)
    for changes in (
        {"source": replace(source, line_gap=1)},
        {"source": replace(source, surface_pitch=source.surface_pitch + 16)},
        {"target": replace(target, height=2, surface_pitch=32)},
        {"target": replace(target, width=2, surface_pitch=32)},
        {"target": replace(target, surface_pitch=32)},
        {"padding": (1, 0)},
        {"padding": (0, 1)},
        {"addend": addend},
        {"requantise": replace(layer.requantise, channel_multipliers=np.arange(256))},
        {"target": replace(target, channels=250)},
        {"target": replace(target, channels=64)},
        {"source": replace(source, height=8, surface_pitch=8 * 7 * 16)},
    ):
        changed = replace(layer, **changes)
        assert stacked(changed, RK3588, start) == [changed], changes
