"""DPU_RDMA: four engines that fetch operands for the DPU.

BRDMA and NRDMA read per-channel operands of the BS and BN stages, ERDMA the element-wise operand, MRDMA the main
input of a flying task or, behind a convolution, the even surfaces of an added tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.arrays import Array, Int8, Int64, Scratch, slots
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.registers import Registers

SLOT_BYTES = 16
RECORD_CHANNELS = 8
"""Channels of one operand record (Mesa's and the vendor's tables; addendum 1.2)."""
USE_ALU, USE_OW, USE_MUL, USE_SHIFT = 1, 2, 4, 8
"""Bits of DATA_USE."""
SHARED = 5
"""COMB_USE: MRDMA and ERDMA read one tensor's even and odd surfaces (spec 3.8)."""
PER_CHANNEL, PER_PIXEL = 0, 1
"""ERDMA_DATA_MODE (TRM); mode 2 hangs (spec 10.1)."""
BYTE_OPERAND = 1
"""ERDMA_DATA_SIZE of int8."""


@dataclass(frozen=True, slots=True)
class ChannelOperands:
    """Per-channel operands; None where the records do not hold one."""

    alu: Int64 | None = None
    ow: Int64 | None = None
    mul: Int64 | None = None
    seen: tuple[tuple[Array, Array], ...] = ()
    """Views of the memory they were read from, each with its content at that time."""

    @property
    def current(self) -> bool:
        """Whether the memory still holds what was read."""
        return all(np.array_equal(view, content) for view, content in self.seen)


def read_records(address: int, use: int, channels: int, stage: str, context: Context) -> ChannelOperands:
    """Read BRDMA or NRDMA records: of each 8 channels the operands that DATA_USE selects, one kind after the other.

    int32 ALU, int16 OW ("CPEND"), int16 MUL (vendor's tables of 448 tasks, one layer exact on RK3588; addendum 1.2).
    ALU alone is a plain int32 array (Mesa), of which exactly ``channels`` elements are read.

    Raises:
        SimulationError: outside mapped memory, or a per-channel shift, whose format is unknown.
    """
    register = f"RDMA_{stage}_BASE_ADDR"
    if use & USE_SHIFT:
        context.checks.refuse("DPU_RDMA", register, "per-channel shifts (TRT): their format is unknown")
    kinds = [(USE_ALU, 4, "<i4"), (USE_OW, 2, "<i2"), (USE_MUL, 2, "<i2")]
    record = RECORD_CHANNELS * sum(size for bit, size, _ in kinds if use & bit)
    groups = -(-channels // RECORD_CHANNELS)
    found: dict[int, Int64] = {}
    seen: list[tuple[Array, Array]] = []
    place = 0
    for bit, size, kind in kinds:
        if not use & bit:
            continue
        alone = record == RECORD_CHANNELS * size
        shape, strides = ((channels,), (size,)) if alone else ((groups, RECORD_CHANNELS), (record, size))
        view = context.memory.view(address + place, shape, strides, unit="DPU_RDMA", register=register, dtype=kind)
        found[bit] = view.reshape(-1)[:channels].astype(np.int64)
        seen.append((view, view.copy()))
        place += RECORD_CHANNELS * size
    return ChannelOperands(found.get(USE_ALU), found.get(USE_OW), found.get(USE_MUL), tuple(seen))


@dataclass(frozen=True, slots=True)
class RdmaConfig:
    """DPU_RDMA registers. Notches in slots, sizes not minus one."""

    width: int
    height: int
    channels: int
    source: int
    bs_use: int
    bs_address: int
    bn_use: int
    bn_address: int
    operand_off: bool
    operand_mode: int
    operand_address: int
    operand_stride: int
    """EW_SURF_STRIDE in bytes."""
    shared: bool
    flying: bool
    line_notch: int
    surface_notch: int
    operand_line_notch: int
    operand_surface_notch: int
    enlarge_x: int
    """Un-pooling factors of MRDMA, 1 for none."""
    enlarge_y: int


def read_rdma(regs: Registers, checks: Checks) -> RdmaConfig:
    """Read the registers.

    Raises:
        SimulationError: a mode that hangs, or that is not modelled.
    """
    _check_modes(regs, checks)
    operand_off = bool(regs["RDMA_ERDMA_CFG.ERDMA_DISABLE"])
    if not operand_off:
        _check_operand(regs, checks)
    enlarge_x, enlarge_y = _unpooling(regs, checks)
    return RdmaConfig(
        width=regs["RDMA_DATA_CUBE_WIDTH.WIDTH"] + 1,
        height=regs["RDMA_DATA_CUBE_HEIGHT.HEIGHT"] + 1,
        channels=regs["RDMA_DATA_CUBE_CHANNEL.CHANNEL"] + 1,
        source=regs.raw("RDMA_SRC_BASE_ADDR"),
        bs_use=regs["RDMA_BRDMA_CFG.BRDMA_DATA_USE"],
        bs_address=regs.raw("RDMA_BS_BASE_ADDR"),
        bn_use=regs["RDMA_NRDMA_CFG.NRDMA_DATA_USE"],
        bn_address=regs.raw("RDMA_BN_BASE_ADDR"),
        operand_off=operand_off,
        operand_mode=regs["RDMA_ERDMA_CFG.ERDMA_DATA_MODE"],
        operand_address=regs.raw("RDMA_EW_BASE_ADDR"),
        operand_stride=regs["RDMA_EW_SURF_STRIDE.EW_SURF_STRIDE"] * SLOT_BYTES,
        shared=regs["RDMA_FEATURE_MODE_CFG.COMB_USE"] == SHARED,
        flying=bool(regs["RDMA_FEATURE_MODE_CFG.FLYING_MODE"]),
        line_notch=regs["RDMA_SRC_DMA_CFG.LINE_NOTCH_ADDR"],
        surface_notch=regs["RDMA_SURF_NOTCH.SURF_NOTCH_ADDR"],
        operand_line_notch=regs["RDMA_DATA_CUBE_HEIGHT.EW_LINE_NOTCH_ADDR"],
        operand_surface_notch=regs["RDMA_EW_SURF_NOTCH.EW_SURF_NOTCH"],
        enlarge_x=enlarge_x,
        enlarge_y=enlarge_y,
    )


def _check_modes(regs: Registers, checks: Checks) -> None:
    for name in ("IN_PRECISION", "PROC_PRECISION", "MRDMA_FP16TOFP32_EN"):
        if regs[f"RDMA_FEATURE_MODE_CFG.{name}"]:
            checks.refuse("DPU_RDMA", "RDMA_FEATURE_MODE_CFG", f"{name} is set: only int8 is modelled")
    comb = regs["RDMA_FEATURE_MODE_CFG.COMB_USE"]
    if comb not in (0, SHARED):
        checks.refuse("DPU_RDMA", "RDMA_FEATURE_MODE_CFG", f"COMB_USE {comb}; only 0 and {SHARED} are known")
    flying, main_off = (bool(regs[f"RDMA_FEATURE_MODE_CFG.{name}"]) for name in ("FLYING_MODE", "MRDMA_DISABLE"))
    if not main_off and not flying and comb != SHARED:
        # Time-out with untouched output on silicon (addendum 8.1).
        checks.refuse(
            "DPU_RDMA",
            "RDMA_FEATURE_MODE_CFG",
            "MRDMA is on, but neither a flying task nor a shared operand feeds it: the task never ends",
        )
    if flying and (main_off or comb):
        checks.refuse("DPU_RDMA", "RDMA_FEATURE_MODE_CFG", "a flying task needs MRDMA on and COMB_USE 0 (addendum 3.2)")


def _check_operand(regs: Registers, checks: Checks) -> None:
    mode, size = regs["RDMA_ERDMA_CFG.ERDMA_DATA_MODE"], regs["RDMA_ERDMA_CFG.ERDMA_DATA_SIZE"]
    if mode not in (PER_CHANNEL, PER_PIXEL):
        checks.refuse("DPU_RDMA", "RDMA_ERDMA_CFG", f"ERDMA_DATA_MODE {mode}: 2 hangs, 3 does not exist")
    if size != BYTE_OPERAND:
        checks.refuse("DPU_RDMA", "RDMA_ERDMA_CFG", f"ERDMA_DATA_SIZE {size}: only 1 (8 bit) is modelled")
    for name in ("ERDMA_SURF_MODE", "ERDMA_NONALIGN"):
        if regs[f"RDMA_ERDMA_CFG.{name}"]:
            checks.refuse("DPU_RDMA", "RDMA_ERDMA_CFG", f"{name} is set: not modelled")


def _unpooling(regs: Registers, checks: Checks) -> tuple[int, int]:
    """Return MRDMA's enlargement; fields hold sizes minus one (recorded x2 on RK3568: 0x1249; addendum 6.5)."""
    if not regs["RDMA_SRC_DMA_CFG.UNPOOLING_EN"]:
        return 1, 1
    kernel = [regs[f"RDMA_SRC_DMA_CFG.KERNEL_{axis}"] + 1 for axis in ("WIDTH", "HEIGHT")]
    stride = [regs[f"RDMA_SRC_DMA_CFG.KERNEL_STRIDE_{axis}"] + 1 for axis in ("WIDTH", "HEIGHT")]
    if kernel != stride or regs["RDMA_SRC_DMA_CFG.POOLING_METHOD"] or regs.raw("RDMA_PAD_CFG"):
        checks.refuse(
            "DPU_RDMA", "RDMA_SRC_DMA_CFG", "un-pooling other than replication by whole factors: not modelled"
        )
    return kernel[0], kernel[1]


class PixelSource(Protocol):
    """Something that delivers int8 values of some output rows."""

    def rows(self, start: int, stop: int) -> Int8:
        """Return [pixels, lanes] of rows ``start..stop-1``. Valid until the next call."""


class SurfaceReader:
    """Reads rows of a tensor in 16-channel surfaces; several engines may share the surfaces in turn."""

    def __init__(self, views: list[Int8], enlarge: tuple[int, int], scratch: Scratch, name: str) -> None:
        self.views, self._enlarge, self._scratch, self._name = views, enlarge, scratch, name
        self._surfaces = sum(len(view) for view in views)

    def rows(self, start: int, stop: int) -> Int8:
        """Return [pixels, 16 * surfaces] of rows ``start..stop-1``."""
        across, down = self._enlarge
        columns = self.views[0].shape[2] * across
        out: Int8 = self._scratch.take(self._name, (stop - start, columns, self._surfaces * SLOT_BYTES), np.int8)
        target, engines = slots(out), len(self.views)
        for turn, view in enumerate(self.views):
            part = slots(view)[..., 0].transpose(1, 2, 0)
            if across > 1 or down > 1:
                lines = np.arange(start, stop) // down
                part = part[lines][:, np.arange(columns) // across]
            else:
                part = part[start:stop]
            target[..., turn::engines] = part
        return out.reshape(-1, out.shape[2])


class ChannelVector:
    """One value a channel, the same for every pixel."""

    def __init__(self, values: Int8) -> None:
        self._values = values

    def rows(self, start: int, stop: int) -> Int8:
        """Return [1, lanes]; the caller broadcasts over the pixels."""
        del start, stop
        return self._values[np.newaxis]


@dataclass(frozen=True, slots=True)
class Walk:
    """How one engine walks through a tensor."""

    address: int
    surfaces: int
    line_notch: int
    notch: int
    register: str
    """Where the address comes from, for messages."""


def main_reader(config: RdmaConfig, context: Context) -> SurfaceReader:
    """MRDMA of a flying task: the cube of DPU_RDMA at SRC_BASE_ADDR.

    Raises:
        SimulationError: outside mapped memory.
    """
    surfaces = -(-config.channels // SLOT_BYTES)
    walk = Walk(config.source, surfaces, config.line_notch, config.surface_notch, "RDMA_SRC_BASE_ADDR")
    enlarge = (config.enlarge_x, config.enlarge_y)
    return SurfaceReader([_surfaces(config, walk, context.memory)], enlarge, context.state.scratch, "main rows")


def operand_reader(config: RdmaConfig, context: Context) -> PixelSource:
    """Return the element-wise operand as ERDMA, alone or together with MRDMA, reads it.

    Raises:
        SimulationError: outside mapped memory.
    """
    surfaces = -(-config.channels // SLOT_BYTES)
    if config.operand_mode == PER_CHANNEL:
        view: Array = context.memory.view(
            config.operand_address,
            (surfaces, SLOT_BYTES),
            (config.operand_stride, 1),
            unit="DPU_RDMA",
            register="RDMA_EW_BASE_ADDR",
            dtype=np.int8,
        )
        return ChannelVector(view.reshape(-1))
    notches = (config.operand_line_notch, config.operand_surface_notch)
    if config.shared:
        odd = surfaces // 2
        walks = [
            Walk(config.source, surfaces - odd, config.line_notch, config.surface_notch, "RDMA_SRC_BASE_ADDR"),
            Walk(config.operand_address, odd, *notches, "RDMA_EW_BASE_ADDR"),
        ]
    else:
        _check_stride(config, surfaces, context.checks)
        walks = [Walk(config.operand_address, surfaces, *notches, "RDMA_EW_BASE_ADDR")]
    views = [_surfaces(config, walk, context.memory) for walk in walks if walk.surfaces]
    return SurfaceReader(views, (1, 1), context.state.scratch, "operand rows")


def _check_stride(config: RdmaConfig, surfaces: int, checks: Checks) -> None:
    advance = (config.height * (config.width + config.operand_line_notch) + config.operand_surface_notch) * SLOT_BYTES
    if surfaces > 1 and config.operand_stride != advance:
        checks.distrust(
            "DPU_RDMA",
            "RDMA_EW_SURF_STRIDE",
            f"{config.operand_stride} bytes between surfaces, but the cube and its notches make {advance}",
        )


def _surfaces(config: RdmaConfig, walk: Walk, memory: Memory) -> Int8:
    """View surfaces as one engine walks them: a notch after each line, and one more after each surface.

    From one surface to the next the engine advances by the pixels of the task plus the notch (recorded values on
    RK3588, addendum 3.7; 10 of Mesa's ADD layers, spec 3.8). That the line notch also follows the last line is
    *assumed*.
    """
    line = (config.width + walk.line_notch) * SLOT_BYTES
    surface = line * config.height + walk.notch * SLOT_BYTES
    return memory.view(
        walk.address,
        (walk.surfaces, config.height, config.width, SLOT_BYTES),
        (surface, line, SLOT_BYTES, 1),
        unit="DPU_RDMA",
        register=walk.register,
        dtype=np.int8,
    )
