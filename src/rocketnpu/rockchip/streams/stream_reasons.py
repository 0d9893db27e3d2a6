"""How a difference between our stream and a recorded one is recognised: a function for each reason.

Each says whether the numbers found are those that its reason leads to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.graph.operators import DepthwiseConv2D
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.stream_pair import Stream
from rocketnpu.rockchip.tasks.cbuf import row_entries

WEIGHTS, BIASES, TILING, REFUSED = "packed weights", "packed biases", "number of tasks", "refused"
"""What is compared beside registers."""


@dataclass(frozen=True, eq=False)
class Situation:
    """One difference and everything around it."""

    name: str
    """A register, or one of the names above."""
    ours: int
    theirs: int
    """Raw values; sizes in bytes for packed data."""
    task: int
    graph: Graph
    operator: Operator
    our_stream: Stream | None
    their_stream: Stream

    @property
    def our(self) -> TaskRegisters:
        """Registers of our task."""
        assert self.our_stream is not None
        return self.our_stream.tasks[self.task]

    @property
    def their(self) -> TaskRegisters:
        """Registers of their task; of the last one where they have fewer."""
        return self.their_stream.tasks[min(self.task, len(self.their_stream.tasks) - 1)]

    @property
    def source(self) -> Tensor:
        """The operator's input."""
        return self.graph.input_of(self.operator, 0)

    @property
    def kernel(self) -> Tensor:
        """The operator's weights."""
        return self.graph.input_of(self.operator, 1)

    @property
    def target(self) -> Tensor:
        """The operator's output."""
        return self.graph.tensors[self.operator.outputs[0]]

    @property
    def adds(self) -> bool:
        """Whether an addition reads the operator's output."""
        return any(reader.kind == "ADD" for reader in self.graph.consumers[self.target.index])


_WORST_SCALE = 2.0**-13
"""Relative error of a factor with 14 mantissa bits cut off and one added (spec 5.7)."""


def _factor(registers: TaskRegisters) -> float:
    """Return output steps for one unit of the accumulator as it leaves the MAC array."""
    shift = registers["DPU.OUT_CVT_SHIFT.OUT_CVT_SHIFT"] + registers["CORE.CLIP_TRUNCATE.CLIP_TRUNCATE"]
    return math.ldexp(registers["DPU.OUT_CVT_SCALE.OUT_CVT_SCALE"], -shift)


def better_scale(situation: Situation) -> bool:
    """Both factors are nearly equal, and ours is no further from the exact one."""
    ours, theirs = _factor(situation.our), _factor(situation.their)
    if abs(ours / theirs - 1) > _WORST_SCALE:
        return False
    wanted = _wanted_factor(situation)
    return wanted is None or abs(ours - wanted) <= abs(theirs - wanted)


def _wanted_factor(situation: Situation) -> float | None:
    """Return the factor that the model asks for; None behind an addition, whose own tensor decides."""
    scales = [tensor.quantisation for tensor in (situation.source, situation.kernel, situation.target)]
    if situation.adds or any(found is None or found.is_per_channel for found in scales):
        return None
    source, kernel, target = (found.scale for found in scales if found is not None)
    return source * kernel / target


def truncated(situation: Situation) -> bool:
    """Theirs drops a bit of the accumulator, so scale and biases are halved."""
    if situation.their["CORE.CLIP_TRUNCATE.CLIP_TRUNCATE"] != 1:
        return False
    if situation.name != BIASES:
        return situation.name != "DPU.OUT_CVT_SHIFT" or better_scale(situation)
    ours, theirs = _biases(situation)
    return bool(np.array_equal(theirs, np.trunc(ours / 2).astype(np.int64)))


def _biases(situation: Situation) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    assert situation.our_stream is not None
    ours, theirs = situation.our_stream.biases(), situation.their_stream.biases()
    return ours.view("<i4").astype(np.int64), theirs.view("<i4").astype(np.int64)


def doubled_pad(situation: Situation) -> bool:
    """The low byte is the same, ours is written twice."""
    low, high = situation.ours & 0xFF, situation.ours >> 8 & 0xFF
    return low == high == situation.theirs & 0xFF


def single_pad(situation: Situation) -> bool:
    """In a dense convolution the low byte is the same; behind ours is its sign, behind theirs the byte again."""
    depthwise = situation.our["CNA.CONV_CON1.CONV_MODE"] == 3
    low = situation.ours & 0xFF
    return not depthwise and low == situation.theirs & 0xFF == situation.theirs >> 8 & 0xFF


def addition_pad(situation: Situation) -> bool:
    """Rule 3 of Mesa: -128 wherever an addition is near, whatever the zero point (spec 5.3)."""
    near = situation.adds or any(reader.kind == "ADD" for reader in situation.graph.consumers[situation.source.index])
    return near and situation.theirs == 0xFFFFFF80


def entries(situation: Situation) -> bool:
    """Three slots left over a pixel (spec 3.3), or what follows from it: fewer rows fit, more banks are needed."""
    channels = situation.source.shape[-1]
    return -(-channels // RK3588.slot) % 4 == 3 and situation.our["CNA.CBUF_CON1.DATA_ENTRIES"] == row_entries(
        situation.source.shape[-2], channels, RK3588
    )


def swapped(situation: Situation) -> bool:
    """The operator is not square, and theirs is what width and height taken for each other give."""
    shapes = (situation.source.shape[1:3], situation.target.shape[1:3], situation.kernel.shape[1:3])
    if not any(len(shape) == 2 and shape[0] != shape[1] for shape in shapes):
        return False
    (rows, columns), (made, _), kernel = shapes
    their, slots = situation.their, rows * columns
    height = their["DPU.DATA_CUBE_HEIGHT.HEIGHT"] + 1
    cuts = (height + 1 for _, height, _ in situation.their_stream.cut)
    holds: dict[str, bool] = {
        TILING: sum(cuts) == situation.target.shape[2],
        "CNA.DATA_SIZE0": their["CNA.DATA_SIZE0.DATAIN_WIDTH"] == rows,
        "CNA.FC_DATA_SIZE0": their["CNA.FC_DATA_SIZE0.DMA_WIDTH"] == rows,
        "CNA.DATA_SIZE2": their["CNA.DATA_SIZE2.DATAOUT_WIDTH"] == made,
        "CNA.DATA_SIZE3": their["CNA.DATA_SIZE3.DATAOUT_ATOMICS"] == made * height,
        "CNA.DMA_CON1": their["CNA.DMA_CON1.LINE_STRIDE"] == 4 * rows,
        "CNA.DMA_CON2": their["CNA.DMA_CON2.SURF_STRIDE"] == slots - 4 * rows,
        "CNA.CBUF_CON0": sum(their[f"CNA.CBUF_CON0.{name}_BANK"] for name in ("DATA", "WEIGHT")) == RK3588.cbuf_banks,
        "CNA.CBUF_CON1": their["CNA.CBUF_CON1.DATA_ENTRIES"] <= row_entries(rows, situation.source.shape[3], RK3588),
        "CNA.WEIGHT_SIZE2": their["CNA.WEIGHT_SIZE2.WEIGHT_WIDTH"] == kernel[0],
        "CNA.PAD_CON0": kernel[0] > 1 or kernel[1] > 1,
        "CNA.FEATURE_DATA_ADDR": situation.theirs % (rows * RK3588.slot) == 0,
        "CORE.DATAOUT_SIZE_0": their["CORE.DATAOUT_SIZE_0.DATAOUT_WIDTH"] + 1 == made,
        "DPU.DATA_CUBE_WIDTH": their["DPU.DATA_CUBE_WIDTH.WIDTH"] + 1 == made,
        "DPU.DATA_CUBE_HEIGHT": their["DPU.DATA_CUBE_WIDTH.WIDTH"] + 1 == made,
        "DPU.DST_BASE_ADDR": situation.theirs % (made * RK3588.slot) == 0,
        "DPU.WDMA_SIZE_1": their["DPU.WDMA_SIZE_1.WIDTH_WDMA"] + 1 == made,
        "DPU_RDMA.RDMA_DATA_CUBE_WIDTH": their["DPU_RDMA.RDMA_DATA_CUBE_WIDTH.WIDTH"] + 1 == made,
        "DPU_RDMA.RDMA_DATA_CUBE_HEIGHT": their["DPU_RDMA.RDMA_DATA_CUBE_WIDTH.WIDTH"] + 1 == made,
    }
    return holds.get(situation.name, False)


def other_tiles(situation: Situation) -> bool:
    """All rows are made on both sides, and we need no more tasks."""
    assert situation.our_stream is not None
    rows = [sum(made + 1 for _, made, _ in stream.cut) for stream in (situation.our_stream, situation.their_stream)]
    return rows[0] == rows[1] and situation.ours <= situation.theirs


def other_banks(situation: Situation) -> bool:
    """Our data banks hold the rows, none is idle, and both sides use all twelve."""
    rows, entries = situation.our["CNA.DATA_SIZE0.DATAIN_HEIGHT"], situation.our["CNA.CBUF_CON1.DATA_ENTRIES"]
    banks = situation.our["CNA.CBUF_CON0.DATA_BANK"]
    held = (banks - 1) * RK3588.cbuf_bank_entries < rows * entries <= banks * RK3588.cbuf_bank_entries
    return held and banks + situation.our["CNA.CBUF_CON0.WEIGHT_BANK"] == RK3588.cbuf_banks


def multiplied(situation: Situation) -> bool:
    """The operator has a depth multiplier."""
    attributes = situation.operator.attributes
    return (
        isinstance(attributes, DepthwiseConv2D) and attributes.depth_multiplier > 1 and situation.source.shape[-1] > 1
    )


def byte_shift(situation: Situation) -> bool:
    """INT8 tensors: what Mesa takes for UINT8 is off by 128 (spec 5.9)."""
    if situation.source.dtype is not DType.INT8:
        return False
    if situation.name == WEIGHTS:
        assert situation.our_stream is not None
        ours, theirs = situation.our_stream.weights(), situation.their_stream.weights()
        return ours.size == theirs.size and bool(np.all((ours ^ theirs) == 0x80))
    if situation.name == BIASES:
        return bool(np.array_equal(_biases(situation)[1], _unsigned_biases(situation)))
    return (situation.ours - situation.theirs) % 256 in (0, 128)


def _unsigned_biases(situation: Situation) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the biases that Mesa's formula for UINT8 gives (spec 5.2): bytes unsigned, 128 taken off zero points."""
    kernel, source = situation.kernel, situation.source
    number = situation.operator.input(2)
    bias = None if number is None else situation.graph.tensors[number].data
    assert kernel.data is not None
    assert kernel.quantisation is not None
    assert source.quantisation is not None
    values = kernel.data.view(np.uint8).astype(np.int64) - kernel.quantisation.zero_point
    depthwise = situation.operator.kind == "DEPTHWISE_CONV_2D"
    sums = values.sum((0, 1, 2) if depthwise else (1, 2, 3))
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = -(source.quantisation.zero_point - 128) * sums
    return found if bias is None else found + bias.reshape(-1).astype(np.int64)


def missing_lanes(situation: Situation) -> bool:
    """Depthwise kernels whose last group of 64 has 33 to 47 channels: stored without padding (spec 10.2, item 4)."""
    depthwise = situation.our["CNA.CONV_CON1.CONV_MODE"] == 3
    if not depthwise or not 33 <= situation.source.shape[-1] % RK3588.depthwise_group <= 47:
        return False
    assert situation.our_stream is not None
    ours, theirs = situation.our_stream.weights(), situation.their_stream.weights()
    channels, full = situation.source.shape[-1], situation.our["CNA.DATA_SIZE1.DATAIN_CHANNEL"]
    whole = channels // RK3588.depthwise_group * RK3588.depthwise_group
    taps = ours.size // full
    last = ours[whole * taps :].reshape(taps, full - whole)[:, : channels - whole].reshape(-1)
    start = whole * taps
    return bool(
        np.array_equal(ours[:start], theirs[:start]) and np.array_equal(last, theirs[start : start + last.size])
    )


def clamped_between(situation: Situation) -> bool:
    """Our BS clamps to the range of the tensor between convolution and addition; BN takes its lift away again."""
    if not situation.adds or situation.our["DPU.BS_CFG.BS_RELU_BYPASS"]:
        return False
    if situation.name != BIASES:
        return True
    ours, theirs = _biases(situation)
    return bool(np.all(ours - theirs == -situation.our["DPU.BN_ALU_CFG.BN_ALU_OPERAND"]))


def packed(situation: Situation) -> bool:
    """The input has few channels, which ours or theirs unpacks on the way."""
    ours, theirs = (found["CNA.CONV_CON1.NONALIGN_DMA"] for found in (situation.our, situation.their))
    return situation.source.shape[-1] <= RK3588.packed_channels and bool(ours or theirs)


def doubled_width(situation: Situation) -> bool:
    """An input of eight columns near an addition: Mesa programs sixteen (spec 3.9)."""
    return situation.source.shape[-2] == 8 and situation.their["CNA.DATA_SIZE0.DATAIN_WIDTH"] == 16


def addend_notch(situation: Situation) -> bool:
    """Special values for maps of fewer than 12 pixels or 3 columns; they matter beyond 32 channels only (spec 3.8)."""
    pixels = situation.target.shape[1] * situation.target.shape[2]
    return situation.adds and (pixels < 12 or situation.source.shape[-2] == 3)


def operand_scale(situation: Situation) -> bool:
    """Both factors of the added tensor are nearly equal."""
    ours, theirs = (
        math.ldexp(found["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SCALE"], -found["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SHIFT"])
        for found in (situation.our, situation.their)
    )
    return situation.adds and theirs != 0 and abs(ours / theirs - 1) <= _WORST_SCALE


def one_stride(situation: Situation) -> bool:
    """The strides differ."""
    stride = getattr(situation.operator.attributes, "stride", (1, 1))
    return bool(stride[0] != stride[1])


def no_clamp(situation: Situation) -> bool:
    """A fused activation is no clamp, so we refuse the operator."""
    activation = getattr(situation.operator.attributes, "activation", None)
    return situation.name == REFUSED and activation is not None and activation.value in ("TANH", "SIGN_BIT")


def programmed_clamp(situation: Situation) -> bool:
    """A fused activation needs a clamp."""
    activation = getattr(situation.operator.attributes, "activation", None)
    return activation is not None and activation.value in ("RELU", "RELU6", "RELU_N1_TO_1")
