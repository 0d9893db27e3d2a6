"""What an NN instruction asks for, checked before a byte is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from rocketnpu.errors import SimulationError
from rocketnpu.verisilicon.coefficients.kernels import KernelShape
from rocketnpu.verisilicon.soc import Soc

FIRST_PIXEL = 3
"""POOLING that keeps the first pixel of each 2x2 (facts 4)."""
_FIXED = {
    "LAYER_TYPE": 0,
    "PRELU": 0,
    "KERNEL_TYPE": 0,
    "IN_TYPE": 0,
    "OUT_TYPE": 0,
    "BRICK": 0,
    "ROUNDING": 1,
    "BORDER_MODE": 0,
    "PER_CHANNEL_MULTIPLIER": 0,
    "DIRECT_STREAM": 0,
    "CIRCULAR_OUT_SIZE": 0,
    "CIRCULAR_IN_SIZE": 0,
}
"""Fields that have one value in every known stream: what others do is not known (facts 4, 11)."""


@dataclass(frozen=True, slots=True)
class NnConfig:
    """One convolution."""

    shape: KernelShape
    coefficients: int
    """Address."""
    in_address: int
    in_planes: int
    in_columns: int
    in_rows: int
    in_stride: int
    """Bytes from row to row."""
    in_plane: int
    """Bytes from plane to plane."""
    offset_x: int
    offset_y: int
    """First column and row of the window at output (0, 0)."""
    border: int
    """Byte that is read outside the image."""
    out_address: int
    out_columns: int
    out_rows: int
    """Of the map that is stored."""
    out_stride: int
    out_plane: int
    step: int
    """2 where only the first pixel of each 2x2 is kept."""
    multiplier: int
    """With its leading one."""
    shift: int
    """Places to the right that the product is shifted."""
    out_zero_point: int
    relu: bool

    @property
    def defects(self) -> tuple[str, ...]:
        """Why the output is wrong on silicon, in a way that nobody has described."""
        if self.shape.depthwise and self.in_planes != self.shape.kernels:
            message = f"{self.in_planes} input channels for {self.shape.kernels} depthwise kernels"
            return (f"NN.KERNEL_Z: {message}: which channel each kernel reads is not known",)
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those of pixels that pooling drops included."""
        return self.out_columns * self.out_rows * self.step**2 * self.shape.kernels * self.shape.weights


def read_nn(fields: Mapping[str, int], soc: Soc) -> NnConfig:
    """Read an instruction's fields.

    Raises:
        SimulationError: it asks for something that is not known.
    """
    for name, wanted in _FIXED.items():
        if fields[name] != wanted:
            refuse(name, f"{fields[name]}; only {wanted} is known")
    if soc.generation == 7 and fields["DEPTHWISE"]:
        refuse("DEPTHWISE", "set, but generation 7 has no depthwise kernels")
    step = _step(fields)
    columns, rows = fields["OUT_X"], fields["OUT_Y"]
    shape = _shape(fields, soc)
    multiplier, shift = _scale(fields, soc.generation)
    config = NnConfig(
        shape=shape,
        coefficients=fields["COEFFICIENTS_64"] * 64,
        in_address=fields["IN_ADDRESS"],
        in_planes=fields["KERNEL_Z"],
        in_columns=fields["IN_X"],
        in_rows=fields["IN_Y"],
        in_stride=fields["IN_X_STRIDE"],
        in_plane=fields["IN_X_STRIDE"] * fields["IN_Y_STRIDE"],
        offset_x=_signed(fields["IN_X_OFFSET"], soc.offset_bits),
        offset_y=_signed(fields["IN_Y_OFFSET"], soc.offset_bits),
        border=fields["BORDER_CONSTANT"],
        out_address=fields["OUT_ADDRESS"],
        out_columns=columns // step,
        out_rows=rows // step,
        out_stride=fields["OUT_X_STRIDE"],
        out_plane=fields["OUT_X_STRIDE"] * fields["OUT_Y_STRIDE"],
        step=step,
        multiplier=multiplier,
        shift=shift,
        out_zero_point=fields["OUT_ZERO_POINT"],
        relu=bool(fields["RELU"]),
    )
    _check(config, fields)
    return config


def refuse(register: str, message: str) -> NoReturn:
    """Give up.

    Raises:
        SimulationError: always.
    """
    raise SimulationError(message, unit="NN", register=register)


def _shape(fields: Mapping[str, int], soc: Soc) -> KernelShape:
    kernels = fields["OUT_Z"]
    for name in ("OUT_Z", "KERNELS_PER_CORE", "KERNEL_X", "KERNEL_Y", "KERNEL_Z"):
        if not fields[name]:
            refuse(name, "0: there is nothing to convolve")
    depthwise = bool(fields["DEPTHWISE"])
    return KernelShape(
        kernels=kernels,
        channels=1 if depthwise else fields["KERNEL_Z"],
        rows=fields["KERNEL_Y"],
        columns=fields["KERNEL_X"],
        per_core=fields["KERNELS_PER_CORE"],
        zero_point=fields["COEFFICIENT_ZERO_POINT"],
        depthwise=depthwise,
        cores=soc.cores,
    )


def _step(fields: Mapping[str, int]) -> int:
    pooling, flat = fields["POOLING"], fields["POOLING_XY"]
    if (pooling, flat) == (0, 1):
        return 1
    if (pooling, flat) != (FIRST_PIXEL, 0):
        refuse("POOLING", f"{pooling} with POOLING_XY {flat}; only none and the first pixel are known")
    for name in ("OUT_X", "OUT_Y"):
        if fields[name] % 2:
            refuse(name, f"{fields[name]}: the size before pooling is twice the stored one")
    return 2


def _scale(fields: Mapping[str, int], generation: int) -> tuple[int, int]:
    """Return multiplier and right shift: 15 bits behind a leading one, or 23 (facts 4)."""
    bits = 15 if generation == 7 else 23
    if fields["MULTIPLIER"] >> bits:
        refuse("MULTIPLIER", f"{fields['MULTIPLIER']}; this generation has {bits} bits")
    shift = fields["SHIFT"] if generation == 7 else _signed(fields["SHIFT"], 7) + bits
    if shift < 0:
        refuse("SHIFT", f"{fields['SHIFT']}: a scale above 2**{bits} is not known")
    return 1 << bits | fields["MULTIPLIER"], shift


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _check(config: NnConfig, fields: Mapping[str, int]) -> None:
    for name in ("IN_X", "IN_Y", "OUT_X", "OUT_Y"):
        if not fields[name]:
            refuse(name, "0: an empty map")
    if config.in_columns > fields["IN_X_STRIDE"] or config.in_rows > fields["IN_Y_STRIDE"]:
        size = f"{config.in_columns}x{config.in_rows}"
        refuse("IN_X_STRIDE", f"{fields['IN_X_STRIDE']}x{fields['IN_Y_STRIDE']} for a map of {size}: rows overlap")
    if config.out_columns > fields["OUT_X_STRIDE"] or config.out_rows > fields["OUT_Y_STRIDE"]:
        size = f"{config.out_columns}x{config.out_rows}"
        refuse("OUT_X_STRIDE", f"{fields['OUT_X_STRIDE']}x{fields['OUT_Y_STRIDE']} for a map of {size}: rows overlap")
    if config.border > 255:
        refuse("BORDER_CONSTANT", f"{config.border} for an image of bytes")
