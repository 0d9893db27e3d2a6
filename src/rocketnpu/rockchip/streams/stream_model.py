"""What a command list must compute, whoever wrote it: its registers and buffers as numbers of the integer model.

This is a second reading of the hardware documents beside the simulator, and shares no code with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rocketnpu.rockchip.models.integer_model import Int8, Int64, LayerModel, Operand, layer_output, round_shift
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.streams.stream_memory import (
    Buffers,
    ChannelRecords,
    OutsideError,
    addend,
    features,
    packed_features,
    records,
    target_size,
    weights,
)
from rocketnpu.rockchip.tasks.requantise import CHANNEL_SHIFT
from rocketnpu.rockchip.tasks.task import Combine

CONVOLUTION = frozenset({"CNA", "CORE", "DPU", "DPU_RDMA"})
_COMBINE = {0: Combine.MAXIMUM, 1: Combine.MINIMUM, 2: Combine.ADD, 4: Combine.SUBTRACT}
"""EW_ALU_ALGO (TRM; spec 5.5)."""
_MUST_BE_ZERO: Mapping[str, str] = {
    "CNA.CONV_CON1.DECONV": "a transposed convolution",
    "CNA.CONV_CON1.IN_PRECISION": "an input that is not int8",
    "CNA.CONV_CON3.NN_MODE": "cores that work together",
    "CNA.CBUF_CON0.DATA_REUSE": "features of an earlier task",
    "CORE.CLIP_TRUNCATE.ROUND_TYPE": "another rounding",
    "DPU.FEATURE_MODE_CFG.TP_EN": "a transposed output",
    "DPU.DATA_FORMAT.OUT_PRECISION": "an output that is not int8",
    "DPU.BN_CFG.BN_ALU_SRC": "an operand of BN from memory",
    "DPU.OUT_CVT_SHIFT.CVT_TYPE": "an output offset before the scale",
    "DPU.OUT_CVT_SHIFT.CVT_ROUND": "another rounding",
    "DPU.EW_CFG.EW_CVT_ROUND": "another rounding",
    "DPU.EW_CVT_SCALE_VALUE.EW_TRUNCATE": "a shifted product",
}


class UndescribedError(Exception):
    """The list does something that the integer model does not describe; the text says what."""


def task_output(registers: TaskRegisters, memory: Buffers) -> Int8:
    """Compute what a task must write: stored values ``(rows, columns, channels)``, real channels only.

    ``memory`` holds what the task reads, as it is before the task runs.

    Raises:
        UndescribedError: this model does not cover it.
    """
    if frozenset(registers.units) != CONVOLUTION:
        raise UndescribedError(f"it starts {', '.join(registers.units) or 'nothing'}, which is no convolution")
    for path, what in _MUST_BE_ZERO.items():
        if registers[path]:
            raise UndescribedError(f"it has {what} ({path}={registers[path]})")
    try:
        model = _layer(registers, memory)
        second = None if model.operand is None else addend(registers, memory)
        source = _source(registers, memory)
        return layer_output(model, source[..., : model.weights.shape[-1]], second)
    except OutsideError as error:
        raise UndescribedError(str(error)) from None
    except (ValueError, IndexError, MemoryError) as error:  # sizes that no compiler writes, in lists of strangers
        raise UndescribedError(f"its sizes contradict one another: {error}") from None


def _source(registers: TaskRegisters, memory: Buffers) -> Int8:
    if not registers["CNA.CONV_CON1.NONALIGN_DMA"]:
        return features(registers, memory)
    raw = packed_features(registers, memory)
    rows, columns, count = raw.shape
    converted = np.zeros((rows, columns, registers["CNA.DATA_SIZE1.DATAIN_CHANNEL"]), np.int8)
    for lane in range(count):
        values = raw[..., lane]
        if not registers["CNA.CVT_CON0.CVT_BYPASS"]:
            values = _converted(registers, values, lane)
        converted[..., lane] = np.clip(values, -128, 127)
    return converted


def _converted(registers: TaskRegisters, values: Int64, lane: int) -> Int64:
    """Apply the input converter (spec 3.4)."""
    if registers["CNA.CVT_CON0.CVT_TYPE"]:
        raise UndescribedError("its input converter adds before it multiplies")
    scale = registers[f"CNA.CVT_CON{lane + 1}.CVT_SCALE{lane}"]
    shifted = round_shift(values * scale, registers[f"CNA.CVT_CON0.CVT_TRUNCATE_{lane}"])
    return shifted + registers[f"CNA.CVT_CON{lane + 1}.CVT_OFFSET{lane}"]


def _layer(registers: TaskRegisters, memory: Buffers) -> LayerModel:
    channels = registers["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    found = records(registers, memory, channels)
    kernels = _kernels(registers, memory, found, channels)
    bn = _bn(registers)
    operand = _operand(registers)
    multipliers, slope_shift = _multipliers(registers, found)
    relu, ceiling = bn.clamp
    if operand is not None:
        if relu:
            raise UndescribedError("it clamps both before and behind its operand")
        relu, ceiling = _clamp(registers, "EW")
    return LayerModel(
        kernels,
        _biases(registers, found, channels),
        target_size(registers),
        (registers["CNA.CONV_CON3.CONV_Y_STRIDE"], registers["CNA.CONV_CON3.CONV_X_STRIDE"]),
        (registers["CNA.CONV_CON3.ATROUS_Y_DILATION"] + 1, registers["CNA.CONV_CON3.ATROUS_X_DILATION"] + 1),
        (registers["CNA.PAD_CON0.PAD_TOP"], registers["CNA.PAD_CON0.PAD_LEFT"]),
        _padding(registers, channels if kernels.ndim == 3 else 0),
        registers["DPU.OUT_CVT_SCALE.OUT_CVT_SCALE"],
        registers["DPU.OUT_CVT_SHIFT.OUT_CVT_SHIFT"],
        registers["DPU.OUT_CVT_OFFSET.OUT_CVT_OFFSET"],
        multipliers,
        registers["CORE.CLIP_TRUNCATE.CLIP_TRUNCATE"],
        bn.addend,
        relu,
        ceiling,
        operand,
        slope_shift,
        _room(registers),
    )


def _kernels(registers: TaskRegisters, memory: Buffers, found: ChannelRecords, channels: int) -> Int64:
    """Return the kernels with the feature offset added to every weight, which is what it amounts to (spec 12.1)."""
    stored = weights(registers, memory).astype(np.int64)
    available = stored.shape[-1] if stored.ndim == 3 else len(stored)
    if available < channels:
        raise UndescribedError(f"it writes {channels} channels with kernels for {available}")
    offsets = np.zeros(channels, np.int64)
    if registers["CORE.MISC_CFG.QD_EN"] and not registers["DPU.BS_OW_CFG.OD_BYPASS"]:
        offsets += registers["DPU.BS_OW_OP.OW_OP"]
        if registers["DPU.BS_OW_CFG.OW_SRC"] and found.feature_offsets is not None:
            offsets = found.feature_offsets
    if stored.ndim == 3:
        return stored[..., :channels] + offsets
    return stored[:channels] + offsets[:, None, None, None]


def _biases(registers: TaskRegisters, found: ChannelRecords, channels: int) -> Int64:
    if registers["DPU.BS_CFG.BS_BYPASS"] or registers["DPU.BS_CFG.BS_ALU_BYPASS"]:
        return np.zeros(channels, np.int64)
    values = found.addends if registers["DPU.BS_CFG.BS_ALU_SRC"] else None
    if values is None:
        values = np.full(channels, registers["DPU.BS_ALU_CFG.BS_ALU_OPERAND"], np.int64)
    return values if registers["DPU.BS_CFG.BS_ALU_ALGO"] == 2 else -values


def _multipliers(registers: TaskRegisters, found: ChannelRecords) -> tuple[Int64 | None, int | None]:
    """Return the multipliers of BS, and their shift where they apply to negative values only."""
    if registers["DPU.BS_CFG.BS_BYPASS"] or registers["DPU.BS_CFG.BS_MUL_BYPASS"]:
        return None, None
    positive, negative = (
        registers["DPU.BS_MUL_CFG.BS_MUL_SHIFT_VALUE"],
        registers["DPU.DATA_FORMAT.BS_MUL_SHIFT_VALUE_NEG"],
    )
    if not registers["DPU.BS_MUL_CFG.BS_MUL_SRC"]:
        raise UndescribedError("its BS multiplies by a constant")
    if registers["DPU.BS_CFG.BS_MUL_PRELU"]:
        return found.multipliers, negative
    if (positive, negative) != (CHANNEL_SHIFT, CHANNEL_SHIFT):
        raise UndescribedError(f"its BS shifts by {positive}, negative values by {negative}")
    return found.multipliers, None


def _room(registers: TaskRegisters) -> int | None:
    """Return the ceiling of a clamp in BS; a ReLU without one ends at the largest 32-bit value."""
    if registers["DPU.BS_CFG.BS_BYPASS"]:
        return None
    relu, ceiling = _clamp(registers, "BS")
    if not relu:
        return None
    return (1 << 31) - 1 if ceiling is None else ceiling


class _Bn:
    """The BN stage, as far as it is an addition and a clamp."""

    def __init__(self, addend_value: int, clamp: tuple[bool, int | None]) -> None:
        self.addend, self.clamp = addend_value, clamp


def _bn(registers: TaskRegisters) -> _Bn:
    if registers["DPU.BN_CFG.BN_BYPASS"]:
        return _Bn(0, (False, None))
    if not registers["DPU.BN_CFG.BN_MUL_BYPASS"]:
        raise UndescribedError("it multiplies in BN")
    value = 0
    if not registers["DPU.BN_CFG.BN_ALU_BYPASS"]:
        value = registers["DPU.BN_ALU_CFG.BN_ALU_OPERAND"]
        if registers["DPU.BN_CFG.BN_ALU_ALGO"] != 2:
            value = -value
    return _Bn(value, _clamp(registers, "BN"))


def _clamp(registers: TaskRegisters, stage: str) -> tuple[bool, int | None]:
    if registers[f"DPU.{stage}_CFG.{stage}_RELU_BYPASS"]:
        return False, None
    limited = registers[f"DPU.{stage}_CFG.{stage}_RELUX_EN"]
    return True, registers[f"DPU.{stage}_RELUX_CMP_VALUE.{stage}_RELUX_CMP_DAT"] if limited else None


def _operand(registers: TaskRegisters) -> Operand | None:
    if registers["DPU.EW_CFG.EW_BYPASS"]:
        return None
    if not registers["DPU.EW_CFG.EW_LUT_BYPASS"]:
        raise UndescribedError("it looks values up in a table")
    if registers["DPU.EW_CFG.EW_OP_BYPASS"]:
        return None
    if not registers["DPU.EW_CFG.EW_OP_SRC"] or registers["DPU_RDMA.RDMA_FEATURE_MODE_CFG.COMB_USE"] != 5:
        raise UndescribedError("its EW operand does not come from a feature map")
    multiplies = registers["DPU.EW_CFG.EW_OP_TYPE"]
    algorithm = registers["DPU.EW_CFG.EW_ALU_ALGO"]
    if not multiplies and algorithm not in _COMBINE:
        raise UndescribedError(f"its EW_ALU_ALGO is {algorithm}")
    combine = Combine.MULTIPLY if multiplies else _COMBINE[algorithm]
    if registers["DPU.EW_CFG.EW_OP_CVT_BYPASS"]:
        return Operand(combine, 0, 1, 0)
    if not registers["DPU.EW_CFG.EW_CVT_TYPE"]:
        raise UndescribedError("its EW converter multiplies before it adds")
    return Operand(
        combine,
        registers["DPU.EW_CVT_OFFSET_VALUE.EW_OP_CVT_OFFSET"],
        registers["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SCALE"],
        registers["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SHIFT"],
    )


def _padding(registers: TaskRegisters, depthwise: int) -> int | Int64:
    """Return the padded value: byte 0, but byte 1 for odd ones of the first 32 ``depthwise`` channels (outside 2.1)."""
    value = registers.raw("CNA.PAD_CON1")
    even, odd = ((value >> place & 0xFF ^ 0x80) - 0x80 for place in (0, 8))
    if not depthwise:
        return even
    channel = np.arange(depthwise)
    pad: Int64 = np.where((channel % 2 == 1) & (channel < 32), odd, even).astype(np.int64)
    return pad
