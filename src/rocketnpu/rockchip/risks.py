"""What programs write that no chip has been seen to do: the riskiest registers, and the values that were seen.

Found by holding 841 tasks of 11 models against every list known to have run (outside 4, 2.6d, 2.6e). These are no
rules and refuse nothing: in all likelihood the chip does what its registers say. Where a board computes something
wrong, this is where to look first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rocketnpu.evidence import Risk
from rocketnpu.program.program import Program
from rocketnpu.rockchip.registers.command import from_bytes
from rocketnpu.rockchip.registers.task_registers import TaskRegisters

Look = Callable[[TaskRegisters], str]


@dataclass(frozen=True)
class Found:
    """One task that does something unseen."""

    risk: str
    operator: int
    value: str


def _convolves(regs: TaskRegisters) -> bool:
    return "CNA" in regs.units


def _depthwise(regs: TaskRegisters) -> bool:
    return _convolves(regs) and regs["CNA.CONV_CON1.CONV_MODE"] == 3


def _operand(regs: TaskRegisters) -> str:
    if regs["DPU.EW_CFG.EW_BYPASS"] or regs["DPU.EW_CFG.EW_OP_BYPASS"] or regs["DPU.EW_CFG.EW_OP_CVT_BYPASS"]:
        return ""
    offset = regs["DPU.EW_CVT_OFFSET_VALUE.EW_OP_CVT_OFFSET"]
    shift = regs["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SHIFT"]
    return f"offset {offset}, shift {shift}" if offset or shift not in (0, 9) else ""


def _stride(regs: TaskRegisters) -> str:
    least = -4 if _depthwise(regs) else -33
    found = regs["CNA.DMA_CON2.SURF_STRIDE"] if _convolves(regs) else 0
    return f"SURF_STRIDE {found}" if found < least else ""


def _kernel(regs: TaskRegisters) -> str:
    if not _convolves(regs):
        return ""
    size = regs["CNA.WEIGHT_SIZE2.WEIGHT_HEIGHT"], regs["CNA.WEIGHT_SIZE2.WEIGHT_WIDTH"]
    pads = regs["CNA.PAD_CON0.PAD_TOP"], regs["CNA.PAD_CON0.PAD_LEFT"]
    return f"{size[0]}x{size[1]}, pads {pads[0]} and {pads[1]}" if max(size) > 3 or max(pads) > 2 else ""


def _channels(regs: TaskRegisters) -> str:
    if not _convolves(regs):
        return ""
    channels, kernels = regs["CNA.DATA_SIZE1.DATAIN_CHANNEL"], regs["CNA.WEIGHT_SIZE2.WEIGHT_KERNELS"]
    size = regs["CNA.WEIGHT_SIZE1.WEIGHT_BYTES_PER_KERNEL"]
    unseen = max(channels, kernels) > 1024 or size > 3072
    return f"{channels} channels, {kernels} kernels of {size} bytes" if unseen else ""


def _conversion(regs: TaskRegisters) -> str:
    shift = regs["DPU.OUT_CVT_SHIFT.OUT_CVT_SHIFT"]
    return f"shift {shift}" if _depthwise(regs) and not 16 <= shift <= 22 else ""


def _notches(regs: TaskRegisters) -> str:
    shared = regs["DPU_RDMA.RDMA_FEATURE_MODE_CFG.COMB_USE"] == 5
    found = regs["DPU_RDMA.RDMA_SURF_NOTCH.SURF_NOTCH_ADDR"]
    return f"notch {found}" if shared and found > 256 else ""


def _small(regs: TaskRegisters) -> str:
    if not _depthwise(regs):
        return ""
    entries, real = regs["CNA.CBUF_CON1.DATA_ENTRIES"], regs["CNA.DATA_SIZE1.DATAIN_CHANNEL_REAL"]
    return f"DATA_ENTRIES {entries}, CHANNEL_REAL {real}" if entries == 1 or real in (3, 4) else ""


def _combined(regs: TaskRegisters) -> str:
    constant = not regs["DPU.BN_CFG.BN_BYPASS"] and not regs["DPU.BN_CFG.BN_ALU_BYPASS"]
    told = (
        ("RELUX with a BN constant", constant and regs["DPU.BN_CFG.BN_RELUX_EN"]),
        ("a look-up", regs["DPU.EW_CFG.EW_BYPASS"] == 0 and regs["DPU.EW_CFG.EW_LUT_BYPASS"] == 0),
        ("depthwise records", _depthwise(regs) and regs["DPU_RDMA.RDMA_BRDMA_CFG.BRDMA_DATA_USE"] == 7),
        ("a flying task", "DPU_RDMA" in regs.units and not _convolves(regs)),
    )
    return ", ".join(name for name, there in told if there)


def _pool(regs: TaskRegisters) -> str:
    if "PPU" not in regs.units:
        return ""
    window = max(regs[f"PPU.POOLING_KERNEL_CFG.KERNEL_{axis}"] + 1 for axis in ("WIDTH", "HEIGHT"))
    stride = regs["PPU.POOLING_KERNEL_CFG.KERNEL_STRIDE_WIDTH"] + 1
    width = regs["PPU.DATA_CUBE_IN_WIDTH.CUBE_IN_WIDTH"] + 1
    hung = stride == 1 and window >= 3 and width > (34 if window <= 4 else 20)
    return f"windows of {window}, stride 1, {width} columns" if hung else ""


_LOOKS: tuple[tuple[Risk, Look], ...] = (
    (
        Risk("operand-converter", "EW's converter has an offset, or a shift other than 0 and 9.", "outside 4.2"),
        _operand,
    ),
    (Risk("low-maps", "SURF_STRIDE is below -33, depthwise below -4: maps of few rows.", "outside 4.4"), _stride),
    (
        Risk(
            "large-kernels",
            "Kernels are larger than 3x3, or pads than 2. 5x5 is in lists that pass; one author's 5x5, 7x7 were wrong.",
            "outside 2.6d, 4.5",
        ),
        _kernel,
    ),
    (Risk("many-channels", "More than 1,024 channels or kernels, or 3,072 bytes a kernel.", "outside 4.6"), _channels),
    (Risk("depthwise-shift", "A depthwise output shift is not 16 to 22.", "outside 4.7"), _conversion),
    (Risk("split-additions", "A fused addition skips more than 256 slots of its operand.", "outside 4.8"), _notches),
    (Risk("narrow-depthwise", "Depthwise rows of one entry, or CHANNEL_REAL 3 or 4.", "outside 4.9"), _small),
    (Risk("unproven-mixtures", "Unproven rules meet in one task.", "outside 4.10"), _combined),
    (
        Risk("wide-pooling", "Pooling of stride 1 is wider than 34 (3x3, 4x4) or 20 columns: it hung.", "outside 2.6e"),
        _pool,
    ),
)
RISKS = tuple(risk for risk, _ in _LOOKS)
"""The risks by name, as the evidence page has them."""


def task_risks(words: list[int]) -> Iterator[tuple[str, str]]:
    """Say what one command list does that was never seen: the risk's name, and the value."""
    registers = TaskRegisters(words)
    for risk, look in _LOOKS:
        value = look(registers)
        if value:
            yield risk.name, value


def program_risks(program: Program) -> tuple[Found, ...]:
    """Look through all tasks of a program."""
    words = from_bytes(program.buffers[program.commands].data)
    found = []
    for task in program.tasks:
        start = task.offset // 8
        for name, value in task_risks(words[start : start + task.words].tolist()):
            found.append(Found(name, task.operator, value))
    return tuple(found)
