"""CORE: the MAC array. Delivers accumulators a few output rows at a time, so that they stay in the processor's cache.

Accumulators are exact integers in float32 or float64: see :mod:`rocketnpu.rockchip.simulator.units.weights` for the
bound that allows float32. The OW operand is part of the net weights (spec 5.1, step 2), truncation follows (step 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Array, Float32, Float64, Scratch
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.registers import Registers
from rocketnpu.rockchip.simulator.rounding import factor, scale_in_place
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig
from rocketnpu.rockchip.simulator.units.weights import EXACT_FLOAT32, NetWeights

_COLUMN_FLOATS = 1 << 18
"""Floats of unfolded windows at a time: they should stay in a second-level cache."""


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """CORE registers."""

    sums_features: bool
    """QD_EN: also accumulate the features, which the OW operand needs (spec 5.1)."""
    truncate: int
    half_away: bool


def read_core(regs: Registers, cna: CnaConfig, checks: Checks) -> CoreConfig:
    """Read the registers and hold them against the CNA's.

    Raises:
        SimulationError: a precision that is not modelled, or sizes that contradict each other.
    """
    if regs["MISC_CFG.PROC_PRECISION"]:
        checks.refuse("CORE", "MISC_CFG", f"PROC_PRECISION {regs['MISC_CFG.PROC_PRECISION']}: only int8 is modelled")
    if bool(regs["MISC_CFG.DW_EN"]) != cna.depthwise:
        checks.refuse("CORE", "MISC_CFG", f"DW_EN is {regs['MISC_CFG.DW_EN']}, CNA.CONV_CON1 says otherwise")
    size = regs["DATAOUT_SIZE_0.DATAOUT_WIDTH"] + 1, regs["DATAOUT_SIZE_0.DATAOUT_HEIGHT"] + 1
    if size != (cna.out_width, cna.out_height):
        checks.refuse("CORE", "DATAOUT_SIZE_0", f"output of {size}, CNA makes {cna.out_width}x{cna.out_height}")
    return CoreConfig(
        bool(regs["MISC_CFG.QD_EN"]),
        regs["CLIP_TRUNCATE.CLIP_TRUNCATE"],
        bool(regs["CLIP_TRUNCATE.ROUND_TYPE"]),
    )


def accumulator_bound(core: CoreConfig, bound: int) -> int:
    """Return the largest magnitude behind truncation of sums that ``bound`` limits."""
    return (bound >> core.truncate) + 1 if core.truncate else bound


class MacArray:
    """One convolution's accumulators."""

    def __init__(self, cna: CnaConfig, core: CoreConfig, features: Float32, net: NetWeights, scratch: Scratch) -> None:
        self._cna, self._core, self._features, self._net, self._scratch = cna, core, features, net, scratch
        self.lanes = net.matrix.shape[1]

    @property
    def window(self) -> int:
        """Floats that one output pixel's window unfolds to; 0 where the features serve as they are."""
        kernel = self._cna.kernel
        taps = kernel.height * kernel.width
        return 0 if self._cna.depthwise or (taps == 1 and self._pointwise) else taps * self._net.lanes

    @property
    def rows_at_once(self) -> int:
        """Output rows for which unfolding stays in the cache."""
        cost = self.window * self._cna.out_width
        return max(1, _COLUMN_FLOATS // cost) if cost else self._cna.out_height

    @property
    def _pointwise(self) -> bool:
        same_width = self._features.shape[1] == self._cna.out_width
        return self._cna.stride_x == 1 and self._cna.stride_y == 1 and same_width

    def rows(self, start: int, stop: int) -> Array:
        """Return accumulators [pixels, lanes] of output rows ``start..stop-1``. Valid until the next call."""
        if self._cna.depthwise:
            sums: Array = self._depthwise(start, stop)
        else:
            sums = self._regular(self._windows(start, stop))
        if self._core.truncate:
            wide: Float64 = self._scratch.take("truncated", sums.shape, np.float64)
            np.copyto(wide, sums)
            scale_in_place(wide, factor(1, self._core.truncate), half_away=self._core.half_away)
            return wide
        return sums

    def _windows(self, start: int, stop: int) -> Float32:
        """Unfold the windows of some output rows: [pixels, taps * lanes]."""
        cna, data = self._cna, self._features
        channels = self._net.lanes
        if not self.window:
            return data[start:stop].reshape(-1, channels)
        row, pixel = data.strides[:2]
        shape = (stop - start, cna.out_width, cna.kernel.height, cna.kernel.width, channels)
        strides = (row * cna.stride_y, pixel * cna.stride_x, row * cna.step_y, pixel * cna.step_x, data.itemsize)
        view: Float32 = np.ndarray(shape, np.float32, data, start * cna.stride_y * row, strides)
        if cna.step_x == 1:
            # Neighbouring taps of a row are contiguous in memory: copy them as one run.
            merged = (*shape[:3], cna.kernel.width * channels)
            view = np.ndarray(merged, np.float32, data, start * cna.stride_y * row, (*strides[:3], data.itemsize))
        unfolded: Float32 = self._scratch.take("windows", view.shape, np.float32)
        np.copyto(unfolded, view)
        return unfolded.reshape(-1, self.window)

    def _regular(self, windows: Float32) -> Array:
        matrix, parts = self._net.matrix, self._net.parts
        sums: Float32 = self._scratch.take("sums", (len(windows), self.lanes), np.float32)
        if len(parts) == 1:
            return np.matmul(windows, matrix, out=sums)
        total: Float64 = self._scratch.take("totals", sums.shape, np.float64)
        total[...] = 0
        for part in parts:
            total += np.matmul(windows[:, part], matrix[part], out=sums)
        return total

    def _depthwise(self, start: int, stop: int) -> Array:
        cna, kernel = self._cna, self._cna.kernel
        width = cna.out_width * self.lanes
        # Products are exact in float32; their sums only below its 24 bits.
        exact = self._net.bound < EXACT_FLOAT32
        sums: Array = self._scratch.take(
            "sums" if exact else "totals", (stop - start, width), np.float32 if exact else np.float64
        )
        product: Float32 = self._scratch.take("products", (stop - start, width), np.float32)
        weights = self._tap_weights()
        for tap in range(kernel.height * kernel.width):
            down, across = divmod(tap, kernel.width)
            view = self._tap(start * cna.stride_y + down * cna.step_y, across * cna.step_x, stop - start)
            out = (product if tap else sums).reshape(view.shape)
            np.multiply(view, weights[tap], out=out)
            if tap:
                np.add(sums, product, out=sums)
        return sums.reshape(-1, self.lanes)

    @property
    def _whole_lines(self) -> bool:
        """Whether one tap sees an unbroken run of every line, so that lines need not be walked pixel by pixel."""
        return self._cna.stride_x == 1 and self.lanes == self._features.shape[2]

    def _tap_weights(self) -> Float32:
        if self._whole_lines:
            return np.tile(self._net.matrix, (1, self._cna.out_width))
        return self._net.matrix

    def _tap(self, top: int, left: int, rows: int) -> Float32:
        """View what one tap sees for some output rows: [rows, columns * lanes], or [rows, columns, lanes]."""
        cna, data = self._cna, self._features
        chosen = slice(top, top + (rows - 1) * cna.stride_y + 1, cna.stride_y)
        if self._whole_lines:
            lines = data.reshape(len(data), -1)[chosen]
            return lines[:, left * self.lanes : (left + cna.out_width) * self.lanes]
        return data[chosen][:, left : left + (cna.out_width - 1) * cna.stride_x + 1 : cna.stride_x, : self.lanes]
