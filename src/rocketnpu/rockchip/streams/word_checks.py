"""What a register write may hold: values that fit a field and yet mean nothing, or are known to go wrong.

Every range names its source; a value outside it is marked in a disassembly. Nothing here refuses anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass

from rocketnpu.rockchip.registers.command import Decoded
from rocketnpu.rockchip.soc import RK3588


@dataclass(frozen=True)
class Range:
    """Values with a meaning."""

    values: Container[int]
    text: str
    """The values in words, and why no others."""


def _at_least_one(top: int) -> Range:
    return Range(range(1, top + 1), f"1..{top}")


_MODES = Range((0, 3), "0 direct or 3 depthwise (TRM)")
_SCALE = Range(range(1 << 15), "0..32767: whether the field is signed is not known (addendum 2.3)")
FIELDS: Mapping[str, Range] = {
    "CNA.CONV_CON1.CONV_MODE": _MODES,
    "CNA.CONV_CON1.ARGB_IN": Range((0, 8, 9, 10, 11), "0, or 8..11 for 1..4 packed channels (TRM)"),
    "CNA.CONV_CON3.CONV_X_STRIDE": _at_least_one(RK3588.max_stride),
    "CNA.CONV_CON3.CONV_Y_STRIDE": _at_least_one(RK3588.max_stride),
    "CNA.DATA_SIZE0.DATAIN_WIDTH": _at_least_one(RK3588.max_size),
    "CNA.DATA_SIZE0.DATAIN_HEIGHT": _at_least_one(RK3588.max_size),
    "CNA.DATA_SIZE2.DATAOUT_WIDTH": _at_least_one(RK3588.max_size),
    "CNA.WEIGHT_SIZE2.WEIGHT_WIDTH": _at_least_one(RK3588.max_kernel),
    "CNA.WEIGHT_SIZE2.WEIGHT_HEIGHT": _at_least_one(RK3588.max_kernel),
    "CNA.WEIGHT_SIZE2.WEIGHT_KERNELS": _at_least_one(16383),
    "CNA.CBUF_CON0.DATA_BANK": Range(range(1, RK3588.cbuf_banks), "1..11 of 12 banks (spec 4.1)"),
    "CNA.CBUF_CON0.WEIGHT_BANK": Range(range(1, RK3588.cbuf_banks), "1..11 of 12 banks (spec 4.1)"),
    "CNA.CBUF_CON0.FC_DATA_BANK": Range((0,), "0: others corrupt the output (addendum 7.2)"),
    "DPU.FEATURE_MODE_CFG.CONV_MODE": _MODES,
    "DPU.FEATURE_MODE_CFG.OUTPUT_MODE": Range((1, 2, 3), "1 to PPU, 2 to memory, 3 both (TRM)"),
    "DPU.BS_CFG.BS_ALU_ALGO": Range((0, 1, 2, 4), "0 max, 1 min, 2 add, 4 subtract (TRM)"),
    "DPU.BN_CFG.BN_ALU_ALGO": Range((0, 1, 2, 4), "0 max, 1 min, 2 add, 4 subtract (TRM)"),
    "DPU.EW_CFG.EW_ALU_ALGO": Range(range(9), "0..8 (TRM)"),
    "DPU.OUT_CVT_SCALE.OUT_CVT_SCALE": _SCALE,
    "DPU_RDMA.RDMA_ERDMA_CFG.ERDMA_DATA_MODE": Range((0, 1), "0 or 1: mode 2 hangs (spec 10.1)"),
    "DPU_RDMA.RDMA_FEATURE_MODE_CFG.CONV_MODE": _MODES,
}
"""Fields with values that mean nothing, or are known to go wrong."""
ADDRESSES = frozenset(
    {
        "CNA.FEATURE_DATA_ADDR",
        "CNA.DCOMP_ADDR0",
        "DPU.DST_BASE_ADDR",
        "DPU_RDMA.RDMA_SRC_BASE_ADDR",
        "DPU_RDMA.RDMA_BS_BASE_ADDR",
        "DPU_RDMA.RDMA_BN_BASE_ADDR",
        "DPU_RDMA.RDMA_EW_BASE_ADDR",
        "PPU_RDMA.RDMA_SRC_BASE_ADDR",
    }
)
"""Registers whose whole value is an address, a multiple of 16 (TRM)."""


def _banks(found: Decoded) -> str:
    used = found.fields["DATA_BANK"] + found.fields["WEIGHT_BANK"]
    return "" if used == RK3588.cbuf_banks else f"{used} banks in all, there are {RK3588.cbuf_banks}"


def _group(found: Decoded) -> str:
    sizes = {found.fields[f"SIZE_E_{number}"] for number in range(3)}
    return "" if len(sizes) == 1 else "the three SIZE_E differ: in every known stream they are equal"


WHOLE: Mapping[str, Callable[[Decoded], str]] = {"CNA.CBUF_CON0": _banks, "DPU.BS_OW_CFG": _group}
"""What the fields of a register must be together."""


def problems(found: Decoded) -> Iterator[str]:
    """Say what is wrong with a word: unknown, reserved bits, values out of range."""
    if found.problem:
        yield found.problem
    if found.register is None:
        return
    path = f"{found.register.block}.{found.register.name}"
    for name, value in found.fields.items():
        allowed = FIELDS.get(f"{path}.{name}")
        if allowed is not None and value not in allowed.values:
            yield f"out of range: {name}={value} ({allowed.text})"
    if path in ADDRESSES and found.value % RK3588.slot:
        yield f"out of range: 0x{found.value:x} is not a multiple of {RK3588.slot}"
    together = WHOLE.get(path)
    if together is not None and together(found):
        yield f"out of range: {together(found)}"
