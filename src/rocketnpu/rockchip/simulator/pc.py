"""PC: the unit that fetches command words, fills the register groups and starts the others.

Words are parsed as whole arrays, and a parsed list is kept under its bytes: the same network runs the same lists again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.fields import Block
from rocketnpu.rockchip.registers.command import enabled_units
from rocketnpu.rockchip.registers.rk3588 import BLOCKS, DPU, ENABLE_REGISTER, PC, TARGET_ENABLE, TARGET_MARKER
from rocketnpu.rockchip.simulator.registers import POINTER_OFFSET

WORDS_PER_BEAT = 2
"""The PC fetches 128-bit beats (spec 1.5)."""
MOST_WORDS = WORDS_PER_BEAT << PC["REGISTER_AMOUNTS"].fields["PC_DATA_AMOUNT"].width
"""Of a list: its amount is one less than its beats."""
LIST_ALIGNMENT = 16
"""Granularity of the address of a list (spec 1.5)."""
_KEPT_BYTES = 1 << 15
"""Of a list that is kept: longer ones, which are mostly words behind the enable word, would fill memory."""
_BLOCK_OF_BYTE = {unit.target >> 8: unit for unit in BLOCKS if unit.target is not None}
"""A unit is decoded from bits 63:56; the low byte of the target differs in one published listing (spec 1.2)."""
_UNITS = tuple(unit for unit in BLOCKS if unit.enable_bit is not None)
_MAIN_ENABLE_OFFSETS = (ENABLE_REGISTER, 0xF008)
"""Both occur in streams that run (spec 1.3)."""
_LUT_CFG = DPU["LUT_ACCESS_CFG"].offset
_LUT_DATA = DPU["LUT_ACCESS_DATA"].offset
_NEXT_ADDRESS = PC["BASE_ADDRESS"].offset
_NEXT_AMOUNT = PC["REGISTER_AMOUNTS"].offset
_LOOSE_BITS = {
    0x1044: 0x0001C000,  # packed input counts beyond the field's 14 bits (addendum 6.9)
}


@dataclass(frozen=True, slots=True)
class Segment:
    """Writes to one unit that go to one register group."""

    pointer: int | None
    """S_POINTER value written before them."""
    index: npt.NDArray[np.intp]
    values: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class LutLoad:
    """Data words for the look-up tables, after an optional write of LUT_ACCESS_CFG."""

    access: int | None
    data: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class CommandList:
    """One task's command list, taken apart."""

    segments: dict[str, tuple[Segment, ...]]
    lut_loads: tuple[LutLoad, ...]
    enable: int
    """The enable word's value: bit n starts a unit (spec 1.4)."""
    next_address: int
    next_amount: int
    oddities: tuple[tuple[str, str, str], ...] = field(default=())
    """Unit, register and text of words whose effect is not documented."""

    units: tuple[str, ...] = field(init=False)
    """Names of the units started."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", enabled_units(self.enable))


def _fail(message: str, register: str = "") -> SimulationError:
    return SimulationError(message, unit="PC", register=register)


def parse(raw: bytes) -> CommandList:
    """Take a fetched list apart. Words after the enable word are fetched too far and have no effect (spec 1.5).

    Raises:
        SimulationError: no enable word, no marker before it, or a word for a unit that does not exist.
    """
    return _kept(raw) if len(raw) <= _KEPT_BYTES else _parsed(raw)


def _parsed(raw: bytes) -> CommandList:
    words = np.frombuffer(raw, "<u8")
    target = (words >> np.uint64(48)).astype(np.int64)
    starts = np.flatnonzero(target == TARGET_ENABLE)
    if not starts.size:
        raise _fail(f"none of the {words.size} words starts a unit: the list is truncated or no list at all")
    end = int(starts[0])
    offset = (words & np.uint64(0xFFFF)).astype(np.int64)
    value = (words >> np.uint64(16) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    if offset[end] not in _MAIN_ENABLE_OFFSETS:
        raise _fail(f"enable word for register 0x{offset[end]:04x}", "OPERATION_ENABLE")
    if TARGET_MARKER not in target[:end]:
        raise _fail("no marker word stands before the enable word", "OPERATION_ENABLE")
    return _assemble(target[:end], offset[:end], value[:end], words[:end], int(value[end]))


_kept = lru_cache(maxsize=8192)(_parsed)


def _assemble(
    target: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    value: npt.NDArray[np.uint32],
    words: npt.NDArray[np.uint64],
    enable: int,
) -> CommandList:
    known = sum(1 << unit.enable_bit for unit in _UNITS if unit.enable_bit is not None)
    if enable & ~known or not enable:
        raise _fail(f"enable mask 0x{enable:x} names no unit, or one that does not exist", "OPERATION_ENABLE")
    byte = target >> 8
    foreign = ~np.isin(byte, list(_BLOCK_OF_BYTE)) & (target != TARGET_MARKER) & (words != 0)
    if foreign.any():
        at = int(np.argmax(foreign))
        raise _fail(f"word {at} (0x{int(words[at]):016x}) has target 0x{int(target[at]):04x}, which is no unit")
    oddities: list[tuple[str, str, str]] = []
    segments = {}
    for unit in _UNITS:
        mask = byte == (unit.target or 0) >> 8
        if mask.any():
            segments[unit.name] = _segments(unit, offset[mask], value[mask], oddities)
    chain = byte == (PC.target or 0) >> 8
    address, amount = _chain(offset[chain], value[chain])
    loads = _lut_loads(offset[byte == (DPU.target or 0) >> 8], value[byte == (DPU.target or 0) >> 8])
    return CommandList(segments, loads, enable, address, amount, tuple(oddities))


def _chain(offset: npt.NDArray[np.int64], value: npt.NDArray[np.uint32]) -> tuple[int, int]:
    """Read the link to the next list; other PC registers cannot be written from a list."""
    link = {_NEXT_ADDRESS: 0, _NEXT_AMOUNT: 0}
    for where, what in zip(offset.tolist(), value.tolist(), strict=True):
        if where not in link:
            raise _fail(f"a command list writes PC register 0x{where:04x}")
        link[where] = what
    # The upper half of the amount names the set of cores that co-work (addendum 8.4), not a length.
    return link[_NEXT_ADDRESS] & ~0xF, link[_NEXT_AMOUNT] & 0xFFFF


def _segments(
    unit: Block,
    offset: npt.NDArray[np.int64],
    value: npt.NDArray[np.uint32],
    oddities: list[tuple[str, str, str]],
) -> tuple[Segment, ...]:
    """Split a unit's writes where S_POINTER may change the group, and drop all but the last write of a register."""
    known = np.fromiter((where in unit.by_offset for where in offset.tolist()), bool, offset.size)
    for where, what in zip(offset.tolist(), value.tolist(), strict=True):
        _inspect(unit, where, what, oddities)
    pointers = np.flatnonzero(offset == unit.base + POINTER_OFFSET).tolist()
    found: list[Segment] = []
    for start, stop in zip([-1, *pointers], [*pointers, offset.size], strict=True):
        chosen = slice(start + 1, stop)
        index = ((offset[chosen] - unit.base) // 4)[known[chosen]]
        values = value[chosen][known[chosen]]
        last = {register: position for position, register in enumerate(index.tolist())}
        keep = np.fromiter(last.values(), np.intp, len(last))
        if start >= 0 or keep.size:
            found.append(Segment(int(value[start]) if start >= 0 else None, index[keep].astype(np.intp), values[keep]))
    return tuple(found)


def _inspect(unit: Block, offset: int, value: int, oddities: list[tuple[str, str, str]]) -> None:
    register = unit.by_offset.get(offset)
    if register is None:
        oddities.append((unit.name, f"0x{offset:04x}", f"the unit has no such register; 0x{value:x} written"))
        return
    stray = value & register.reserved_mask & ~_LOOSE_BITS.get(offset, 0)
    if stray:
        oddities.append((unit.name, register.name, f"reserved bits 0x{stray:x} are set"))


def _lut_loads(offset: npt.NDArray[np.int64], value: npt.NDArray[np.uint32]) -> tuple[LutLoad, ...]:
    mask = (offset == _LUT_CFG) | (offset == _LUT_DATA)
    offset, value = offset[mask], value[mask]
    heads = np.flatnonzero(offset == _LUT_CFG).tolist()
    loads = []
    for start, stop in zip([-1, *heads], [*heads, offset.size], strict=True):
        data = (value[start + 1 : stop] & 0xFFFF).astype(np.uint16).view(np.int16)
        if start >= 0 or data.size:
            loads.append(LutLoad(int(value[start]) if start >= 0 else None, data))
    return tuple(loads)
