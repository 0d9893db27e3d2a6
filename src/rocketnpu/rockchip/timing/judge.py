"""From a task's registers to its work: any command stream is judged alike, whoever wrote it.

What counts is what the units are told, not what the writer meant: rows that are fetched, kernels that are programmed,
a cube that is written.
"""

from __future__ import annotations

from collections.abc import Iterable

from rocketnpu.errors import CommandError
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588, Soc
from rocketnpu.rockchip.timing.work import Kind, Work, multiply_cycles

DEPTHWISE = 3
"""CONV_MODE of a depthwise convolution (TRM)."""
INT8, FP16 = 0, 2
"""Codes of PROC_PRECISION whose rates are known (TRM; timing 4)."""
OUT_BYTES = {0: 1, 1: 2, 2: 2, 3: 2, 4: 4, 5: 4}
"""Bytes of a value by OUT_PRECISION: int8, int16, fp16, bf16, int32, fp32 (TRM)."""
PACKED_FIRST = 8
"""Code of ARGB_IN for input of one channel, packed as the host has it; 11 is four (spec 3.4)."""
FP16_KERNELS = 16
"""Kernels that the MAC array works on at once in fp16 (TRM: 512 multiplications a cycle; timing 4.1)."""


def judge(registers: TaskRegisters, soc: Soc) -> Work:
    """Read a task's work from its registers.

    Raises:
        CommandError: it starts units that are not known to work together, or at a precision whose rates are not known.
    """
    units = frozenset(registers.units)
    if {"CNA", "CORE", "DPU"} <= units:
        return _convolution(registers, soc)
    if units == {"DPU", "DPU_RDMA"}:
        return _pass(registers)
    if units == {"PPU", "PPU_RDMA"}:
        return _pooling(registers)
    started = ", ".join(registers.units) or "no unit"
    raise CommandError(f"a task that starts {started} cannot be timed: no known program starts these together")


def judge_words(words: Iterable[int], soc: Soc) -> Work:
    """Read a task's work from its command list, which sets every register that matters.

    Raises:
        CommandError: as :func:`judge`.
    """
    return judge(TaskRegisters(words), soc)


def _element(code: int, where: str) -> int:
    """Return the bytes of an input value."""
    if code not in (INT8, FP16):
        raise CommandError(f"{where}: PROC_PRECISION {code} cannot be timed; rates are known for int8 (0) and fp16 (2)")
    return 1 if code == INT8 else 2


def _convolution(regs: TaskRegisters, soc: Soc) -> Work:
    element = _element(regs["CNA.CONV_CON1.PROC_PRECISION"], "CNA.CONV_CON1")
    depthwise = regs["CNA.CONV_CON1.CONV_MODE"] == DEPTHWISE
    taps = regs["CNA.WEIGHT_SIZE2.WEIGHT_WIDTH"] * regs["CNA.WEIGHT_SIZE2.WEIGHT_HEIGHT"]
    channels, kernels = regs["CNA.DATA_SIZE1.DATAIN_CHANNEL"], regs["CNA.WEIGHT_SIZE2.WEIGHT_KERNELS"]
    pixels = regs["CNA.DATA_SIZE3.DATAOUT_ATOMICS"]
    group = soc.kernel_group if element == 1 else FP16_KERNELS
    if depthwise:
        blocks = _up(channels, soc.depthwise_group)
        first = taps * min(channels, soc.depthwise_group) * element
    else:
        blocks = _up(channels, soc.weight_lanes) * _up(kernels, group)
        first = min(kernels, group) * regs["CNA.WEIGHT_SIZE1.WEIGHT_BYTES_PER_KERNEL"]
    weights = regs["CNA.WEIGHT_SIZE0.WEIGHT_BYTES"]
    if regs["CNA.CBUF_CON0.WEIGHT_REUSE"]:
        first = weights = 0
    outputs = regs["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    return Work(
        Kind.CONVOLUTION,
        features=0 if regs["CNA.CBUF_CON0.DATA_REUSE"] else _fetched(regs, channels, element),
        operand=_operand(regs),
        first_weights=first,
        weights=max(weights - first, 0),
        multiply=multiply_cycles(pixels, taps, blocks),
        values=multiply_cycles(pixels, 1, _up(outputs, soc.kernel_group) * soc.kernel_group),
        lookup=_looks_up(regs),
        stored=_stored(regs, pixels),
    )


def _fetched(regs: TaskRegisters, channels: int, element: int) -> int:
    """Return the bytes of the input: whole slots of 16 bytes, or as many channels as a packed pixel has."""
    pixels = regs["CNA.FC_DATA_SIZE0.DMA_WIDTH"] * regs["CNA.FC_DATA_SIZE0.DMA_HEIGHT"]
    packed = regs["CNA.CONV_CON1.ARGB_IN"]
    if packed:
        # In packed mode DMA_WIDTH may count bytes that are fetched; pixels are DATAIN_WIDTH (spec 3.4).
        width = regs["CNA.DATA_SIZE0.DATAIN_WIDTH"]
        return width * regs["CNA.DATA_SIZE0.DATAIN_HEIGHT"] * (packed - PACKED_FIRST + 1) * element
    return pixels * _up(channels * element, RK3588.slot) * RK3588.slot


def _operand(regs: TaskRegisters) -> int:
    """Return the bytes of the map that the EW stage is fed with."""
    if regs["DPU.EW_CFG.EW_BYPASS"] or regs["DPU.EW_CFG.EW_OP_BYPASS"] or regs["DPU_RDMA.RDMA_ERDMA_CFG.ERDMA_DISABLE"]:
        return 0
    if "DPU_RDMA" not in regs.units:
        return 0
    channels = _up(regs["DPU_RDMA.RDMA_DATA_CUBE_CHANNEL.CHANNEL"] + 1, RK3588.slot) * RK3588.slot
    size = 1 << max(regs["DPU_RDMA.RDMA_ERDMA_CFG.ERDMA_DATA_SIZE"] - 1, 0)
    if not regs["DPU_RDMA.RDMA_ERDMA_CFG.ERDMA_DATA_MODE"]:
        return channels * size
    return _cube(regs, "DPU_RDMA.RDMA_DATA_CUBE_WIDTH.WIDTH", "DPU_RDMA.RDMA_DATA_CUBE_HEIGHT.HEIGHT") * channels * size


def _looks_up(regs: TaskRegisters) -> bool:
    return not regs["DPU.EW_CFG.EW_BYPASS"] and not regs["DPU.EW_CFG.EW_LUT_BYPASS"]


def _stored(regs: TaskRegisters, pixels: int) -> int:
    channels = regs["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    code = regs["DPU.DATA_FORMAT.OUT_PRECISION"]
    size = OUT_BYTES.get(code)
    if size is None:
        raise CommandError(f"DPU.DATA_FORMAT: OUT_PRECISION {code} cannot be timed: the size of a value is unknown")
    return pixels * _up(channels * size, RK3588.slot) * RK3588.slot


def _pass(regs: TaskRegisters) -> Work:
    element = _element(regs["DPU.DATA_FORMAT.PROC_PRECISION"], "DPU.DATA_FORMAT")
    pixels = _cube(regs, "DPU.DATA_CUBE_WIDTH.WIDTH", "DPU.DATA_CUBE_HEIGHT.HEIGHT")
    channels = _up((regs["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1) * element, RK3588.slot) * RK3588.slot
    return Work(
        Kind.PASS,
        features=pixels * channels,
        operand=_operand(regs),
        values=pixels * channels // element,
        lookup=_looks_up(regs),
        stored=_stored(regs, pixels),
    )


def _pooling(regs: TaskRegisters) -> Work:
    element = _element(regs["PPU.DATA_FORMAT.PROC_PRECISION"], "PPU.DATA_FORMAT")
    channels = _up((regs["PPU.DATA_CUBE_IN_CHANNEL.CUBE_IN_CHANNEL"] + 1) * element, RK3588.slot) * RK3588.slot
    fetched = _cube(regs, "PPU.DATA_CUBE_IN_WIDTH.CUBE_IN_WIDTH", "PPU.DATA_CUBE_IN_HEIGHT.CUBE_IN_HEIGHT") * channels
    written = _cube(regs, "PPU.DATA_CUBE_OUT_WIDTH.CUBE_OUT_WIDTH", "PPU.DATA_CUBE_OUT_HEIGHT.CUBE_OUT_HEIGHT")
    return Work(Kind.POOLING, features=fetched, values=fetched // element, stored=written * channels)


def _cube(regs: TaskRegisters, width: str, height: str) -> int:
    """Return the pixels of a cube whose registers hold sizes minus one."""
    return (regs[width] + 1) * (regs[height] + 1)


def _up(value: int, unit: int) -> int:
    return -(-value // unit)
