"""CNA registers of one convolution, read and checked: geometry, addresses, padding, input converter."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.registers import Registers, check_modelled
from rocketnpu.rockchip.simulator.units.weights import KernelShape

DIRECT, DEPTHWISE = 0, 3
"""Codes of CONV_MODE (TRM)."""
_UNMODELLED = (
    ("CONV_CON1.DECONV", "transposed convolution"),
    ("CONV_CON1.IN_PRECISION", "an input precision other than int8"),
    ("CONV_CON1.PROC_PRECISION", "a processing precision other than int8"),
    ("CONV_CON3.NN_MODE", "co-work of several cores"),
    ("DATA_SIZE3.SURF_MODE", "another surface mode"),
    ("FC_CON0.FC_SKIP_EN", "zero skipping"),
    ("DCOMP_CTRL.DECOMP_CONTROL", "compressed weights"),
)


@dataclass(frozen=True, slots=True)
class Converter:
    """Input converter of packed input, a value for each of four channels (spec 3.4)."""

    bypass: bool
    signed: bool
    offset_first: bool
    half_away: bool
    lanes: int
    scales: tuple[int, int, int, int]
    offsets: tuple[int, int, int, int]
    shifts: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Banks:
    """How the task uses the convolution buffer."""

    data: int
    weight: int
    fc: int
    data_reuse: bool
    weight_reuse: bool
    entries: int
    """DATA_ENTRIES: what one row occupies, or the pixels of packed input."""

    @property
    def split(self) -> tuple[int, int]:
        """Banks of features and of weights."""
        return self.data, self.weight


@dataclass(frozen=True, slots=True)
class CnaConfig:
    """One convolution as the CNA sees it. Sizes in pixels, strides in 16-byte slots, addresses in bytes."""

    kernel: KernelShape
    width: int
    height: int
    out_width: int
    out_height: int
    stride_x: int
    stride_y: int
    step_x: int
    """Pixels from one tap to the next: the dilation."""
    step_y: int
    pad_left: int
    pad_top: int
    pad_right: int
    pad_bottom: int
    pad_value: int
    """The register's 32 bits, signed."""
    packed: int
    """Channels of a pixel in packed (ARGB) mode, 0 otherwise."""
    group: int
    """Lines fetched as one run: 4, or 1 with GROUP_LINE_OFF (spec 3.3)."""
    fetch_width: int
    line_stride: int
    surface_stride: int
    feature_address: int
    weight_address: int
    banks: Banks
    converter: Converter

    @property
    def depthwise(self) -> bool:
        """Whether each channel has its own kernel."""
        return self.kernel.depthwise

    @property
    def outputs(self) -> int:
        """Channels for which there are kernels."""
        return self.kernel.channels if self.depthwise else self.kernel.kernels

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the features with their padding."""
        return (
            self.pad_top + self.height + self.pad_bottom,
            self.pad_left + self.width + self.pad_right,
            self.kernel.channels,
        )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Rows or columns of a convolution."""

    name: str
    out: int
    stride: int
    span: int
    """Input cells from the kernel's first tap to its last."""
    lead: int
    """Padding in front."""
    size: int


def read_cna(regs: Registers, checks: Checks) -> CnaConfig:
    """Read the registers of an int8 convolution.

    Raises:
        SimulationError: a value without meaning, or a mode that is not modelled.
    """
    check_modelled(regs, _UNMODELLED, checks)
    kernel = _kernel(regs, checks)
    width, height = regs["DATA_SIZE0.DATAIN_WIDTH"], regs["DATA_SIZE0.DATAIN_HEIGHT"]
    out_width, out_height = _output(regs, checks)
    stride_x, stride_y = regs["CONV_CON3.CONV_X_STRIDE"], regs["CONV_CON3.CONV_Y_STRIDE"]
    if not (width and height and stride_x and stride_y):
        checks.refuse("CNA", "DATA_SIZE0", f"input of {width}x{height} pixels with strides {stride_x}, {stride_y}")
    step_x, step_y = regs["CONV_CON3.ATROUS_X_DILATION"] + 1, regs["CONV_CON3.ATROUS_Y_DILATION"] + 1
    pad_left, pad_top = regs["PAD_CON0.PAD_LEFT"], regs["PAD_CON0.PAD_TOP"]
    span_x, span_y = (kernel.width - 1) * step_x + 1, (kernel.height - 1) * step_y + 1
    pad_right = _trailing(_Axis("column", out_width, stride_x, span_x, pad_left, width), checks)
    pad_bottom = _trailing(_Axis("row", out_height, stride_y, span_y, pad_top, height), checks)
    packed, group = _fetch_mode(regs, checks)
    _check_fetch(regs, kernel, packed, checks)
    return CnaConfig(
        kernel=kernel,
        width=width,
        height=height,
        out_width=out_width,
        out_height=out_height,
        stride_x=stride_x,
        stride_y=stride_y,
        step_x=step_x,
        step_y=step_y,
        pad_left=pad_left,
        pad_top=pad_top,
        pad_right=pad_right,
        pad_bottom=pad_bottom,
        pad_value=regs["PAD_CON1.PAD_VALUE"],
        packed=packed,
        group=group,
        fetch_width=regs["FC_DATA_SIZE0.DMA_WIDTH"],
        line_stride=regs["DMA_CON1.LINE_STRIDE"],
        surface_stride=regs["DMA_CON2.SURF_STRIDE"],
        feature_address=regs["FEATURE_DATA_ADDR.FEATURE_BASE_ADDR"],
        weight_address=regs["DCOMP_ADDR0.DECOMPRESS_ADDR0"] & ~0xF,
        banks=_banks(regs, packed),
        converter=_converter(regs),
    )


def _banks(regs: Registers, packed: int) -> Banks:
    return Banks(
        data=regs["CBUF_CON0.DATA_BANK"],
        weight=regs["CBUF_CON0.WEIGHT_BANK"],
        fc=regs["CBUF_CON0.FC_DATA_BANK"],
        data_reuse=bool(regs["CBUF_CON0.DATA_REUSE"]),
        weight_reuse=bool(regs["CBUF_CON0.WEIGHT_REUSE"]),
        # Packed input counts beyond the field's 14 bits (addendum 6.9).
        entries=regs.raw("CBUF_CON1") & 0x1FFFF if packed else regs["CBUF_CON1.DATA_ENTRIES"],
    )


def _kernel(regs: Registers, checks: Checks) -> KernelShape:
    mode = regs["CONV_CON1.CONV_MODE"]
    if mode not in (DIRECT, DEPTHWISE):
        checks.refuse("CNA", "CONV_CON1", f"CONV_MODE {mode}; only 0 (direct) and 3 (depthwise) are known")
    shape = KernelShape(
        regs["WEIGHT_SIZE2.WEIGHT_HEIGHT"],
        regs["WEIGHT_SIZE2.WEIGHT_WIDTH"],
        regs["DATA_SIZE1.DATAIN_CHANNEL"],
        regs["WEIGHT_SIZE2.WEIGHT_KERNELS"],
        mode == DEPTHWISE,
    )
    if not (shape.height and shape.width and shape.kernels):
        checks.refuse("CNA", "WEIGHT_SIZE2", f"{shape.kernels} kernels of {shape.width}x{shape.height}")
    if not shape.channels or shape.channels % 16:
        checks.refuse("CNA", "DATA_SIZE1", f"{shape.channels} channels; int8 needs a multiple of 16")
    if shape.depthwise and shape.kernels != 1:
        checks.refuse("CNA", "WEIGHT_SIZE2", f"a depthwise convolution with {shape.kernels} kernels instead of 1")
    if regs["WEIGHT_SIZE1.WEIGHT_BYTES_PER_KERNEL"] != shape.kernel_bytes:
        checks.distrust(
            "CNA",
            "WEIGHT_SIZE1",
            f"{regs['WEIGHT_SIZE1.WEIGHT_BYTES_PER_KERNEL']} bytes per kernel; the sizes make {shape.kernel_bytes}",
        )
    if regs["WEIGHT_SIZE0.WEIGHT_BYTES"] != shape.total_bytes:
        found = regs["WEIGHT_SIZE0.WEIGHT_BYTES"]
        checks.distrust("CNA", "WEIGHT_SIZE0", f"{found} weight bytes; the sizes make {shape.total_bytes}")
    return shape


def _output(regs: Registers, checks: Checks) -> tuple[int, int]:
    width, atomics = regs["DATA_SIZE2.DATAOUT_WIDTH"], regs["DATA_SIZE3.DATAOUT_ATOMICS"]
    if not width or not atomics or atomics % width:
        checks.refuse("CNA", "DATA_SIZE3", f"{atomics} output pixels in rows of {width}")
    return width, atomics // width


def _trailing(axis: _Axis, checks: Checks) -> int:
    """Return the padding behind the input that the output size implies; it has no register (Mesa; spec 12.1).

    A window without one real pixel is refused: input rows plus padding must reach the kernel's (spec 4.3, 6.1).
    """
    trail = max((axis.out - 1) * axis.stride + axis.span - axis.lead - axis.size, 0)
    if max(trail, axis.lead) >= axis.span:
        side = "last" if trail >= axis.span else "first"
        checks.refuse(
            "CNA",
            "DATA_SIZE0",
            f"the {side} output {axis.name} would see padding only: kernel spans {axis.span}, padding is "
            f"{axis.lead} before and {trail} behind, input {axis.size}",
        )
    return trail


def _fetch_mode(regs: Registers, checks: Checks) -> tuple[int, int]:
    argb, nonalign, off = (regs[f"CONV_CON1.{name}"] for name in ("ARGB_IN", "NONALIGN_DMA", "GROUP_LINE_OFF"))
    if not argb and not nonalign:
        return 0, 1 if off else 4
    if not (nonalign and off and 8 <= argb <= 11):
        checks.refuse(
            "CNA",
            "CONV_CON1",
            f"ARGB_IN={argb} NONALIGN_DMA={nonalign} GROUP_LINE_OFF={off}; packed input needs 8..11, 1 and 1",
        )
    return argb - 7, 1


def _check_fetch(regs: Registers, kernel: KernelShape, packed: int, checks: Checks) -> None:
    width, height = regs["DATA_SIZE0.DATAIN_WIDTH"], regs["DATA_SIZE0.DATAIN_HEIGHT"]
    if not packed and regs["FC_DATA_SIZE0.DMA_WIDTH"] != width:
        # Mesa doubles one of them for maps 8 pixels wide in additions, and those come out wrong (spec 3.9).
        found = regs["FC_DATA_SIZE0.DMA_WIDTH"]
        checks.distrust("CNA", "FC_DATA_SIZE0", f"{found} pixels are fetched for rows of {width}")
    if regs["FC_DATA_SIZE0.DMA_HEIGHT"] > height:
        # Fewer are no defect: DATAIN_HEIGHT decides (a shape that is exact on RK3588; outside 1).
        found = regs["FC_DATA_SIZE0.DMA_HEIGHT"]
        checks.distrust("CNA", "FC_DATA_SIZE0", f"{found} rows are fetched for an input of {height}")
    if regs["FC_DATA_SIZE1.DMA_CHANNEL"] != kernel.channels:
        found = regs["FC_DATA_SIZE1.DMA_CHANNEL"]
        checks.distrust("CNA", "FC_DATA_SIZE1", f"{found} channels are fetched of {kernel.channels}")
    if not packed and not regs["CVT_CON0.CVT_BYPASS"]:
        checks.refuse("CNA", "CVT_CON0", "the input converter is on for input that is not packed: not modelled")
    if packed and kernel.depthwise:
        checks.refuse("CNA", "CONV_CON1", "packed input for a depthwise convolution: not modelled")
    if regs["FEATURE_DATA_ADDR.FEATURE_BASE_ADDR"] % 16 and not packed:
        checks.distrust("CNA", "FEATURE_DATA_ADDR", "the address is not a multiple of 16")
    if regs["DCOMP_ADDR0.DECOMPRESS_ADDR0"] % 16:
        checks.object("CNA", "DCOMP_ADDR0", "the address is not a multiple of 16; the low bits are ignored")


def _converter(regs: Registers) -> Converter:
    lanes = range(4)
    scales = [regs[f"CVT_CON{lane + 1}.CVT_SCALE{lane}"] for lane in lanes]
    offsets = [regs[f"CVT_CON{lane + 1}.CVT_OFFSET{lane}"] for lane in lanes]
    shifts = [regs[f"CVT_CON0.CVT_TRUNCATE_{lane}"] for lane in lanes]
    return Converter(
        bypass=bool(regs["CVT_CON0.CVT_BYPASS"]),
        signed=bool(regs["CVT_CON0.DATA_SIGN"]),
        offset_first=bool(regs["CVT_CON0.CVT_TYPE"]),
        half_away=bool(regs["CVT_CON0.ROUND_TYPE"]),
        lanes=regs["CVT_CON5.PER_CHANNEL_CVT_EN"],
        scales=(scales[0], scales[1], scales[2], scales[3]),
        offsets=(offsets[0], offsets[1], offsets[2], offsets[3]),
        shifts=(shifts[0], shifts[1], shifts[2], shifts[3]),
    )
