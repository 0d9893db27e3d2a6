"""Where our streams differ from those of the open driver on purpose: each class, its reason, and what speaks for it.

``docs/hardware/differences.md`` is printed from :data:`CLASSES`. A class explains a difference only if the numbers are
those that its reason leads to; what no class explains is a fault of one side or the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rocketnpu.rockchip.streams import stream_reasons as why
from rocketnpu.rockchip.streams.stream_reasons import BIASES, REFUSED, TILING, WEIGHTS, Situation


@dataclass(frozen=True)
class DifferenceClass:
    """One way in which streams differ on purpose."""

    name: str
    registers: tuple[str, ...]
    reason: str
    evidence: str
    shown_by: str
    """A recording that shows it; empty where none at hand does."""
    explains: Callable[[Situation], bool]


def explain(situation: Situation) -> str:
    """Return the name of the class that a difference belongs to, or an empty text."""
    for one in CLASSES:
        if situation.name in one.registers and one.explains(situation):
            return one.name
    return ""


_GEOMETRY = (
    "CNA.CBUF_CON0",
    "CNA.CBUF_CON1",
    "CNA.CONV_CON3",
    "CNA.DATA_SIZE0",
    "CNA.DATA_SIZE2",
    "CNA.DATA_SIZE3",
    "CNA.DMA_CON1",
    "CNA.DMA_CON2",
    "CNA.FC_DATA_SIZE0",
    "CNA.FEATURE_DATA_ADDR",
    "CNA.PAD_CON0",
    "CNA.WEIGHT_SIZE2",
    "CORE.DATAOUT_SIZE_0",
    "DPU.DATA_CUBE_HEIGHT",
    "DPU.DATA_CUBE_WIDTH",
    "DPU.DST_BASE_ADDR",
    "DPU.WDMA_SIZE_1",
    "DPU_RDMA.RDMA_DATA_CUBE_HEIGHT",
    "DPU_RDMA.RDMA_DATA_CUBE_WIDTH",
    TILING,
)
"""Registers that say how large maps are and how they are cut."""
_KERNELS = (
    "CNA.CONV_CON1",
    "CNA.WEIGHT_SIZE0",
    "CNA.WEIGHT_SIZE1",
    "CNA.WEIGHT_SIZE2",
    "CORE.DATAOUT_SIZE_1",
    "CORE.MISC_CFG",
    "DPU.BS_OW_CFG",
    "DPU.DATA_CUBE_CHANNEL",
    "DPU.FEATURE_MODE_CFG",
    "DPU.SURFACE_ADD",
    "DPU.WDMA_SIZE_0",
    "DPU_RDMA.RDMA_DATA_CUBE_CHANNEL",
    "DPU_RDMA.RDMA_FEATURE_MODE_CFG",
    WEIGHTS,
)
"""Registers that say how kernels lie and how many there are."""
_SCALE = ("DPU.OUT_CVT_SCALE", "DPU.OUT_CVT_SHIFT")
CLASSES: tuple[DifferenceClass, ...] = (
    DifferenceClass(
        "truncation-list",
        ("CORE.CLIP_TRUNCATE", "DPU.OUT_CVT_SHIFT", BIASES),
        "Mesa halves the accumulator where the weight scale is in a list harvested from vendor models. It loses a "
        "bit, and half of all accumulators become ties. We never truncate, for our accumulators cannot leave 32 "
        "bits.",
        "spec 5.2; results are nearer to the reference (`compare`)",
        "trunc_conv3x3_u8",
        why.truncated,
    ),
    DifferenceClass(
        "nearest-scale",
        _SCALE,
        "Mesa cuts the output factor to 14 mantissa bits and adds one, which is up to 2^-13 too much and in one "
        "case in 32768 half of what it should be. We take the nearest 15-bit multiplier.",
        "spec 5.7, addendum 2.3",
        "conv_conv_add_u8",
        why.better_scale,
    ),
    DifferenceClass(
        "doubled-pad-byte",
        ("CNA.PAD_CON1",),
        "The low byte is equal, so convolutions pad alike. Depthwise ones take odd channels below 32 from the second "
        "byte, which Mesa leaves at the sign; for them we write the byte twice.",
        "spec 5.3: mobiledet-086 fails on RK3588; outside 2.1",
        "mobiledet-086",
        why.doubled_pad,
    ),
    DifferenceClass(
        "single-pad-byte",
        ("CNA.PAD_CON1",),
        "The low byte is equal, and dense convolutions pad with it alone. Mesa writes -128 twice, others once; we "
        "write every value once.",
        "outside 2.1, 4.3",
        "conv3x3_u8_same_zp0_relu",
        why.single_pad,
    ),
    DifferenceClass(
        "pad-near-additions",
        ("CNA.PAD_CON1",),
        "Mesa pads with -128 wherever an addition is near, whatever the zero point. We pad with the zero point.",
        "spec 5.3, 10.2 item 5",
        "conv_conv_add_u8",
        why.addition_pad,
    ),
    DifferenceClass(
        "row-entries",
        ("CNA.CBUF_CON1", "CNA.CBUF_CON0"),
        "With three slots left over a pixel a row takes a whole entry a pixel; Mesa counts three quarters of it, "
        "and the layer comes out wrong on silicon. The banks follow.",
        "spec 3.3: yolox-008 and others fail on RK3588",
        "conv1x1_u8_oc33",
        why.entries,
    ),
    DifferenceClass(
        "width-and-height",
        _GEOMETRY,
        "Mesa programs the height as width and the other way round. Maps that are not square come out wrong "
        "unless the kernel is 1x1 with stride 1.",
        "spec 3.9: every such model of the CI lists fails on RK3588",
        "conv3x3_u8_rect_12x20x16_16",
        why.swapped,
    ),
    DifferenceClass(
        "even-tiles",
        (TILING,),
        "Mesa fills the buffer in each task and leaves a small rest; the rest may have fewer rows than the "
        "kernel, which can hang. We cut into as few tasks, but even ones; kernels are counted with their padding.",
        "spec 4.3, 10.1 item 3",
        "conv3x3_u8_112x112x32_32_split",
        why.other_tiles,
    ),
    DifferenceClass(
        "banks-by-entries",
        ("CNA.CBUF_CON0",),
        "Banks follow from whole entries a row, not from bytes.",
        "addendum 7.1",
        "",
        why.other_banks,
    ),
    DifferenceClass(
        "depth-multiplier",
        (*_KERNELS, *_SCALE),
        "The chip has no depth multiplier. Mesa reads its kernels with the wrong row length; we compute dense blocks.",
        "spec 3.5, 10.2 item 1",
        "dwconv3x3_u8_mult2",
        why.multiplied,
    ),
    DifferenceClass(
        "bytes-as-they-are",
        ("CNA.PAD_CON1", "DPU.OUT_CVT_OFFSET", "DPU.BS_OW_OP", WEIGHTS, BIASES),
        "Mesa takes INT8 tensors for UINT8 and shifts everything by 128. We store them as they are.",
        "spec 5.9, addendum 2.6: seen on RK3588",
        "dwconv3x3_i8_pertensor",
        why.byte_shift,
    ),
    DifferenceClass(
        "depthwise-lanes",
        (WEIGHTS,),
        "Where the last group of 64 channels has 33 to 47, Mesa leaves out the padding lanes that the sizes "
        "announce, and every tap behind the first is read from the wrong place.",
        "spec 3.5, 10.2 item 4",
        "edge_dwconv3x3_u8_c33",
        why.missing_lanes,
    ),
    DifferenceClass(
        "clamp-between",
        ("DPU.BS_CFG", "DPU.BS_RELUX_CMP_VALUE", "DPU.BN_CFG", "DPU.BN_ALU_CFG", BIASES),
        "The tensor between a convolution and an addition has a range. Mesa adds what lies outside; we clamp to "
        "it first, as the reference does.",
        "spec 5.6; `compare` on models with residual connections",
        "conv_conv_add_u8",
        why.clamped_between,
    ),
    DifferenceClass(
        "nearest-operand-scale",
        ("DPU.EW_CVT_SCALE_VALUE",),
        "Mesa cuts the factor of an added tensor to 14 mantissa bits. We take the nearest multiplier.",
        "spec 5.6, 5.7",
        "",
        why.operand_scale,
    ),
    DifferenceClass(
        "addend-notch",
        ("DPU_RDMA.RDMA_SURF_NOTCH", "DPU_RDMA.RDMA_EW_SURF_NOTCH", "DPU_RDMA.RDMA_EW_SURF_STRIDE"),
        "Mesa writes the distances of the vendor's padded maps for small ones, which its own maps do not have.",
        "spec 3.8",
        "",
        why.addend_notch,
    ),
    DifferenceClass(
        "doubled-width",
        _GEOMETRY,
        "Mesa programs an input of eight columns as sixteen where an addition is near; such layers are reported wrong.",
        "spec 3.9: the CI lists' additions of 8x8 maps fail on RK3588",
        "",
        why.doubled_width,
    ),
    DifferenceClass(
        "packed-picture",
        (
            *_GEOMETRY,
            "CNA.CONV_CON1",
            "CNA.CVT_CON0",
            "CNA.CVT_CON1",
            "CNA.CVT_CON2",
            "CNA.CVT_CON3",
            "CNA.CVT_CON4",
            "CNA.CVT_CON5",
            "CNA.FC_DATA_SIZE1",
            "CNA.DATA_SIZE1",
        ),
        "Mesa lets the input converter unpack maps of one channel, we pictures of up to four whose rows are whole "
        "slots; all other maps lie in slots of 16 channels.",
        "spec 3.4",
        "conv5x5_u8_same_16x16x3_24",
        why.packed,
    ),
    DifferenceClass(
        "both-strides",
        _GEOMETRY,
        "Mesa uses the horizontal stride for both directions.",
        "spec 4.3",
        "",
        why.one_stride,
    ),
    DifferenceClass(
        "programmed-activation",
        ("DPU.BN_CFG", "DPU.BN_RELUX_CMP_VALUE", "DPU.BN_ALU_CFG", "DPU.OUT_CVT_OFFSET"),
        "Mesa programs no activation and trusts the output's range to cut where it should. Where it does not, we "
        "clamp.",
        "spec 5.4, 5.10",
        "",
        why.programmed_clamp,
    ),
    DifferenceClass(
        "dropped-activation",
        (REFUSED,),
        "Mesa takes convolutions with a fused TANH and drops it. We leave them to the CPU.",
        "spec 6.0; README of the recordings",
        "tanh_fused_u8",
        why.no_clamp,
    ),
)
"""All classes; a difference belongs to the first that explains it."""
