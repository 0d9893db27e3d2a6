"""A convolution with an addition behind it: Mesa's registers, LiteRT's saturation, and the bound that is stated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from operator_checks import PROVEN, check, parsed, writes

from bench import Case
from pairs import pair, pairs
from rockchip.tasks.layers import plain_layer
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import CONV_ADD
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.policy import Policy
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.lowering.convolution import Kernel
from rocketnpu.rockchip.lowering.fused import leaves, limited, middle_limits
from rocketnpu.rockchip.prepared import lower, prepare
from rocketnpu.rockchip.registers.rk3588 import register
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.recording import Submission, load
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.task import Conversion

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
ADDRESSES = {
    "CNA.FEATURE_DATA_ADDR",
    "CNA.DCOMP_ADDR0",
    "DPU.DST_BASE_ADDR",
    "DPU_RDMA.RDMA_SRC_BASE_ADDR",
    "DPU_RDMA.RDMA_BS_BASE_ADDR",
    "DPU_RDMA.RDMA_EW_BASE_ADDR",
}
CLAMP = {"DPU.BS_CFG", "DPU.BS_RELUX_CMP_VALUE", "DPU.BN_CFG", "DPU.BN_ALU_CFG"}
"""Mesa does not clamp to the range of the tensor between."""
PAD_VALUE = "CNA.PAD_CON1"
"""Mesa pads every convolution near an addition with -128 (spec 5.3, rule 3)."""
SCALE = "DPU.OUT_CVT_SCALE"
"""Mesa's multiplier is one too large (spec 5.7)."""


def recorded(submission: Submission, number: int) -> dict[int, int]:
    """The register writes of a recorded task."""
    task = [task for job in submission.jobs for task in job.tasks][number]
    for buffer in submission.buffers:
        start = task.address - buffer.address
        if 0 <= start < buffer.size:
            return writes(np.frombuffer(buffer.content()[start : start + task.words * 8].tobytes(), "<u8").tolist())
    raise AssertionError("the task lies in no buffer")


@pytest.mark.parametrize("name", ["conv_conv_add_u8", "resid_conv_plus_input_u8"])
def test_registers_are_mesas(name: str) -> None:
    graph = tflite.parse((GOLDEN / f"{name}.tflite").read_bytes())
    submission = load(GOLDEN / f"{name}.zip").submissions[0]
    lowered = lower(graph, RK3588, Policy())
    assert lowered.graph.operators[-1].kind == CONV_ADD
    task = lowered.tasks[-1]
    commands = emit(task, RK3588)
    ours, mesas = writes(commands.words), recorded(submission, len(lowered.tasks) - 1)
    different = {offset for offset in ours.keys() | mesas.keys() if ours.get(offset) != mesas.get(offset)}
    known = {register(path).offset for path in (*ADDRESSES, *CLAMP, PAD_VALUE, SCALE)}
    assert different <= known, [hex(offset) for offset in sorted(different - known)]
    assert {register(path).offset for path in (*CLAMP, PAD_VALUE, SCALE)} <= different
    assert mesas[register(SCALE).offset] == ours[register(SCALE).offset] + 1
    assert mesas[register(PAD_VALUE).offset] == 0xFFFFFF80
    places = {int(commands.words[word]) & 0xFFFF: location for word, location in commands.addresses.items()}
    first, second = (register(f"DPU_RDMA.{name}").offset for name in ("RDMA_SRC_BASE_ADDR", "RDMA_EW_BASE_ADDR"))
    assert places[second].offset - places[first].offset == mesas[second] - mesas[first] == 16 * 16 * 16


def residual(weight: float, *, activation: Activation = Activation.NONE, dtype: DType = DType.INT8) -> Case:
    """A 1x1 convolution by one weight, whose output has a quarter of the input's range, added to the input."""
    builder = ModelBuilder()
    middle_zero = 0 if dtype is DType.INT8 else 128
    x = builder.tensor((1, 4, 4, 16), dtype, scale=0.1, zero_point=middle_zero)
    middle = builder.tensor((1, 4, 4, 16), dtype, scale=0.025, zero_point=middle_zero)
    y = builder.tensor((1, 4, 4, 16), dtype, scale=0.08, zero_point=middle_zero - 20)
    data = np.eye(16)[:, None, None, :] * weight + middle_zero
    weights = builder.tensor((16, 1, 1, 16), dtype, scale=0.01, zero_point=middle_zero, data=data.astype(np.int64))
    bias = builder.tensor((16,), DType.INT32, scale=0.001, data=np.arange(16) * 50)
    builder.operator("CONV_2D", [x, weights, bias], [middle], ops.Conv2D((1, 1), Padding.SAME))
    builder.operator("ADD", [middle, x], [y], ops.Arithmetic(activation))
    return parsed(builder, [x], [y], "residual")


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_the_tensor_between_saturates_as_in_litert(activation: Activation, dtype: DType) -> None:
    found = residual(100, activation=activation, dtype=dtype)
    middle = reference(found.model, found.inputs("random"))[found.graph.operators[0].outputs[0]]
    limits = np.iinfo(middle.dtype)
    assert np.mean((middle == limits.min) | (middle == limits.max)) > 0.5
    assert [operator.kind for operator in prepare(found.graph, RK3588, Policy()).operators] == [CONV_ADD]
    assert check(found, 1) == ""


def test_no_clamp_where_the_range_suffices() -> None:
    found = residual(15)
    (task,) = lower(found.graph, RK3588, PROVEN).tasks
    assert task.rules == ()
    assert check(found, 1, PROVEN) == ""


def test_a_clamp_without_proof_keeps_the_addition_apart() -> None:
    found = residual(100)
    prepared = prepare(found.graph, RK3588, PROVEN)
    assert [operator.kind for operator in prepared.operators] == ["CONV_2D", "ADD"]
    assert check(found, 1, PROVEN) == ""


def fused(found: Case) -> bool:
    """Whether the whole model is one fused operator, so that no difference is inherited."""
    return [operator.kind for operator in prepare(found.graph, RK3588, Policy()).operators] == [CONV_ADD]


@settings(max_examples=40)
@given(found=pairs("conv_add"))
def test_random_additions(found: Case) -> None:
    check(found, 2 if fused(found) else 255, patterns=("random", "channels", "lowest"))


def test_seeded_additions_on_all_patterns() -> None:
    alone = [found for found in (pair("conv_add", seed) for seed in range(50)) if fused(found)]
    assert len(alone) >= 15
    assert [check(found, 2) for found in alone] == [""] * len(alone)


def plain(biases: list[int], multipliers: list[int] | None = None) -> ConvolutionLayer:
    given = None if multipliers is None else np.array(multipliers)
    layer = replace(plain_layer(4, 1, 16, len(biases)), biases=np.array(biases))
    return replace(layer, requantise=Requantise(Conversion(1, 0, 0), given, lift=7))


@pytest.mark.parametrize("limits", [(-100.4, 50.4), (-100.6, 50.6), (0.0, 0.0), (-5.0, -9.0), (3.0, 8.0)])
def test_an_accumulator_is_clamped_between_its_limits(limits: tuple[float, float]) -> None:
    """Lifted so that ReLU cuts at the lower one, bounded, and lowered again."""
    low, high = round(limits[0]), round(limits[1])
    made = limited(plain([0, 1000, -1000]), limits)
    for value in range(-200, 200, 7):
        stage = np.clip(value + made.biases, 0, made.requantise.room) + made.requantise.lift - 7
        wanted = np.clip(value + np.array([0, 1000, -1000]), low, max(high, low))
        assert stage.tolist() == wanted.tolist()


def test_channels_with_multipliers_are_lifted_by_their_own() -> None:
    made = limited(plain([0, 0, 0], [16384, 8192, 4096]), (-100.0, 50.0))
    assert made.biases.tolist() == [100, 200, 400]
    assert (made.requantise.room, made.requantise.lift) == (150, 7 - 100)


@pytest.mark.parametrize(("bias", "taken"), [((1 << 31) - 101, True), ((1 << 31) - 100, False)])
def test_lifted_biases_have_32_bits(bias: int, taken: bool) -> None:
    layer = plain([0, bias])
    if taken:
        assert limited(layer, (-100.0, 5.0)).biases.tolist() == [100, (1 << 31) - 1]
        return
    with pytest.raises(UnsupportedError, match="a lifted bias of 2147483648 does not fit 32 bits"):
        limited(layer, (-100.0, 5.0))


@pytest.mark.parametrize(("dtype", "zero"), [(DType.INT8, 3), (DType.UINT8, 131)])
def test_the_range_of_the_tensor_between(dtype: DType, zero: int) -> None:
    """In steps of the sum: a quarter of it each, from its own zero point on."""
    target = Tensor(0, "y", (1, 4, 4, 16), dtype, Quantisation.per_tensor(0.1, zero + 9))
    attributes = ops.ConvAdd(ops.Conv2D((1, 1), Padding.SAME), 0.025, zero)
    low, high = middle_limits(attributes, target)
    assert (low, high) == pytest.approx(((-128 - 3) / 4, (127 - 3) / 4))


@pytest.mark.parametrize(
    ("limits", "leaves_it"), [((-255.0, 255.0), False), ((-254.9, 300.0), True), ((-300.0, 254.9), True)]
)
def test_limits_that_some_input_leaves(limits: tuple[float, float], leaves_it: bool) -> None:
    """Weights of 2 and -2 times bytes less -1: -254 to 256 and back, plus their biases."""
    kernel = Kernel(np.array([[[[5]]], [[[1]]]], np.int8), 3, np.ones(2), np.array([-1, 1]))
    assert leaves(kernel, -1, np.array([1.0, 1.0]), limits) == leaves_it
    assert leaves(kernel, -1, np.array([0.5, 0.5]), (limits[0] / 2, limits[1] / 2)) == leaves_it
