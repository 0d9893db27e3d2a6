"""Shapes at the limits: what is said to run compiles, and what is large is cut as the buffer and the fields ask."""

from __future__ import annotations

import numpy as np
import pytest
from extreme_shapes import extremes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_checks import check, parsed, single, writes

from bench import Case
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy, Target
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.rk3588 import register
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.task import ConvolutionTask

FEW = ("random",)
CLAMPED = ops.Pool2D((1, 1), Padding.VALID, (1, 1), ops.Activation.RELU_N1_TO_1)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(found=extremes(), target=st.sampled_from(["simulator", "mainline"]), unproven=st.booleans())
def test_what_is_planned_compiles_and_fits(found: Case, target: Target, unproven: bool) -> None:
    policy = Policy(target, unproven)
    for part in plan(found.graph, policy).parts:
        assert compile_graph(part, policy).tasks
        for task in lower(part, RK3588, policy).tasks:
            if isinstance(task, ConvolutionTask):
                kernels = 1 if task.weights.depthwise else min(task.weights.kernels, 16)
                assert kernels * task.weights.kernel_bytes <= task.banks.weights * RK3588.cbuf_bank_bytes
                assert task.source.count * task.banks.entries <= task.banks.data * RK3588.cbuf_bank_entries


def depthwise(kernel: int, channels: int, size: int) -> Case:
    weights = np.random.default_rng(kernel).integers(-127, 128, (1, kernel, kernel, channels))
    shape = (1, size, size, channels)
    builder = ModelBuilder()
    x, y = builder.tensor(shape, DType.INT8, scale=0.05, zero_point=3), builder.tensor(shape, DType.INT8, scale=1.0)
    w = builder.tensor(weights.shape, DType.INT8, scale=0.01, data=weights)
    bias = builder.tensor((channels,), DType.INT32, data=np.zeros(channels, np.int32))
    builder.operator("DEPTHWISE_CONV_2D", [x, w, bias], [y], ops.DepthwiseConv2D((1, 1), Padding.SAME))
    return parsed(builder, [x], [y], f"depthwise {kernel}x{kernel}x{channels}")


def kernels(found: Case) -> list[tuple[int, int]]:
    """Return bytes and channels of the kernel of each task."""
    tasks = [task for task in lower(found.graph, RK3588, Policy()).tasks if isinstance(task, ConvolutionTask)]
    return [(task.weights.kernel_bytes, task.target.feature.channels) for task in tasks]


@pytest.mark.parametrize(
    ("kernel", "channels", "size", "parts"),
    [
        (9, 6000, 5, [3008, 2992]),
        (21, 800, 16, [448, 352]),
        (21, 896, 10, [448, 448]),
        (25, 576, 28, [192, 192, 192]),
        (3, 1024, 4, [1024]),
    ],
)
def test_one_kernel_fits_the_weight_banks(kernel: int, channels: int, size: int, parts: list[int]) -> None:
    found = depthwise(kernel, channels, size)
    assert check(found, 1, patterns=FEW) == ""
    assert [count for _, count in kernels(found)] == parts


@pytest.mark.parametrize("channels", [1500, 2048])
def test_padding_of_many_channels(channels: int) -> None:
    """Kernels of 15x15 cells: one of 2048 channels would not even fit its register."""
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 3, channels), DType.INT8, scale=0.05, zero_point=3)
    y = builder.tensor((1, 17, 17, channels), DType.INT8, scale=0.05, zero_point=3)
    edges = builder.tensor((4, 2), DType.INT32, data=np.array([(0, 0), (7, 7), (7, 7), (0, 0)], np.int32))
    builder.operator("PAD", [x, edges], [y])
    found = parsed(builder, [x], [y], "pad")
    assert 15 * 15 * 2048 < RK3588.max_kernel_bytes < 16 * 16 * 2048
    assert check(found, 0, patterns=FEW) == ""
    assert all(size <= 11 * RK3588.cbuf_bank_bytes for size, _ in kernels(found))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 3, 16), (2, 3, 16), (1, 6, 16), (6, 16), (1, 40, 30, 70)])
def test_a_fully_connected_layer_of_pixels(shape: tuple[int, ...], keep: bool) -> None:
    weights = np.random.default_rng(1).integers(-127, 128, (10, shape[-1])).astype(np.int8)
    pixels = int(np.prod(shape[:-1]))
    builder = ModelBuilder()
    x = builder.tensor(shape, DType.INT8, scale=0.05, zero_point=3)
    w = builder.tensor(weights.shape, DType.INT8, scale=0.01, data=weights)
    y = builder.tensor((*shape[:-1], 10) if keep else (pixels, 10), DType.INT8, scale=0.5, zero_point=0)
    builder.operator("FULLY_CONNECTED", [x, w, None], [y], ops.FullyConnected(keep_dims=keep))
    assert check(parsed(builder, [x], [y], "rows"), 1, patterns=FEW) == ""


@pytest.mark.parametrize("scale", [0.4, 0.08, 0.0243])
def test_limits_between_two_steps(scale: float) -> None:
    """1/0.4 and 1/0.08 are ties: 3 and 13 steps, away from zero on both sides."""
    shape = (1, 3, 3, 64)
    found = single("MAX_POOL_2D", [(shape, scale, 0), (shape, scale, 0)], CLAMPED)
    assert check(found, 0) == ""


def grains(channels: int, size: int, stride: int = 1) -> set[int]:
    """Return what the tasks of a 1x1 convolution write to FEATURE_GRAINS."""
    rows = -(-size // stride)
    builder = ModelBuilder()
    x = builder.tensor((1, size, size, channels), DType.INT8, scale=0.05)
    w = builder.tensor((16, 1, 1, channels), DType.INT8, scale=0.01, data=np.ones((16, 1, 1, channels), np.int8))
    bias = builder.tensor((16,), DType.INT32, data=np.zeros(16, np.int32))
    y = builder.tensor((1, rows, rows, 16), DType.INT8, scale=1.0)
    builder.operator("CONV_2D", [x, w, bias], [y], ops.Conv2D((stride, stride), Padding.SAME))
    found = parsed(builder, [x], [y], "deep")
    lowered = lower(found.graph, RK3588, Policy())
    offset = register("CNA.CONV_CON2").offset
    return {writes(emit(task, RK3588).words)[offset] >> 4 & 0x3FF for task in lowered.tasks}


def test_feature_grains() -> None:
    """Mesa's number up to 4096 channels; beyond, whole inputs or what 3.5 banks hold."""
    assert grains(64, 8) == grains(4096, 3) == {52}
    assert grains(64, 8, 2) == {53}
    assert grains(5632, 1) == {2}
    assert grains(4112, 4) == {4}
    assert max(grains(8192, 4)) <= 5


def test_views_alone_do_not_compile() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in ((1, 2, 3, 16), (1, 6, 1, 16)))
    shape = builder.tensor((4,), DType.INT32, data=np.array([1, 6, 1, 16], np.int32))
    builder.operator("RESHAPE", [x, shape], [y])
    graph = parse(builder.build([x], [y]), "views")
    assert not plan(graph).parts
    with pytest.raises(UnsupportedError, match="views computes nothing"):
        compile_graph(graph)


def test_a_slice_by_offsets_is_read_and_refused() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in ((1, 6, 6, 16), (1, 3, 6, 16)))
    limits = [[0, 2, 0, 0], [1, 3, 6, 16], [1, 1, 1, 1]]
    numbers = [builder.tensor((4,), DType.INT32, data=np.array(values, np.int32)) for values in limits]
    builder.operator("STRIDED_SLICE", [x, *numbers], [y], ops.StridedSlice(offset=True))
    graph = parse(builder.build([x], [y]), "offset")
    assert graph.operators[0].attributes == ops.StridedSlice(offset=True)
    (decision,) = plan(graph).decisions
    assert "constant ranges of step 1" in decision.reason


def test_a_field_that_overflows_is_refused_before() -> None:
    """Rows repeated eightfold leave gaps of 7 rows: 14000 slots, in a field of 13 bits."""
    builder = ModelBuilder()
    x, y = (builder.tensor(shape, DType.INT8, scale=0.1) for shape in ((1, 2, 250, 3), (1, 16, 2000, 3)))
    size = builder.tensor((2,), DType.INT32, data=np.array([16, 2000], np.int32))
    builder.operator("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], ops.Resize(False, False))
    (decision,) = plan(parse(builder.build([x], [y]), "wide")).decisions
    assert "NOTCH_ADDR_1: value 14000 does not fit 13 bits" in decision.reason
