"""Register files: two groups a unit, the pointers that choose between them, and snapshots for the units to read.

Each unit shadows its registers from OPERATION_ENABLE upward in two groups (TRM; spec 1.6). The producer pointer
chooses the group that a command stream fills, the executer pointer the one that a start uses. With their enable bits
set, both toggle at each task, which recorded task descriptors show as alternating interrupt bits (addendum 8.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rocketnpu.fields import Block
from rocketnpu.rockchip.registers.rk3588 import BY_NAME
from rocketnpu.rockchip.simulator.checks import Checks

T = TypeVar("T")

POINTER_OFFSET = 0x4
"""Offset of every unit's S_POINTER."""


class Registers:
    """An immutable snapshot of one unit's registers. Fields are decoded once: tasks come back with the same values."""

    __slots__ = ("_fields", "_read", "_values", "unit")

    def __init__(self, unit: Block, raw: bytes) -> None:
        self.unit = unit
        self._values = np.frombuffer(raw, "<u4").tolist()
        self._fields: dict[str, int] = {}
        self._read: dict[str, object] = {}

    def raw(self, name: str) -> int:
        """Return a register's 32 bits."""
        return int(self._values[(self.unit[name].offset - self.unit.base) // 4])

    def __getitem__(self, path: str) -> int:
        """Return a field given as ``"REGISTER.FIELD"``."""
        value = self._fields.get(path)
        if value is None:
            name, _, field = path.partition(".")
            value = self._fields[path] = self.unit[name].fields[field].extract(self.raw(name))
        return value

    def read(self, kind: type[T], read: Callable[[Registers, Checks], T], checks: Checks) -> T:
        """Return ``read(self, checks)``, or what it gave before if it found nothing to object to then."""
        known = self._read.get(kind.__name__)
        if isinstance(known, kind):
            return known
        findings = len(checks.defects) + len(checks.remarks)
        config = read(self, checks)
        if len(checks.defects) + len(checks.remarks) == findings:
            self._read[kind.__name__] = config
        return config


def check_modelled(regs: Registers, unmodelled: Iterable[tuple[str, str]], checks: Checks) -> None:
    """Refuse fields that are not 0; each is given with what it would switch on.

    Raises:
        SimulationError: one of them is set.
    """
    for path, what in unmodelled:
        if regs[path]:
            name, _, field = path.partition(".")
            checks.refuse(regs.unit.name, name, f"{what} ({field}={regs[path]}): not modelled")


class RegisterFile:
    """The two register groups of one unit."""

    def __init__(self, unit: Block) -> None:
        self.unit = unit
        count = (max(unit.by_offset) - unit.base) // 4 + 1
        self._groups = np.zeros((2, count), np.uint32)
        self.pointer = 0
        self.executer = 0
        self._toggle_pointer = False
        self._toggle_executer = False

    def set_pointer(self, value: int) -> None:
        """Write S_POINTER.

        The pointer bit counts only while toggling is off (*assumed*): every stream writes it as 0 together with the
        toggle enable, and the groups alternate all the same (addendum 8.2).
        """
        spec = self.unit.by_offset[self.unit.base + POINTER_OFFSET].fields
        bits = {name: field.extract(value) for name, field in spec.items()}
        self._toggle_pointer = bool(bits["POINTER_PP_EN"])
        self._toggle_executer = bool(bits["EXECUTER_PP_EN"])
        if bits["POINTER_PP_CLEAR"]:
            self.pointer = 0
        elif not self._toggle_pointer:
            self.pointer = bits["POINTER"]
        if bits["EXECUTER_PP_CLEAR"]:
            self.executer = 0
        elif not self._toggle_executer:
            self.executer = self.pointer

    def write(self, index: npt.NDArray[np.intp], values: npt.NDArray[np.uint32]) -> None:
        """Write registers, given by word index from the unit's base, in the group being filled."""
        self._groups[self.pointer][index] = values

    def snapshot(self) -> bytes:
        """Return the executing group's content."""
        return bytes(self._groups[self.executer].data)

    def finish(self) -> None:
        """End a task: move on to the other group where toggling is enabled."""
        self.pointer ^= self._toggle_pointer
        self.executer ^= self._toggle_executer


@lru_cache(maxsize=4096)
def registers(unit: str, snapshot: bytes) -> Registers:
    """Give a snapshot its names."""
    return Registers(BY_NAME[unit], snapshot)
