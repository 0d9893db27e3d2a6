"""PPU and PPU_RDMA: maxima of a feature map in memory (spec 6.4, addendum 4.2)."""

from __future__ import annotations

from rocketnpu.rockchip.emission.writer import Writer
from rocketnpu.rockchip.tasks.task import PoolingTask
from rocketnpu.rockchip.tasks.weights import aligned

MAXIMUM = 1
"""POOLING_METHOD (TRM)."""
BYTE_INPUT = 1
"""IN_PRECISION of 8-bit data; 0 would be 4 bit (TRM; addendum 4.1)."""
BURST = 3
"""MISC_CTRL.BURST_LEN, as everybody writes."""


def write_ppu(writer: Writer, task: PoolingTask) -> None:
    """Write every PPU register."""
    source, target = task.source, task.target
    channels = aligned(target.feature.channels, target.feature.slot) - 1
    writer.put("PPU.S_POINTER", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)
    writer.put("PPU_RDMA.RDMA_S_POINTER", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)
    writer.put("PPU.DATA_CUBE_IN_WIDTH", CUBE_IN_WIDTH=task.columns - 1)
    writer.put("PPU.DATA_CUBE_IN_HEIGHT", CUBE_IN_HEIGHT=source.count - 1)
    writer.put("PPU.DATA_CUBE_IN_CHANNEL", CUBE_IN_CHANNEL=channels)
    writer.put("PPU.DATA_CUBE_OUT_WIDTH", CUBE_OUT_WIDTH=target.feature.width - 1)
    writer.put("PPU.DATA_CUBE_OUT_HEIGHT", CUBE_OUT_HEIGHT=target.count - 1)
    writer.put("PPU.DATA_CUBE_OUT_CHANNEL", CUBE_OUT_CHANNEL=channels)
    writer.put("PPU.OPERATION_MODE_CFG", FLYING_MODE=1, POOLING_METHOD=MAXIMUM)
    _window(writer, task)
    writer.address("PPU.DST_BASE_ADDR", target.at)
    pitch = target.feature.surface_slots
    writer.put("PPU.DST_SURF_STRIDE", DST_SURF_STRIDE=pitch)
    writer.put("PPU.DATA_FORMAT", INDEX_ADD=pitch)
    writer.put("PPU.MISC_CTRL", BURST_LEN=BURST)


def _window(writer: Writer, task: PoolingTask) -> None:
    writer.put(
        "PPU.POOLING_KERNEL_CFG",
        KERNEL_STRIDE_HEIGHT=task.stride[0] - 1,
        KERNEL_STRIDE_WIDTH=task.stride[1] - 1,
        KERNEL_HEIGHT=task.kernel[0] - 1,
        KERNEL_WIDTH=task.kernel[1] - 1,
    )
    writer.zero("PPU.RECIP_KERNEL_WIDTH", "PPU.RECIP_KERNEL_HEIGHT")
    writer.put(
        "PPU.POOLING_PADDING_CFG",
        PAD_BOTTOM=task.pad_after[0],
        PAD_RIGHT=task.pad_after[1],
        PAD_TOP=task.pad_before[0],
        PAD_LEFT=task.pad_before[1],
    )
    # The value is 35 bits wide on this chip; sign-extended it ends in the byte whatever width counts (addendum 4.2).
    wide = task.pad_value & (1 << 35) - 1
    writer.put("PPU.PADDING_VALUE_1_CFG", PAD_VALUE_0=wide & 0xFFFFFFFF)
    writer.put("PPU.PADDING_VALUE_2_CFG", PAD_VALUE_1=wide >> 32)


def write_ppu_rdma(writer: Writer, task: PoolingTask) -> None:
    """Write every PPU_RDMA register. Strides are those of the whole map, sizes of what is read (addendum 4.2)."""
    feature = task.source.feature
    writer.put("PPU_RDMA.RDMA_CUBE_IN_WIDTH", CUBE_IN_WIDTH=task.columns - 1)
    writer.put("PPU_RDMA.RDMA_CUBE_IN_HEIGHT", CUBE_IN_HEIGHT=task.source.count - 1)
    writer.put("PPU_RDMA.RDMA_CUBE_IN_CHANNEL", CUBE_IN_CHANNEL=aligned(feature.channels, feature.slot) - 1)
    writer.address("PPU_RDMA.RDMA_SRC_BASE_ADDR", task.source.at)
    writer.put("PPU_RDMA.RDMA_SRC_LINE_STRIDE", SRC_LINE_STRIDE=feature.line_bytes // feature.slot)
    writer.put("PPU_RDMA.RDMA_SRC_SURF_STRIDE", SRC_SURF_STRIDE=feature.surface_slots)
    writer.put("PPU_RDMA.RDMA_DATA_FORMAT", IN_PRECISION=BYTE_INPUT)
