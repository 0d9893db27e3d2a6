"""PPU with PPU_RDMA: pooling of int8 tensors in memory (flying mode).

Register values of programs that run on RK3568 and RV1106; on RK3588 the same structure is proven for fp16 only, and
int8 needs IN_PRECISION 1 (manual; addendum 4.1, 4.2). Averages: sum * recip_w * recip_h * 2**-32, half to even
(RV1106, 25,344 bytes; that the two reciprocals are applied in a single shift is *assumed*, addendum 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.arrays import Int8, Int64, slots
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.registers import Registers
from rocketnpu.rockchip.simulator.rounding import INT8_MAX, INT8_MIN, shift_half_even

AVERAGE, MAXIMUM, MINIMUM = 0, 1, 2
"""POOLING_METHOD (TRM)."""
BYTE_INPUT = 1
"""PPU_RDMA IN_PRECISION of 8-bit data; 0 would be 4 bit (TRM; addendum 4.1)."""
MAX_SLOTS = 8191
"""Output slots of one task (runs on RK3588; spec 6.4)."""
SLOT_BYTES = 16
_RECIPROCAL_BITS = 32
"""Each reciprocal is 65536 / kernel size."""


@dataclass(frozen=True, slots=True)
class PpuConfig:
    """One pooling task. Sizes are not minus one; strides in bytes."""

    method: int
    in_size: tuple[int, int]
    """Rows, columns."""
    out_size: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad_before: tuple[int, int]
    pad_after: tuple[int, int]
    pad_value: int
    reciprocal: int
    """Product of the two reciprocals."""
    source: int
    line_stride: int
    source_surface: int
    target: int
    target_surface: int


def read_ppu(ppu: Registers, rdma: Registers, checks: Checks) -> PpuConfig:
    """Read the registers.

    Raises:
        SimulationError: a mode that is not modelled, or windows that the input does not fill.
    """
    _check_modes(ppu, rdma, checks)
    size = {axis: ppu[f"DATA_CUBE_IN_{axis}.CUBE_IN_{axis}"] + 1 for axis in ("HEIGHT", "WIDTH", "CHANNEL")}
    out = {axis: ppu[f"DATA_CUBE_OUT_{axis}.CUBE_OUT_{axis}"] + 1 for axis in ("HEIGHT", "WIDTH", "CHANNEL")}
    fetched = {axis: rdma[f"RDMA_CUBE_IN_{axis}.CUBE_IN_{axis}"] + 1 for axis in ("HEIGHT", "WIDTH", "CHANNEL")}
    if fetched != size or out["CHANNEL"] != size["CHANNEL"]:
        checks.refuse(
            "PPU_RDMA", "RDMA_CUBE_IN_WIDTH", f"fetches {fetched} for an input of {size} and an output of {out}"
        )
    value = ppu["PADDING_VALUE_1_CFG.PAD_VALUE_0"] & 0xFF
    config = PpuConfig(
        method=ppu["OPERATION_MODE_CFG.POOLING_METHOD"],
        in_size=(size["HEIGHT"], size["WIDTH"]),
        out_size=(out["HEIGHT"], out["WIDTH"]),
        channels=size["CHANNEL"],
        kernel=_pair(ppu, "POOLING_KERNEL_CFG.KERNEL_{}"),
        stride=_pair(ppu, "POOLING_KERNEL_CFG.KERNEL_STRIDE_{}"),
        pad_before=(ppu["POOLING_PADDING_CFG.PAD_TOP"], ppu["POOLING_PADDING_CFG.PAD_LEFT"]),
        pad_after=(ppu["POOLING_PADDING_CFG.PAD_BOTTOM"], ppu["POOLING_PADDING_CFG.PAD_RIGHT"]),
        # Both encodings of -128 in use (19 bits, 35 bits) end in the byte itself (addendum 4.2).
        pad_value=value - 256 if value > INT8_MAX else value,
        reciprocal=ppu["RECIP_KERNEL_WIDTH.RECIP_KERNEL_WIDTH"] * ppu["RECIP_KERNEL_HEIGHT.RECIP_KERNEL_HEIGHT"],
        source=rdma.raw("RDMA_SRC_BASE_ADDR"),
        line_stride=rdma["RDMA_SRC_LINE_STRIDE.SRC_LINE_STRIDE"] * SLOT_BYTES,
        source_surface=rdma["RDMA_SRC_SURF_STRIDE.SRC_SURF_STRIDE"] * SLOT_BYTES,
        target=ppu["DST_BASE_ADDR.DST_BASE_ADDR"] * SLOT_BYTES,
        target_surface=ppu["DST_SURF_STRIDE.DST_SURF_STRIDE"] * SLOT_BYTES,
    )
    _check_windows(config, checks)
    return config


def _pair(regs: Registers, pattern: str) -> tuple[int, int]:
    return regs[pattern.format("HEIGHT")] + 1, regs[pattern.format("WIDTH")] + 1


def _check_modes(ppu: Registers, rdma: Registers, checks: Checks) -> None:
    if not ppu["OPERATION_MODE_CFG.FLYING_MODE"] or ppu["DATA_FORMAT.DPU_FLYIN"]:
        checks.refuse("PPU", "OPERATION_MODE_CFG", "pooling behind the DPU has no known program: not modelled")
    for name in ("INDEX_EN", "USE_CNT", "NOTCH_ADDR"):
        if ppu[f"OPERATION_MODE_CFG.{name}"]:
            checks.refuse("PPU", "OPERATION_MODE_CFG", f"{name} is set: not modelled, its effect is not documented")
    if ppu["OPERATION_MODE_CFG.POOLING_METHOD"] not in (AVERAGE, MAXIMUM, MINIMUM):
        checks.refuse("PPU", "OPERATION_MODE_CFG", "POOLING_METHOD 3 does not exist")
    for name in ("MC_SURF_OUT", "NONALIGN"):
        if ppu[f"MISC_CTRL.{name}"]:
            checks.refuse("PPU", "MISC_CTRL", f"{name} is set: not modelled")
    if ppu["DATA_FORMAT.PROC_PRECISION"]:
        checks.refuse(
            "PPU", "DATA_FORMAT", f"PROC_PRECISION {ppu['DATA_FORMAT.PROC_PRECISION']}: only int8 is modelled"
        )
    if rdma["RDMA_DATA_FORMAT.IN_PRECISION"] != BYTE_INPUT:
        found = rdma["RDMA_DATA_FORMAT.IN_PRECISION"]
        checks.refuse("PPU_RDMA", "RDMA_DATA_FORMAT", f"IN_PRECISION {found}: only 1 (8 bit) is modelled")


def _check_windows(config: PpuConfig, checks: Checks) -> None:
    """Check that windows and input cover each other exactly: otherwise the unit starves (RK3568; addendum 4.2)."""
    for axis, name in enumerate(("HEIGHT", "WIDTH")):
        covered = (config.out_size[axis] - 1) * config.stride[axis] + config.kernel[axis]
        given = config.in_size[axis] + config.pad_before[axis] + config.pad_after[axis]
        if covered != given:
            checks.refuse(
                "PPU",
                f"DATA_CUBE_IN_{name}",
                f"{config.out_size[axis]} windows span {covered} cells, input and padding make {given}",
            )
        if max(config.pad_before[axis], config.pad_after[axis]) >= config.kernel[axis]:
            checks.refuse("PPU", "POOLING_PADDING_CFG", "a window would see padding only")
    if config.out_size[0] * config.out_size[1] > MAX_SLOTS:
        checks.distrust("PPU", "DATA_CUBE_OUT_WIDTH", f"more than {MAX_SLOTS} output slots in one task")


def run_ppu(config: PpuConfig, memory: Memory, checks: Checks) -> None:
    """Pool, and write the output.

    Raises:
        SimulationError: outside mapped memory.
    """
    surfaces = -(-config.channels // SLOT_BYTES)
    view: Int8 = memory.view(
        config.source,
        (surfaces, *config.in_size, SLOT_BYTES),
        (config.source_surface, config.line_stride, SLOT_BYTES, 1),
        unit="PPU_RDMA",
        register="RDMA_SRC_BASE_ADDR",
        dtype=np.int8,
    )
    target = memory.view(
        config.target,
        (surfaces, *config.out_size, SLOT_BYTES),
        (config.target_surface, config.out_size[1] * SLOT_BYTES, SLOT_BYTES, 1),
        unit="PPU",
        register="DST_BASE_ADDR",
        write=True,
    )
    padding = [(0, 0), *zip(config.pad_before, config.pad_after, strict=True), (0, 0)]
    padded: Int8 = np.pad(view, padding, constant_values=config.pad_value)
    pooled = np.ascontiguousarray(_average(padded, config) if config.method == AVERAGE else _extreme(padded, config))
    data = pooled.view(np.uint8)
    if checks.defects:
        data ^= 0x80
    np.copyto(slots(target), slots(data))


def _taps(padded: Int8, config: PpuConfig) -> list[Int8]:
    rows, columns = config.out_size
    down, across = config.stride
    return [
        padded[:, y : y + (rows - 1) * down + 1 : down, x : x + (columns - 1) * across + 1 : across]
        for y in range(config.kernel[0])
        for x in range(config.kernel[1])
    ]


def _extreme(padded: Int8, config: PpuConfig) -> Int8:
    choose = np.maximum if config.method == MAXIMUM else np.minimum
    first, *others = _taps(padded, config)
    best = first.copy()
    for tap in others:
        choose(best, tap, out=best)
    return best


def _average(padded: Int8, config: PpuConfig) -> Int8:
    """Average over whole windows, padding included."""
    total: Int64 = np.zeros((padded.shape[0], *config.out_size, SLOT_BYTES), np.int64)
    for tap in _taps(padded, config):
        total += tap
    mean = shift_half_even(total * config.reciprocal, _RECIPROCAL_BITS)
    return np.clip(mean, INT8_MIN, INT8_MAX).astype(np.int8)
