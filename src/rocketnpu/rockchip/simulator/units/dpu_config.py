"""DPU registers of one task, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.registers import Registers, check_modelled
from rocketnpu.rockchip.simulator.units.lut import LutConfig

INT8, INT16, INT32 = 0, 1, 4
"""Precision codes (TRM; spec 8.1). int16 of an int8 convolution completes on RK3588 (128 of 128; outside 2.2)."""
BYTES = {INT8: 1, INT16: 2, INT32: 4}
ADD, MINUS = 2, 4
"""ALU operations of BS and BN (TRM)."""
EW_MAX, EW_MIN, EW_ADD, EW_MINUS, EW_ABS, EW_NEG = 0, 1, 2, 4, 5, 6
"""ALU operations of EW that have an integer meaning (TRM)."""
_UNMODELLED = (
    ("FEATURE_MODE_CFG.COMB_USE", "combined output"),
    ("FEATURE_MODE_CFG.TP_EN", "output transposition"),
    ("FEATURE_MODE_CFG.RGP_TYPE", "regrouped output"),
    ("FEATURE_MODE_CFG.NONALIGN", "the non-aligned writer"),
    ("DATA_FORMAT.IN_PRECISION", "an input precision other than int8"),
    ("DATA_FORMAT.PROC_PRECISION", "a processing precision other than int8"),
    ("DATA_FORMAT.MC_SURF_OUT", "another surface order"),
    ("DATA_CUBE_HEIGHT.MINMAX_CTL", "the search for extremes"),
    ("BS_OW_CFG.TP_ORG_EN", "output transposition"),
    ("BS_OW_CFG.RGP_CNTER", "regrouped output"),
    ("WDMA_SIZE_0.TP_PRECISION", "output transposition"),
    ("BS_MUL_CFG.BS_TRUNCATE_SRC", "a per-channel shift"),
    ("BN_MUL_CFG.BN_TRUNCATE_SRC", "a per-channel shift"),
    ("EW_CFG.EW_EQUAL_EN", "comparison"),
    ("EW_CFG.EW_BINARY_EN", "binary output"),
    ("EW_CFG.EW_MUL_PRELU", "a parametric ReLU of the element-wise stage"),
    ("OUT_CVT_SHIFT.MINUS_EXP", "a floating-point exponent"),
    ("OUT_CVT_SCALE.FP32TOFP16_EN", "fp16 output"),
)


@dataclass(frozen=True, slots=True)
class ScaleStage:
    """BS or BN: ALU, then MUL, then ReLU (spec 5.4). None stands for a bypassed part."""

    name: str
    alu: int | None
    """ADD or MINUS."""
    alu_operand: int | None
    """Constant; None: per channel, from memory."""
    mul: bool
    mul_operand: int | None
    """Constant; None: per channel, from memory."""
    prelu: bool
    shift: int
    shift_negative: int
    relu: bool
    limit: int | None
    """Upper bound of RELUX."""


@dataclass(frozen=True, slots=True)
class ElementStage:
    """EW: operand converter, ALU or MUL, look-up table, ReLU (spec 5.5)."""

    operate: bool
    multiply: bool
    algorithm: int
    from_memory: bool
    constant: int
    data_mode: int
    convert: bool
    offset_first: bool
    half_away: bool
    offset: int
    scale: int
    shift: int
    truncate: int
    truncate_negative: int
    lut: LutConfig | None
    relu: bool
    limit: int | None


@dataclass(frozen=True, slots=True)
class OutputConverter:
    """The last stage: multiply and shift, add the zero point, saturate (spec 5.7, 5.8)."""

    offset: int
    scale: int
    shift: int
    offset_first: bool
    half_away: bool
    precision: int


@dataclass(frozen=True, slots=True)
class DpuConfig:
    """One task as the DPU sees it. Sizes are not minus one; strides in bytes."""

    width: int
    height: int
    channels: int
    """Padded channels of the cube."""
    real_channels: int
    flying: bool
    depthwise: bool
    ow_constant: int
    ow_from_memory: bool
    ow_bypass: bool
    bs: ScaleStage
    bn: ScaleStage
    ew: ElementStage
    out: OutputConverter
    fill: int
    """OFFSET_PEND: what channels beyond the real ones hold (TRM)."""
    address: int
    surface_stride: int
    group_stride: int
    group_surfaces: int
    line_notch: int
    """Slots skipped after each line."""


def read_dpu(regs: Registers, checks: Checks) -> DpuConfig:
    """Read the registers.

    Raises:
        SimulationError: a value without meaning, or a mode that is not modelled.
    """
    check_modelled(regs, _UNMODELLED, checks)
    _check_output(regs, checks)
    width, height, channels, real = _cube(regs, checks)
    mode = regs["FEATURE_MODE_CFG.CONV_MODE"]
    if mode not in (0, 3):
        checks.refuse("DPU", "FEATURE_MODE_CFG", f"CONV_MODE {mode}; only 0 and 3 (depthwise) are known")
    return DpuConfig(
        width=width,
        height=height,
        channels=channels,
        real_channels=real,
        flying=bool(regs["FEATURE_MODE_CFG.FLYING_MODE"]),
        depthwise=mode == 3,
        ow_constant=regs["BS_OW_OP.OW_OP"],
        ow_from_memory=bool(regs["BS_OW_CFG.OW_SRC"]),
        ow_bypass=bool(regs["BS_OW_CFG.OD_BYPASS"]),
        bs=_scale_stage("BS", regs, checks),
        bn=_scale_stage("BN", regs, checks),
        ew=_element_stage(regs, checks),
        out=_output_converter(regs, checks),
        fill=regs["OFFSET_PEND.OFFSET_PEND"],
        address=regs.raw("DST_BASE_ADDR") & ~0xF,
        surface_stride=regs["DST_SURF_STRIDE.DST_SURF_STRIDE"] * 16,
        group_stride=regs["SURFACE_ADD.SURF_ADD"] * 16,
        group_surfaces=_group_surfaces(regs, checks),
        line_notch=regs["DATA_CUBE_NOTCH_ADDR.NOTCH_ADDR_0"],
    )


def _cube(regs: Registers, checks: Checks) -> tuple[int, int, int, int]:
    """Return width, height, padded and real channels."""
    width, height = regs["DATA_CUBE_WIDTH.WIDTH"] + 1, regs["DATA_CUBE_HEIGHT.HEIGHT"] + 1
    channels, real = regs["DATA_CUBE_CHANNEL.CHANNEL"] + 1, regs["DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    if real > channels:
        checks.refuse("DPU", "DATA_CUBE_CHANNEL", f"{real} real channels of {channels}")
    written = (
        regs["WDMA_SIZE_1.WIDTH_WDMA"] + 1,
        regs["WDMA_SIZE_1.HEIGHT_WDMA"] + 1,
        regs["WDMA_SIZE_0.CHANNEL_WDMA"] + 1,
    )
    if written != (width, height, channels):
        checks.distrust("DPU", "WDMA_SIZE_1", f"the writer's cube is {written}, the data's {(width, height, channels)}")
    if regs["DATA_CUBE_NOTCH_ADDR.NOTCH_ADDR_0"] != regs["DATA_CUBE_NOTCH_ADDR.NOTCH_ADDR_1"]:
        checks.distrust("DPU", "DATA_CUBE_NOTCH_ADDR", "the two notches differ; every known stream writes them alike")
    return width, height, channels, real


def _check_output(regs: Registers, checks: Checks) -> None:
    if regs["FEATURE_MODE_CFG.OUTPUT_MODE"] != 2:
        mode = regs["FEATURE_MODE_CFG.OUTPUT_MODE"]
        checks.refuse("DPU", "FEATURE_MODE_CFG", f"OUTPUT_MODE {mode}; only 2 (to memory) is modelled")
    precision = regs["DATA_FORMAT.OUT_PRECISION"]
    if precision not in BYTES:
        checks.refuse(
            "DPU", "DATA_FORMAT", f"OUT_PRECISION {precision}; only int8, int16 and int32 (0, 1, 4) are modelled"
        )
    if regs.raw("DST_BASE_ADDR") % 16:
        checks.object("DPU", "DST_BASE_ADDR", "the address is not a multiple of 16; the low bits are ignored")


def _group_surfaces(regs: Registers, checks: Checks) -> int:
    first, middle, last = (regs[f"BS_OW_CFG.SIZE_E_{index}"] for index in range(3))
    if not first == middle == last:
        checks.distrust("DPU", "BS_OW_CFG", "the three SIZE_E differ; every known stream writes them alike")
    return first + 1


def _scale_stage(name: str, regs: Registers, checks: Checks) -> ScaleStage:
    cfg = {field.removeprefix(f"{name}_"): regs[f"{name}_CFG.{field}"] for field in regs.unit[f"{name}_CFG"].fields}
    on = not cfg["BYPASS"]
    alu, mul = on and not cfg["ALU_BYPASS"], on and not cfg["MUL_BYPASS"]
    if alu and cfg["ALU_ALGO"] not in (ADD, MINUS):
        checks.refuse(
            "DPU", f"{name}_CFG", f"{name}_ALU_ALGO {cfg['ALU_ALGO']}; only 2 (add) and 4 (subtract) are known"
        )
    relu = on and not cfg["RELU_BYPASS"]
    return ScaleStage(
        name=name,
        alu=cfg["ALU_ALGO"] if alu else None,
        alu_operand=None if cfg["ALU_SRC"] else regs[f"{name}_ALU_CFG.{name}_ALU_OPERAND"],
        mul=mul,
        mul_operand=None if regs[f"{name}_MUL_CFG.{name}_MUL_SRC"] else regs[f"{name}_MUL_CFG.{name}_MUL_OPERAND"],
        prelu=bool(cfg["MUL_PRELU"]),
        shift=regs[f"{name}_MUL_CFG.{name}_MUL_SHIFT_VALUE"],
        shift_negative=regs[f"DATA_FORMAT.{name}_MUL_SHIFT_VALUE_NEG"],
        relu=relu,
        limit=regs[f"{name}_RELUX_CMP_VALUE.{name}_RELUX_CMP_DAT"] if relu and cfg["RELUX_EN"] else None,
    )


def _element_stage(regs: Registers, checks: Checks) -> ElementStage:
    cfg = {field.removeprefix("EW_"): regs[f"EW_CFG.{field}"] for field in regs.unit["EW_CFG"].fields}
    on = not cfg["BYPASS"]
    operate, multiply = on and not cfg["OP_BYPASS"], bool(cfg["OP_TYPE"])
    known = (EW_MAX, EW_MIN, EW_ADD, EW_MINUS, EW_ABS, EW_NEG)
    if operate and not multiply and cfg["ALU_ALGO"] not in known:
        checks.refuse("DPU", "EW_CFG", f"EW_ALU_ALGO {cfg['ALU_ALGO']} has no integer meaning")
    if operate and cfg["OP_SRC"] and cfg["EDATA_SIZE"] != 1:
        checks.refuse("DPU", "EW_CFG", f"EDATA_SIZE {cfg['EDATA_SIZE']}: only 1 (8 bit) is modelled")
    constants = [regs.raw(f"EW_OP_VALUE_{index}") for index in range(8)]
    if operate and not cfg["OP_SRC"] and len(set(constants)) > 1:
        checks.refuse("DPU", "EW_OP_VALUE_0", "the eight constants differ: which value they belong to is not known")
    relu = on and not cfg["RELU_BYPASS"]
    return ElementStage(
        operate=operate,
        multiply=multiply,
        algorithm=cfg["ALU_ALGO"],
        from_memory=bool(cfg["OP_SRC"]),
        constant=regs["EW_OP_VALUE_0.EW_OPERAND_0"],
        data_mode=cfg["DATA_MODE"],
        convert=not cfg["OP_CVT_BYPASS"],
        offset_first=bool(cfg["CVT_TYPE"]),
        half_away=bool(cfg["CVT_ROUND"]),
        offset=regs["EW_CVT_OFFSET_VALUE.EW_OP_CVT_OFFSET"],
        scale=regs["EW_CVT_SCALE_VALUE.EW_OP_CVT_SCALE"],
        shift=regs["EW_CVT_SCALE_VALUE.EW_OP_CVT_SHIFT"],
        truncate=regs["EW_CVT_SCALE_VALUE.EW_TRUNCATE"],
        truncate_negative=regs["DATA_FORMAT.EW_TRUNCATE_NEG"],
        lut=LutConfig.read(regs, checks) if on and not cfg["LUT_BYPASS"] else None,
        relu=relu,
        limit=regs["EW_RELUX_CMP_VALUE.EW_RELUX_CMP_DAT"] if relu and cfg["RELUX_EN"] else None,
    )


def _output_converter(regs: Registers, checks: Checks) -> OutputConverter:
    scale = regs["OUT_CVT_SCALE.OUT_CVT_SCALE"]
    if scale > 32767:
        checks.distrust("DPU", "OUT_CVT_SCALE", f"multiplier {scale}: untested above 32767 (it may be a signed field)")
    return OutputConverter(
        offset=regs["OUT_CVT_OFFSET.OUT_CVT_OFFSET"],
        scale=scale,
        shift=regs["OUT_CVT_SHIFT.OUT_CVT_SHIFT"],
        offset_first=bool(regs["OUT_CVT_SHIFT.CVT_TYPE"]),
        half_away=bool(regs["OUT_CVT_SHIFT.CVT_ROUND"]),
        precision=regs["DATA_FORMAT.OUT_PRECISION"],
    )
