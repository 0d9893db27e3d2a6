"""Collects register writes, and remembers which of them need an address."""

from __future__ import annotations

from functools import cache

from rocketnpu.fields import Register
from rocketnpu.program.constants import Location
from rocketnpu.rockchip.registers.command import pack, write_register
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, register
from rocketnpu.rockchip.soc import Soc


@cache
def _found(path: str) -> tuple[Register, int]:
    found = register(path)
    target = BY_NAME[found.block].target
    assert target is not None, f"{path} cannot be written from a command stream"
    return found, target


class Writer:
    """A growing list of command words."""

    def __init__(self, soc: Soc) -> None:
        """Start empty, for a chip."""
        self.soc = soc
        self.words: list[int] = []
        self.addresses: dict[int, Location] = {}

    def put(self, path: str, **fields: int) -> None:
        """Write a register; fields not named are 0.

        Raises:
            RegisterFieldError: a value does not fit.
        """
        found, target = _found(path)
        if fields:
            self.words.append(write_register(found, fields))
        else:
            self.words.append(pack(target, found.offset, 0))

    def value(self, path: str, value: int) -> None:
        """Write all 32 bits of a register, for values that known programs write beyond the documented fields."""
        found, target = _found(path)
        self.words.append(pack(target, found.offset, value))

    def zero(self, *paths: str) -> None:
        """Write zero to some registers."""
        for path in paths:
            self.put(path)

    def address(self, path: str, location: Location | None) -> None:
        """Write a register whose whole value is an address; None writes 0."""
        if location is not None:
            self.addresses[len(self.words)] = location
        self.put(path)
