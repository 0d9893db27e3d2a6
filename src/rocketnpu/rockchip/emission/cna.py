"""CNA and CORE: what a convolution task fetches and multiplies."""

from __future__ import annotations

from rocketnpu.rockchip.emission.writer import Writer
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import is_packed
from rocketnpu.rockchip.tasks.task import ConvolutionTask
from rocketnpu.rockchip.tasks.weights import aligned, padded_channels

DEPTHWISE_MODE = 3
"""CONV_MODE of a depthwise convolution, in CNA, DPU and DPU_RDMA alike (Mesa; vendor captures)."""
LINE_GROUP = 4
"""Rows that the feature fetch takes as one run while GROUP_LINE_OFF is 0 (spec 3.3: 614 of 614 vendor tasks)."""
GRAINS = 50
"""Mesa's constant part of FEATURE_GRAINS; any of 9..65 worked on silicon (addendum 7.4)."""
DEEP = 4096
"""Input channels beyond which large FEATURE_GRAINS time out (happyme531; spec 10.1, item 14)."""
DEEP_GRAIN_BYTES = 114688
"""What FEATURE_GRAINS may fill of deep maps: 3.5 banks (the row-major matrix product, exact on silicon with 5632 and
10752 channels; addendum 6.1, 7.3)."""
PACKED_CHANNELS = 7
"""ARGB_IN of packed input less its channels: 8 to 11 for one to four (TRM; spec 3.4)."""
UNIT_SHIFT, TO_SIGNED, ALL_LANES = 14, -128, 0xFFFF
"""Input converter of unsigned bytes: ``(v * 16384 >> 14) - 128`` on every lane, Mesa's constants (spec 3.4)."""
BURST = 15
"""AXI bursts of 16 beats, as everybody writes."""


def write_cna(writer: Writer, task: ConvolutionTask) -> None:
    """Write every CNA register of a convolution task."""
    _buffer_share(writer, task)
    writer.zero("CNA.DCOMP_REGNUM", "CNA.DCOMP_CTRL")
    _mode(writer, task)
    writer.put("DPU.S_POINTER", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)
    writer.put("DPU_RDMA.RDMA_S_POINTER", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)
    _mode(writer, task)
    _geometry(writer, task)
    _buffer_share(writer, task)
    if is_packed(task.source.feature, writer.soc):
        writer.value("CNA.CBUF_CON1", task.banks.entries)  # pixels, more than the field's 14 bits (addendum 6.9)
    else:
        writer.put("CNA.CBUF_CON1", DATA_ENTRIES=task.banks.entries)
    _converter(writer, task)
    writer.zero("CNA.FC_CON0", "CNA.FC_CON1")
    writer.put("CNA.PAD_CON0", PAD_LEFT=task.kernel.pad_left, PAD_TOP=task.kernel.pad_top)
    _feature_fetch(writer, task)
    writer.zero("CNA.DCOMP_CTRL", "CNA.DCOMP_REGNUM")
    writer.address("CNA.DCOMP_ADDR0", task.weights.at)
    writer.zero(*(f"CNA.DCOMP_AMOUNT{lane}" for lane in range(16)))
    writer.put("CNA.CVT_CON5", PER_CHANNEL_CVT_EN=ALL_LANES if task.source.feature.unsigned else 0)
    # Depthwise pads odd channels below 32 with the second byte, so both hold the value (outside 2.1); in others only
    # the first counts, and lists that ran have its sign behind it (spec 5.3; outside 4.3).
    value = task.kernel.pad_value
    writer.put("CNA.PAD_CON1", PAD_VALUE=_doubled(value) if task.weights.depthwise else value)


def _mode(writer: Writer, task: ConvolutionTask) -> None:
    feature = task.source.feature
    packed = is_packed(feature, writer.soc)
    writer.put(
        "CNA.CONV_CON1",
        CONV_MODE=DEPTHWISE_MODE if task.weights.depthwise else 0,
        GROUP_LINE_OFF=int(packed or feature.line_gap > 0),
        NONALIGN_DMA=int(packed),
        ARGB_IN=PACKED_CHANNELS + feature.channels if packed else 0,
    )


def _converter(writer: Writer, task: ConvolutionTask) -> None:
    """Bypass the input converter, for 8-bit data is stored signed already (Mesa), or have it subtract 128."""
    if not task.source.feature.unsigned:
        writer.put("CNA.CVT_CON0", DATA_SIGN=1, CVT_TYPE=1, CVT_BYPASS=1)
        for number in range(4):
            writer.put(f"CNA.CVT_CON{number + 1}", **{f"CVT_SCALE{number}": 1})
        return
    writer.put("CNA.CVT_CON0", **{f"CVT_TRUNCATE_{number}": UNIT_SHIFT for number in range(4)})
    for number in range(4):
        fields = {f"CVT_SCALE{number}": 1 << UNIT_SHIFT, f"CVT_OFFSET{number}": TO_SIGNED}
        writer.put(f"CNA.CVT_CON{number + 1}", **fields)


def _doubled(value: int) -> int:
    both = (value & 0xFF) * 0x0101
    return both - 0x10000 if value < 0 else both


def _buffer_share(writer: Writer, task: ConvolutionTask) -> None:
    writer.put(
        "CNA.CBUF_CON0",
        WEIGHT_REUSE=int(task.weights.reuse),
        WEIGHT_BANK=task.banks.weights,
        DATA_BANK=task.banks.data,
    )


def feature_grains(task: ConvolutionTask, soc: Soc) -> int:
    """Return how many input rows are fetched before the multiplication starts. Values do not depend on it.

    That is Mesa's number up to 4096 channels. Deeper maps take the matrix product's rule, which is exact on silicon:
    rows + 1, or the largest power of two of rows in 3.5 banks if that is less (addendum 6.1), at most 16 and so below
    the 30 of spec 10.1. It is never less than the TRM's advice, stride + kernel rows + 1, as long as there are rows.
    """
    kernel = task.kernel
    if task.source.feature.channels <= DEEP:
        return GRAINS + kernel.stride[0] + 1
    rows = DEEP_GRAIN_BYTES // (task.banks.entries * soc.cbuf_entry_bytes)
    reach = (kernel.size[0] - 1) * kernel.dilation[0] + 1
    advised = kernel.stride[0] + reach + 1
    return min(task.source.count + 1, max(1 << rows.bit_length() >> 1, advised))


def _geometry(writer: Writer, task: ConvolutionTask) -> None:
    kernel, weights, source, target = task.kernel, task.weights, task.source, task.target
    channels = source.feature.channels
    writer.put("CNA.CONV_CON2", FEATURE_GRAINS=feature_grains(task, writer.soc))
    writer.put(
        "CNA.CONV_CON3",
        ATROUS_Y_DILATION=kernel.dilation[0] - 1,
        ATROUS_X_DILATION=kernel.dilation[1] - 1,
        CONV_Y_STRIDE=kernel.stride[0],
        CONV_X_STRIDE=kernel.stride[1],
    )
    writer.put("CNA.DATA_SIZE0", DATAIN_WIDTH=source.feature.width, DATAIN_HEIGHT=source.count)
    writer.put("CNA.DATA_SIZE1", DATAIN_CHANNEL_REAL=channels - 1, DATAIN_CHANNEL=padded_channels(channels, writer.soc))
    writer.put("CNA.DATA_SIZE2", DATAOUT_WIDTH=target.feature.width)
    writer.put("CNA.DATA_SIZE3", DATAOUT_ATOMICS=target.feature.width * target.count)
    writer.put("CNA.WEIGHT_SIZE0", WEIGHT_BYTES=weights.bytes)
    writer.put("CNA.WEIGHT_SIZE1", WEIGHT_BYTES_PER_KERNEL=weights.kernel_bytes)
    writer.put(
        "CNA.WEIGHT_SIZE2",
        WEIGHT_WIDTH=kernel.size[1],
        WEIGHT_HEIGHT=kernel.size[0],
        WEIGHT_KERNELS=weights.kernels,
    )


def _feature_fetch(writer: Writer, task: ConvolutionTask) -> None:
    feature = task.source.feature
    # Rows with gaps between them, and rows of packed pixels, are fetched one by one.
    alone = feature.line_gap or is_packed(feature, writer.soc)
    line = feature.width if alone else LINE_GROUP * feature.width
    writer.address("CNA.FEATURE_DATA_ADDR", task.source.at)
    writer.zero("CNA.FC_CON2")
    writer.put("CNA.DMA_CON0", WEIGHT_BURST_LEN=BURST, DATA_BURST_LEN=BURST)
    writer.put("CNA.DMA_CON1", LINE_STRIDE=line + feature.line_gap)
    # From the end of a group of lines to the same group of the next surface; negative below four rows (spec 3.3).
    writer.put("CNA.DMA_CON2", SURF_STRIDE=feature.surface_slots - line)
    writer.put("CNA.FC_DATA_SIZE0", DMA_WIDTH=feature.width, DMA_HEIGHT=task.source.count)
    writer.put("CNA.FC_DATA_SIZE1", DMA_CHANNEL=padded_channels(feature.channels, writer.soc))


def write_core(writer: Writer, task: ConvolutionTask) -> None:
    """Write every CORE register of a convolution task."""
    target = task.target
    depthwise = task.weights.depthwise
    group = writer.soc.depthwise_group if depthwise else writer.soc.kernel_group
    writer.put("CORE.MISC_CFG", DW_EN=int(depthwise), QD_EN=1)
    writer.put("CORE.DATAOUT_SIZE_0", DATAOUT_HEIGHT=target.count - 1, DATAOUT_WIDTH=target.feature.width - 1)
    writer.put("CORE.DATAOUT_SIZE_1", DATAOUT_CHANNEL=aligned(target.feature.channels, group) - 1)
    writer.zero("CORE.CLIP_TRUNCATE", "CORE.UNK_3030")
