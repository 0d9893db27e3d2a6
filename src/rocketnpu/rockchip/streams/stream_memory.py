"""Where a command list's operands lie in memory, address by address, and what is there.

Written from the formulas of spec section 3 as index arithmetic, a byte at a time in effect, so that it shares nothing
with the simulator's views: the two must agree on every byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.rockchip.models.integer_model import Int8, Int64
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588

Bytes = npt.NDArray[np.uint8]
LANES = np.arange(RK3588.slot)


class OutsideError(Exception):
    """An address lies in no buffer."""


class Buffers:
    """Bytes by address. The arrays are those that a simulator may be writing to."""

    def __init__(self, arrays: Mapping[int, Bytes]) -> None:
        self._arrays = sorted(arrays.items())

    def take(self, addresses: Int64) -> Bytes:
        """Return the bytes at some addresses, all within one buffer; none for none.

        Raises:
            OutsideError: they are not.
        """
        if not addresses.size:
            return np.empty(0, np.uint8)
        low, high = int(addresses.min()), int(addresses.max())
        for start, array in self._arrays:
            if start <= low and high < start + array.size:
                return array[addresses - start]
        raise OutsideError(f"0x{low:x}..0x{high:x} is in no buffer")

    def span(self, address: int, count: int) -> Bytes:
        """Return ``count`` bytes in a row."""
        return self.take(np.arange(address, address + count))


def features(registers: TaskRegisters, memory: Buffers) -> Int8:
    """Return a convolution's input, ``(rows, columns, channels)``, by the line-group rule (spec 3.3)."""
    rows, columns = registers["CNA.DATA_SIZE0.DATAIN_HEIGHT"], registers["CNA.DATA_SIZE0.DATAIN_WIDTH"]
    base = registers["CNA.FEATURE_DATA_ADDR.FEATURE_BASE_ADDR"]
    line = registers["CNA.DMA_CON1.LINE_STRIDE"]
    pitch = registers["CNA.FC_DATA_SIZE0.DMA_WIDTH"]
    group = 1 if registers["CNA.CONV_CON1.GROUP_LINE_OFF"] else 4
    surface = registers["CNA.DMA_CON2.SURF_STRIDE"] + group * pitch
    y, x = np.arange(rows), np.arange(columns)
    lines = y // group * line + y % group * pitch
    slots = np.arange(registers["CNA.DATA_SIZE1.DATAIN_CHANNEL"] // RK3588.slot) * surface
    at = lines[:, None, None] + x[None, :, None] + slots[None, None, :]
    return _values(memory, base + at * RK3588.slot)


def _values(memory: Buffers, slots: Int64) -> Int8:
    """Return the slots at addresses ``(rows, columns, surfaces)`` as ``(rows, columns, channels)``."""
    found = memory.take(slots[..., None] + LANES).view(np.int8)
    return found.reshape(*slots.shape[:2], -1)


def packed_features(registers: TaskRegisters, memory: Buffers) -> Int64:
    """Return packed input before the converter, ``(rows, columns, channels of a pixel)`` (spec 3.4)."""
    rows, columns = registers["CNA.DATA_SIZE0.DATAIN_HEIGHT"], registers["CNA.DATA_SIZE0.DATAIN_WIDTH"]
    channels = registers["CNA.CONV_CON1.ARGB_IN"] - 7
    pixels = np.arange(rows)[:, None] * registers["CNA.DMA_CON1.LINE_STRIDE"] + np.arange(columns)
    at = pixels[..., None] * channels + np.arange(channels)
    found = memory.take(registers["CNA.FEATURE_DATA_ADDR.FEATURE_BASE_ADDR"] + at)
    return (found.view(np.int8) if registers["CNA.CVT_CON0.DATA_SIGN"] else found).astype(np.int64)


def weights(registers: TaskRegisters, memory: Buffers) -> Int8:
    """Return kernels as ``(kernels, rows, columns, channels)``, depthwise ``(rows, columns, channels)`` (spec 3.5)."""
    height, width = registers["CNA.WEIGHT_SIZE2.WEIGHT_HEIGHT"], registers["CNA.WEIGHT_SIZE2.WEIGHT_WIDTH"]
    channels, kernels = registers["CNA.DATA_SIZE1.DATAIN_CHANNEL"], registers["CNA.WEIGHT_SIZE2.WEIGHT_KERNELS"]
    depthwise = registers["CNA.CONV_CON1.CONV_MODE"] == 3
    count = height * width * channels * kernels
    data = memory.span(registers["CNA.DCOMP_ADDR0.DECOMPRESS_ADDR0"], count).view(np.int8)
    found = np.empty((kernels, height, width, channels), np.int8)
    lanes = RK3588.depthwise_group if depthwise else RK3588.weight_lanes
    place = 0
    for first in range(0, kernels, RK3588.kernel_group):
        last = min(first + RK3588.kernel_group, kernels)
        for start in range(0, channels, lanes):
            stop = min(start + lanes, channels)
            shape = (height, width, last - first, stop - start)
            size = int(np.prod(shape))
            block = data[place : place + size].reshape(shape)
            found[first:last, :, :, start:stop] = block.transpose(2, 0, 1, 3)
            place += size
    return found[0] if depthwise else found


@dataclass(frozen=True, eq=False)
class ChannelRecords:
    """Per-channel operands; None where the records do not hold one."""

    addends: Int64 | None
    feature_offsets: Int64 | None
    multipliers: Int64 | None


def records(registers: TaskRegisters, memory: Buffers, channels: int) -> ChannelRecords:
    """Return the operands of BS: for each 8 channels those that DATA_USE selects, one kind after the other.

    Plain int32 where only the addend is selected (spec 3.7, addendum 1.2).
    """
    base = registers["DPU_RDMA.RDMA_BS_BASE_ADDR.BS_BASE_ADDR"]
    use = registers["DPU_RDMA.RDMA_BRDMA_CFG.BRDMA_DATA_USE"]
    kinds = [(bit, kind) for bit, kind in ((1, "<i4"), (2, "<i2"), (4, "<i2")) if use & bit]
    step = sum(8 * np.dtype(kind).itemsize for _, kind in kinds)
    found: dict[int, Int64] = {}
    place = 0
    for bit, kind in kinds:
        size = np.dtype(kind).itemsize
        channel = np.arange(channels)
        at = base + channel // 8 * step + place + channel % 8 * size
        found[bit] = memory.take(at[:, None] + np.arange(size)).view(kind)[:, 0].astype(np.int64)
        place += 8 * size
    return ChannelRecords(found.get(1), found.get(2), found.get(4))


def addend(registers: TaskRegisters, memory: Buffers) -> Int8:
    """Return the EW operand behind a convolution: even surfaces by MRDMA, odd ones by ERDMA (spec 3.8)."""
    rows, columns = target_size(registers)
    notch = registers["DPU_RDMA.RDMA_EW_SURF_NOTCH.EW_SURF_NOTCH"]
    channels = registers["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    starts = (
        registers["DPU_RDMA.RDMA_SRC_BASE_ADDR.SRC_BASE_ADDR"],
        registers["DPU_RDMA.RDMA_EW_BASE_ADDR.EW_BASE_ADDR"],
    )
    parts = []
    for surface in range(-(-channels // RK3588.slot)):
        base = starts[surface % 2] + surface // 2 * RK3588.slot * (rows * columns + notch)
        pixels = np.arange(rows)[:, None] * columns + np.arange(columns)
        parts.append(_values(memory, base + RK3588.slot * pixels[..., None]))
    return np.concatenate(parts, axis=2)[..., :channels]


def target_size(registers: TaskRegisters) -> tuple[int, int]:
    """Return rows and columns that the DPU writes."""
    return registers["DPU.DATA_CUBE_HEIGHT.HEIGHT"] + 1, registers["DPU.DATA_CUBE_WIDTH.WIDTH"] + 1


def target_slots(registers: TaskRegisters) -> Int64:
    """Return the address of each slot that a task fills with real channels: surfaces, rows, columns (spec 3.6)."""
    rows, columns = target_size(registers)
    surfaces = -(-(registers["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1) // RK3588.slot)
    group = registers["DPU.BS_OW_CFG.SIZE_E_0"] + 1
    number = np.arange(surfaces)
    base = number // group * registers["DPU.SURFACE_ADD.SURF_ADD"]
    base = base + number % group * registers["DPU.DST_SURF_STRIDE.DST_SURF_STRIDE"]
    line = columns + registers["DPU.DATA_CUBE_NOTCH_ADDR.NOTCH_ADDR_0"]
    pixels = np.arange(rows)[:, None] * line + np.arange(columns)
    at: Int64 = registers["DPU.DST_BASE_ADDR.DST_BASE_ADDR"] + RK3588.slot * (base[:, None, None] + pixels)
    return at


def target_values(registers: TaskRegisters, memory: Buffers) -> Int8:
    """Return what lies where a task writes, ``(rows, columns, channels)``."""
    channels = registers["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    return _values(memory, target_slots(registers).transpose(1, 2, 0))[..., :channels]
