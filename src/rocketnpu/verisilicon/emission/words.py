"""Words with holes: what is written of a task before anything has an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rocketnpu.program.constants import Location
from rocketnpu.verisilicon.registers.instruction import Words


@dataclass(frozen=True, slots=True)
class Hole:
    """A place for an address: shifted right by ``shift``, in the bits of ``mask``."""

    at: Location
    shift: int = 0
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class Instruction:
    """An instruction's words; ``holes`` by word."""

    unit: str
    words: Words
    holes: Mapping[int, Hole]
