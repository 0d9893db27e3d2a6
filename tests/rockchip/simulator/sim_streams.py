"""Command streams built by hand, register by register, after the documents."""

import numpy as np

from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, write
from rocketnpu.rockchip.simulator import Memory, Npu

FEATURES, WEIGHTS, OUTPUT, BIAS, OPERAND, COMMANDS = (0x100000 * n for n in range(1, 7))
CONVOLUTION = ("CNA", "CORE", "DPU", "DPU_RDMA")
FLYING = ("DPU", "DPU_RDMA")
POOLING = ("PPU", "PPU_RDMA")


def ceil(a, b):
    return -(-a // b)


class Stream:
    """Field values by register, changeable until they become words."""

    def __init__(self, units):
        self.units = units
        self.fields = {}
        self.first = []

    def set(self, path, **fields):
        self.fields.setdefault(path, {}).update(fields)
        return self

    def body(self):
        return [*self.first, *(write(path, **fields) for path, fields in self.fields.items())]

    def words(self, link=None):
        link = link or [NOP, write("PC.REGISTER_AMOUNTS")]
        return np.array([*self.body(), *link, MARKER, enable(self.units)], dtype="<u8")


def run(stream, buffers, strict=True, npu=None):
    """Map buffers by address, run the stream once; returns the Npu and the report."""
    memory = Memory()
    for address, data in buffers.items():
        memory.map(address, data)
    words = stream if isinstance(stream, np.ndarray) else stream.words()
    memory.map(COMMANDS, words.view(np.uint8))
    npu = npu or Npu(memory, strict=strict)
    return npu, npu.run_task(COMMANDS, words.size, task=0)


def pointers(stream, *units):
    for unit in units:
        name = "RDMA_S_POINTER" if unit.endswith("RDMA") else "S_POINTER"
        stream.set(f"{unit}.{name}", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)


def entries(width, channels):
    whole, left = divmod(ceil(channels, 16), 4)
    return whole * width + (width if left == 3 else ceil(left * width, 4))


def convolution(height, width, channels, kernels, window, kernel=(1, 1), depthwise=False, out_scale=(1, 0), offset=0):
    """An int8 convolution as spec 9.1 programs it; bias from a plain int32 array."""
    (sy, sx), (top, left), (oh, ow), (dy, dx) = window.stride, window.before, window.out, window.dilation
    kh, kw = kernel
    cal = ceil(channels, 16) * 16
    group = 64 if depthwise else 32
    padded = ceil(kernels, group) * group
    mode = 3 if depthwise else 0
    s = Stream(CONVOLUTION)
    pointers(s, "DPU", "DPU_RDMA")
    s.set("CNA.CONV_CON1", CONV_MODE=mode)
    s.set("CNA.CONV_CON2", FEATURE_GRAINS=kh + sy + 1)
    s.set("CNA.CONV_CON3", CONV_X_STRIDE=sx, CONV_Y_STRIDE=sy, ATROUS_X_DILATION=dx - 1, ATROUS_Y_DILATION=dy - 1)
    s.set("CNA.DATA_SIZE0", DATAIN_WIDTH=width, DATAIN_HEIGHT=height)
    s.set("CNA.DATA_SIZE1", DATAIN_CHANNEL_REAL=(channels - 1) % 64, DATAIN_CHANNEL=cal)
    s.set("CNA.DATA_SIZE2", DATAOUT_WIDTH=ow)
    s.set("CNA.DATA_SIZE3", DATAOUT_ATOMICS=ow * oh)
    held = 1 if depthwise else kernels
    s.set("CNA.WEIGHT_SIZE0", WEIGHT_BYTES=kh * kw * cal * held)
    s.set("CNA.WEIGHT_SIZE1", WEIGHT_BYTES_PER_KERNEL=kh * kw * cal)
    s.set("CNA.WEIGHT_SIZE2", WEIGHT_WIDTH=kw, WEIGHT_HEIGHT=kh, WEIGHT_KERNELS=held)
    banks = max(1, ceil(height * entries(width, cal), 512))
    s.set("CNA.CBUF_CON0", DATA_BANK=banks, WEIGHT_BANK=12 - banks)
    s.set("CNA.CBUF_CON1", DATA_ENTRIES=entries(width, cal))
    s.set("CNA.CVT_CON0", DATA_SIGN=1, CVT_TYPE=1, CVT_BYPASS=1)
    s.set("CNA.PAD_CON0", PAD_LEFT=left, PAD_TOP=top)
    s.set("CNA.FEATURE_DATA_ADDR", FEATURE_BASE_ADDR=FEATURES)
    s.set("CNA.DMA_CON1", LINE_STRIDE=4 * width)
    s.set("CNA.DMA_CON2", SURF_STRIDE=width * height - 4 * width)
    s.set("CNA.FC_DATA_SIZE0", DMA_WIDTH=width, DMA_HEIGHT=height)
    s.set("CNA.FC_DATA_SIZE1", DMA_CHANNEL=cal)
    s.set("CNA.DCOMP_ADDR0", DECOMPRESS_ADDR0=WEIGHTS)
    s.set("CNA.PAD_CON1", PAD_VALUE=0)
    s.set("CORE.MISC_CFG", QD_EN=1, DW_EN=int(depthwise))
    s.set("CORE.DATAOUT_SIZE_0", DATAOUT_WIDTH=ow - 1, DATAOUT_HEIGHT=oh - 1)
    s.set("CORE.DATAOUT_SIZE_1", DATAOUT_CHANNEL=padded - 1)
    s.set("CORE.CLIP_TRUNCATE")
    dpu(s, oh, ow, kernels, padded, mode)
    s.set("DPU.BS_CFG", BS_ALU_ALGO=2, BS_ALU_SRC=1, BS_RELU_BYPASS=1, BS_MUL_BYPASS=1)
    s.set("DPU.BS_OW_CFG", **{f"SIZE_E_{n}": group // 16 - 1 for n in range(3)})
    s.set("DPU.SURFACE_ADD", SURF_ADD=ow * oh * (group // 16))
    s.set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=offset)
    s.set("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=out_scale[0])
    s.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=out_scale[1])
    s.set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=1)
    s.set("DPU_RDMA.RDMA_BS_BASE_ADDR", BS_BASE_ADDR=BIAS)
    s.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DISABLE=1)
    return s.set("DPU_RDMA.RDMA_FEATURE_MODE_CFG", BURST_LEN=15, MRDMA_DISABLE=1, CONV_MODE=mode)


def dpu(s, height, width, channels, padded, mode=0, flying=0):
    """DPU and DPU_RDMA with every stage bypassed."""
    s.set("DPU.FEATURE_MODE_CFG", BURST_LEN=15, OUTPUT_MODE=2, CONV_MODE=mode, FLYING_MODE=flying)
    s.set("DPU.DATA_FORMAT")
    s.set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=OUTPUT)
    s.set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=width * height)
    s.set("DPU.DATA_CUBE_WIDTH", WIDTH=width - 1)
    s.set("DPU.DATA_CUBE_HEIGHT", HEIGHT=height - 1)
    s.set("DPU.DATA_CUBE_NOTCH_ADDR")
    s.set("DPU.DATA_CUBE_CHANNEL", ORIG_CHANNEL=channels - 1, CHANNEL=padded - 1)
    s.set("DPU.WDMA_SIZE_0", CHANNEL_WDMA=padded - 1)
    s.set("DPU.WDMA_SIZE_1", HEIGHT_WDMA=height - 1, WIDTH_WDMA=width - 1)
    for stage in ("BS", "BN"):
        bypass = ("BYPASS", "ALU_BYPASS", "MUL_BYPASS", "RELU_BYPASS")
        s.set(f"DPU.{stage}_CFG", **{f"{stage}_{name}": 1 for name in bypass if stage == "BN"})
    s.set("DPU.EW_CFG", **{f"EW_{n}": 1 for n in ("BYPASS", "OP_BYPASS", "LUT_BYPASS", "OP_CVT_BYPASS", "RELU_BYPASS")})
    s.set("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", WIDTH=width - 1)
    s.set("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", HEIGHT=height - 1)
    s.set("DPU_RDMA.RDMA_DATA_CUBE_CHANNEL", CHANNEL=padded - 1)


def flying(height, width, channels):
    """A copy of a tensor by the DPU, as addendum 3.8 programs it."""
    s = Stream(FLYING)
    pointers(s, *FLYING)
    padded = ceil(channels, 16) * 16
    dpu(s, height, width, channels, padded, flying=1)
    s.set("DPU.BS_CFG", BS_BYPASS=1, BS_ALU_BYPASS=1, BS_MUL_BYPASS=1, BS_RELU_BYPASS=1)
    s.set("DPU.BS_OW_CFG", OD_BYPASS=1)
    s.set("DPU.SURFACE_ADD", SURF_ADD=width * height)
    s.set("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=1)
    s.set("DPU.OUT_CVT_SHIFT").set("DPU.OUT_CVT_OFFSET")
    s.set("DPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=FEATURES)
    s.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DISABLE=1)
    return s.set("DPU_RDMA.RDMA_FEATURE_MODE_CFG", BURST_LEN=15, FLYING_MODE=1)


def flying_pair(height, width, channels, **ew):
    """An element-wise operation on two tensors, after the vendor's addition (addendum 3.1)."""
    s = flying(height, width, channels)
    s.fields["DPU.EW_CFG"] = {}
    s.set(
        "DPU.EW_CFG", EW_CVT_TYPE=1, EW_DATA_MODE=1, EDATA_SIZE=1, EW_LUT_BYPASS=1, EW_RELU_BYPASS=1, EW_OP_SRC=1, **ew
    )
    s.set("DPU.EW_CVT_OFFSET_VALUE").set("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=1)
    s.set("DPU_RDMA.RDMA_EW_BASE_ADDR", EW_BASE_ADDR=OPERAND)
    s.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=width * height)
    s.fields["DPU_RDMA.RDMA_ERDMA_CFG"] = {}
    return s.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DATA_MODE=1, ERDMA_DATA_SIZE=1)


def pooling(shape, kernel, stride, before=(0, 0), after=(0, 0), method=1, pad=0x7FF80):
    """An int8 pooling task as addendum 4.2 programs it."""
    height, width, channels = shape
    oh, ow = (
        (n + a + b - k) // t + 1 for n, a, b, k, t in zip((height, width), before, after, kernel, stride, strict=True)
    )
    padded = ceil(channels, 16) * 16
    s = Stream(POOLING)
    pointers(s, *POOLING)
    s.set("PPU.DATA_CUBE_IN_WIDTH", CUBE_IN_WIDTH=width - 1).set("PPU.DATA_CUBE_IN_HEIGHT", CUBE_IN_HEIGHT=height - 1)
    s.set("PPU.DATA_CUBE_IN_CHANNEL", CUBE_IN_CHANNEL=padded - 1)
    s.set("PPU.DATA_CUBE_OUT_WIDTH", CUBE_OUT_WIDTH=ow - 1).set("PPU.DATA_CUBE_OUT_HEIGHT", CUBE_OUT_HEIGHT=oh - 1)
    s.set("PPU.DATA_CUBE_OUT_CHANNEL", CUBE_OUT_CHANNEL=padded - 1)
    s.set("PPU.OPERATION_MODE_CFG", FLYING_MODE=1, POOLING_METHOD=method)
    strides = {"KERNEL_STRIDE_HEIGHT": stride[0] - 1, "KERNEL_STRIDE_WIDTH": stride[1] - 1}
    s.set("PPU.POOLING_KERNEL_CFG", KERNEL_HEIGHT=kernel[0] - 1, KERNEL_WIDTH=kernel[1] - 1, **strides)
    s.set("PPU.RECIP_KERNEL_WIDTH", RECIP_KERNEL_WIDTH=0 if method else 65536 // kernel[1])
    s.set("PPU.RECIP_KERNEL_HEIGHT", RECIP_KERNEL_HEIGHT=0 if method else 65536 // kernel[0])
    s.set("PPU.POOLING_PADDING_CFG", PAD_TOP=before[0], PAD_LEFT=before[1], PAD_BOTTOM=after[0], PAD_RIGHT=after[1])
    s.set("PPU.PADDING_VALUE_1_CFG", PAD_VALUE_0=pad)
    s.set("PPU.DST_BASE_ADDR", DST_BASE_ADDR=OUTPUT // 16).set("PPU.DST_SURF_STRIDE", DST_SURF_STRIDE=ow * oh)
    s.set("PPU.DATA_FORMAT", INDEX_ADD=ow * oh).set("PPU.MISC_CTRL", BURST_LEN=3)
    s.set("PPU_RDMA.RDMA_CUBE_IN_WIDTH", CUBE_IN_WIDTH=width - 1)
    s.set("PPU_RDMA.RDMA_CUBE_IN_HEIGHT", CUBE_IN_HEIGHT=height - 1)
    s.set("PPU_RDMA.RDMA_CUBE_IN_CHANNEL", CUBE_IN_CHANNEL=padded - 1)
    s.set("PPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=FEATURES)
    s.set("PPU_RDMA.RDMA_SRC_LINE_STRIDE", SRC_LINE_STRIDE=width)
    s.set("PPU_RDMA.RDMA_SRC_SURF_STRIDE", SRC_SURF_STRIDE=width * height)
    return s.set("PPU_RDMA.RDMA_DATA_FORMAT", IN_PRECISION=1), (oh, ow)


def records(bias, ow, mul):
    """64-byte records of 8 channels: int32 ALU, int16 OW, int16 MUL (addendum 1.2)."""
    groups = ceil(len(bias), 8)
    parts = []
    for values, kind in ((bias, "<i4"), (ow, "<i2"), (mul, "<i2")):
        padded = np.zeros(groups * 8, kind)
        padded[: len(values)] = values
        parts.append(padded.reshape(groups, 8).view(np.uint8).reshape(groups, -1))
    return np.concatenate(parts, axis=1).reshape(-1).copy()
