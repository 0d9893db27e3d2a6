"""Look-up tables of the DPU: two tables of 513 signed 16-bit entries, LE (id 0) and LO (id 1).

Upload: LUT_ACCESS_CFG sets table and start address, each data write stores one entry and moves on; entry k is the k-th
word written (ramp tables read back on RK3568 and RV1103; addendum 5.1). Contents are no part of the register groups and
stay until rewritten (NVDLA; spec 1.6).

Lookup (NVDLA's structure; spec 6.5, addendum 5.3): a table covers [start, end); index = (v - start) >> select, and
between entries the value is interpolated linearly (measured on RK3576; nearest entry is claimed by one source).
Outside, the end entry continues with a slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Array, Float64, Int64
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.pc import LutLoad
from rocketnpu.rockchip.simulator.registers import Registers

ENTRIES = 513
LE, LO = 0, 1
_WRITE = 1 << 17
_TABLE = 1 << 16
_ADDRESS = 0x3FF


class LutMemory:
    """The tables' contents and the upload address."""

    def __init__(self) -> None:
        self.tables = np.zeros((2, ENTRIES), np.int64)
        self._access = 0
        self._next = 0

    def load(self, loads: tuple[LutLoad, ...], checks: Checks) -> None:
        """Perform the writes of one command list.

        Raises:
            SimulationError: data run beyond the table.
        """
        for item in loads:
            if item.access is not None:
                self._access, self._next = item.access, item.access & _ADDRESS
            if not self._access & _WRITE or not item.data.size:
                continue  # Data written while the port is set to reading is lost; Mesa writes such a word in each task.
            end = self._next + item.data.size
            if end > ENTRIES:
                checks.refuse("DPU", "LUT_ACCESS_DATA", f"entries {self._next}..{end - 1} of a table of {ENTRIES}")
            self.tables[int(bool(self._access & _TABLE)), self._next : end] = item.data
            self._next = end


@dataclass(frozen=True, slots=True)
class Range:
    """One table's domain and its slopes beyond the ends."""

    start: int
    end: int
    select: int
    """Index shift: entries lie 2**select apart."""
    underflow: tuple[int, int]
    """Slope scale and shift below ``start``."""
    overflow: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LutConfig:
    """Registers that steer a lookup."""

    ranges: tuple[Range, Range]
    hybrid: int
    """Table that answers where both could, or where one lies below and the other above."""
    underflow: int
    """Table that answers below both."""
    overflow: int
    """Table that answers above both."""

    @classmethod
    def read(cls, regs: Registers, checks: Checks) -> LutConfig:
        """Read the registers.

        Raises:
            SimulationError: a mode that nobody has described, or a range that the table does not cover.
        """
        for name in ("LUT_ROAD_SEL", "LUT_EXPAND_EN", "LUT_CAL_SEL"):
            if regs[f"LUT_CFG.{name}"]:
                checks.refuse("DPU", "LUT_CFG", f"{name} is set: not modelled, its effect is not documented")
        ranges = tuple(_range(regs, name) for name in ("LE", "LO"))
        for name, item in zip(("LE", "LO"), ranges, strict=True):
            if item.end < item.start or (item.end - item.start) >> min(item.select, 62) > ENTRIES - 1:
                checks.refuse("DPU", f"LUT_{name}_END", f"{item.start}..{item.end} does not fit {ENTRIES} entries")
        return cls(
            (ranges[LE], ranges[LO]),
            regs["LUT_CFG.LUT_HYBRID_PRIORITY"],
            regs["LUT_CFG.LUT_UFLOW_PRIORITY"],
            regs["LUT_CFG.LUT_OFLOW_PRIORITY"],
        )


def _range(regs: Registers, name: str) -> Range:
    slope, shift = f"LUT_{name}_SLOPE_SCALE.LUT_{name}_SLOPE", f"LUT_{name}_SLOPE_SHIFT.LUT_{name}_SLOPE"
    return Range(
        regs[f"LUT_{name}_START.LUT_{name}_START"],
        regs[f"LUT_{name}_END.LUT_{name}_END"],
        regs[f"LUT_INFO.LUT_{name}_INDEX_SELECT"],
        (regs[f"{slope}_UFLOW_SCALE"], regs[f"{shift}_UFLOW_SHIFT"]),
        (regs[f"{slope}_OFLOW_SCALE"], regs[f"{shift}_OFLOW_SHIFT"]),
    )


def lookup(values: Float64, config: LutConfig, tables: Int64) -> None:
    """Replace integers by their table values, in place."""
    argument = values.astype(np.int64)
    first, second = config.ranges
    below = (argument < first.start) & (argument < second.start)
    above = (argument >= first.end) & (argument >= second.end)
    hit = [(argument >= item.start) & (argument < item.end) for item in config.ranges]
    table = np.where(hit[LE] == hit[LO], config.hybrid, np.where(hit[LO], LO, LE))
    table = np.where(below, config.underflow, np.where(above, config.overflow, table))
    answers = [_one(argument, item, tables[index]) for index, item in enumerate(config.ranges)]
    np.copyto(values, np.where(table == LO, answers[LO], answers[LE]))


def _one(argument: Int64, item: Range, entries: Int64) -> Int64:
    """Answer from one table, for all arguments."""
    inside = np.clip(argument, item.start, item.end) - item.start
    select = min(item.select, 62)
    index = inside >> select
    above = np.minimum(index + 1, ENTRIES - 1)
    fraction = inside - (index << select)
    answer: Array = entries[index] + ((entries[above] - entries[index]) * fraction >> select)
    low, high = np.minimum(argument - item.start, 0), np.maximum(argument - item.end, 0)
    answer = answer + (low * item.underflow[0] >> item.underflow[1])
    return np.asarray(answer + (high * item.overflow[0] >> item.overflow[1]), np.int64)
