"""Pictures of few channels are read as the host has them: no conversion, fewer bytes, the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench import SCHEMES, Bench, Seeded
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Activation, DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering.placement import pictures
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from strategies import weigh

PROVEN = Policy("mainline", allow_unproven=False)


def stem(channels: int, size: tuple[int, int], scheme: str, seed: int = 0, kernel: int = 3, stride: int = 2) -> Graph:
    """A convolution of a picture."""
    bench = Bench.of(Seeded(seed), (scheme,))
    x = bench.input((1, *size, channels))
    shape = (24, kernel, kernel, channels)
    found = weigh(bench, x, shape, 0, kernel * kernel * channels, Activation.RELU, always=True)
    y = bench.output((1, -(-size[0] // stride), -(-size[1] // stride), 24), found.mean, found.spread)
    attributes = ops.Conv2D((stride, stride), Padding.SAME, (1, 1), Activation.RELU)
    case = bench.finish("CONV_2D", found.after(x[0]), y, attributes, [x[0]])
    (part,) = plan(case.graph).parts
    return part


def assert_equal_to_the_model(part: Graph, policy: Policy, seed: int) -> None:
    random = np.random.default_rng(seed)
    (number,) = part.inputs
    tensor = part.tensors[number]
    picture: Any = random.integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype.value)
    with SimulatorDevice() as device:
        (made,) = run(device, compile_graph(part, policy), [picture], allow_unproven=True)
    expected = graph_model(part, {number: picture}, policy, RK3588)[part.outputs[0]]
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("channels", "size"), [(3, (20, 16)), (1, (9, 16)), (2, (6, 24)), (4, (5, 20)), (3, (300, 112)), (3, (33, 640))]
)
def test_pictures_stay_as_the_host_has_them(channels: int, size: tuple[int, int], scheme: str) -> None:
    for seed, (kernel, stride) in enumerate(((3, 3), (1, 1), (5, 3))):
        part = stem(channels, size, scheme, seed, kernel, stride)
        program = compile_graph(part)
        (binding,) = program.inputs
        assert (binding.layout.slot, binding.layout.flip) == (channels, False)
        assert Unproven.PACKED_PICTURE in program.rules
        assert_equal_to_the_model(part, Policy(), seed)


def test_results_are_those_of_slots() -> None:
    part = stem(3, (40, 48), "uint8", 5)
    assert Unproven.PACKED_PICTURE not in compile_graph(part, PROVEN).rules
    picture = np.random.default_rng(9).integers(0, 256, (1, 40, 48, 3), np.uint8)
    with SimulatorDevice() as device:
        one, other = (run(device, compile_graph(part, policy), [picture]) for policy in (Policy(), PROVEN))
    np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize(
    ("channels", "size", "why"),
    [(5, (16, 16), "more than four channels"), (3, (16, 20), "rows of 60 bytes"), (3, (16, 8), "narrower than a slot")],
)
def test_other_pictures_go_into_slots(channels: int, size: tuple[int, int], why: str) -> None:
    (binding,) = compile_graph(stem(channels, size, "uint8")).inputs
    assert binding.layout.slot == RK3588.slot, why


def test_registers_are_those_of_known_streams() -> None:
    """Mode and sizes as vendor streams have them, the converter as Mesa has it for one channel (spec 3.4)."""
    part = stem(3, (224, 224), "uint8")
    tasks = lower(part, RK3588, Policy()).tasks
    lists = [TaskRegisters(emit(task, RK3588).words) for task in tasks]
    for regs in lists:
        assert regs.raw("CNA.CONV_CON1") == 0x6000A000
        assert (regs["CNA.DATA_SIZE1.DATAIN_CHANNEL"], regs["CNA.DATA_SIZE1.DATAIN_CHANNEL_REAL"]) == (16, 2)
        assert (regs["CNA.DMA_CON1.LINE_STRIDE"], regs["CNA.DMA_CON2.SURF_STRIDE"]) == (224, 224 * 223)
        pixels = 224 * regs["CNA.DATA_SIZE0.DATAIN_HEIGHT"]
        assert regs.raw("CNA.CBUF_CON1") == pixels <= 22_464
        assert regs["CNA.CBUF_CON0.DATA_BANK"] * 32768 >= 4 * pixels
        assert [regs.raw(f"CNA.CVT_CON{lane}") for lane in range(1, 5)] == [16384 << 16 | 0xFF80] * 4
        assert (regs["CNA.CVT_CON0.CVT_TRUNCATE_0"], regs["CNA.CVT_CON0.CVT_BYPASS"]) == (14, 0)
    signed = TaskRegisters(emit(lower(stem(3, (224, 224), "int8"), RK3588, Policy()).tasks[0], RK3588).words)
    assert (signed["CNA.CVT_CON0.CVT_BYPASS"], signed["CNA.CVT_CON0.DATA_SIGN"]) == (1, 1)


def test_a_picture_that_others_read_too_goes_into_slots() -> None:
    bench = Bench.of(Seeded(1), ("int8",))
    x = bench.input((1, 16, 16, 3))
    found = weigh(bench, x, (16, 1, 1, 3), 0, 3, Activation.NONE, always=True)
    y = bench.output((1, 16, 16, 16), found.mean, found.spread)
    bench.builder.operator("CONV_2D", found.after(x[0]), [y], ops.Conv2D((1, 1), Padding.SAME))
    z = bench.tensor((1, 8, 8, 3), x[1], x[2])
    bench.builder.operator("MAX_POOL_2D", [x[0]], [z], ops.Pool2D((2, 2), Padding.VALID, (2, 2)))
    (part,) = plan(tflite.parse(bench.builder.build([x[0]], [y, z]))).parts
    assert len(part.operators) == 2
    program = compile_graph(part)
    assert [binding.layout.slot for binding in program.inputs] == [RK3588.slot]


def test_a_boards_own_answer_decides() -> None:
    part = stem(3, (32, 32), "uint8")
    rule = frozenset({Unproven.PACKED_PICTURE})
    proven = Policy("mainline", allow_unproven=False, proven=rule)
    refuted = Policy("mainline", allow_unproven=True, refuted=rule)
    slots = [compile_graph(part, policy).inputs[0].layout.slot for policy in (proven, refuted)]
    assert slots == [3, RK3588.slot]


def tall_stem(rows: int, dilation: int, channels: int = 3, width: int = 2000) -> Graph:
    """A convolution of one column of pixels, over a picture of 2000 columns."""
    builder = ModelBuilder()
    height = 64
    x = builder.tensor((1, height, width, channels), DType.UINT8, scale=0.05, zero_point=3)
    data = np.full((16, rows, 1, channels), 3, np.uint8)
    w = builder.tensor(data.shape, DType.UINT8, scale=0.01, zero_point=128, data=data)
    bias = builder.tensor((16,), DType.INT32, data=np.zeros(16, np.int32))
    made = height - (rows - 1) * dilation
    y = builder.tensor((1, made, width, 16), DType.UINT8, scale=1.0, zero_point=3)
    builder.operator("CONV_2D", [x, w, bias], [y], ops.Conv2D((1, 1), Padding.VALID, (dilation, 1)))
    return tflite.parse(builder.build([x], [y]))


@pytest.mark.parametrize(
    ("rows", "dilation", "taken"),
    [(11, 1, True), (12, 1, False), (6, 2, True), (7, 2, False), (2, 10, True), (2, 11, False), (1, 31, True)],
)
def test_a_window_of_a_picture_fits_one_task(rows: int, dilation: int, taken: bool) -> None:
    """22,464 pixels of a packed picture are held at once (addendum 6.9): eleven rows of 2000."""
    assert RK3588.packed_pixels // 2000 == 11
    graph = tall_stem(rows, dilation)
    found = pictures(graph, RK3588)
    assert list(found) == (list(graph.inputs) if taken else [])
    for feature in found.values():
        assert (feature.slot, feature.unsigned, feature.surface_pitch) == (3, True, 64 * 2000 * 3)


@pytest.mark.parametrize(
    ("channels", "width", "taken"),
    [(4, 16, True), (5, 16, False), (1, 16, True), (1, 15, False), (2, 24, True), (2, 20, False)],
)
def test_rows_of_packed_pictures_are_whole_slots(channels: int, width: int, taken: bool) -> None:
    assert bool(pictures(tall_stem(3, 1, channels, width), RK3588)) == taken
