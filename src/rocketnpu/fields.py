"""Registers as data: a block has registers, a register has bit fields, a field refuses what does not fit.

A block is written as a table, one register a line, the way a manual prints it::

    CNA = block("CNA", base=0x1000, target=0x0201, enable_bit=0, table='''
        0x1014 CONV_CON3  NN_MODE[30:28] CONV_Y_STRIDE[5:3] CONV_X_STRIDE[2:0]
    ''')

``NAME[high:low]`` or ``NAME[bit]``; a trailing ``s`` (``NAME[15:0]s``) makes a two's-complement field. Bits that no
field names are reserved: they decode as ``RESERVED`` so that nothing in a word is ever lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rocketnpu.errors import CommandError, RegisterFieldError

_FIELD = re.compile(r"(\w+)\[(\d+)(?::(\d+))?\](s?)$")
RESERVED = "RESERVED"


@dataclass(frozen=True, slots=True)
class Field:
    """Bits ``high..low`` of a register."""

    name: str
    high: int
    low: int
    signed: bool = False

    @property
    def width(self) -> int:
        """Width in bits."""
        return self.high - self.low + 1

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.low

    def fits(self, value: int) -> bool:
        """Say whether ``value`` can be stored without loss."""
        if self.signed:
            return -(1 << (self.width - 1)) <= value < 1 << (self.width - 1)
        return 0 <= value < 1 << self.width

    def extract(self, word: int) -> int:
        """Read the field from a 32-bit register value."""
        value = (word & self.mask) >> self.low
        return value - (1 << self.width) if self.signed and value >> (self.width - 1) else value


@dataclass(frozen=True, slots=True)
class Register:
    """One 32-bit register. ``offset`` includes the base of its block, as command words carry it."""

    block: str
    name: str
    offset: int
    fields: Mapping[str, Field]
    reserved_mask: int

    def encode(self, values: Mapping[str, int]) -> int:
        """Pack field values into the register's 32 bits; fields not named are 0.

        Raises:
            RegisterFieldError: a value does not fit its field.
            CommandError: the register has no such field.
        """
        word = 0
        for name, value in values.items():
            spec = self.fields.get(name)
            if spec is None:
                if name == RESERVED:
                    if value & ~self.reserved_mask:
                        raise RegisterFieldError(self.block, self.name, name, value, 32, False)
                    word |= value
                    continue
                raise CommandError(f"{self.block}.{self.name} has no field {name!r}; it has {', '.join(self.fields)}")
            if not spec.fits(value):
                raise RegisterFieldError(self.block, self.name, name, value, spec.width, spec.signed)
            word |= (value << spec.low) & spec.mask
        return word

    def decode(self, word: int) -> dict[str, int]:
        """Split 32 bits into named fields; stray bits outside every field appear as ``RESERVED``."""
        values = {name: spec.extract(word) for name, spec in self.fields.items()}
        if word & self.reserved_mask:
            values[RESERVED] = word & self.reserved_mask
        return values


@dataclass(frozen=True, slots=True)
class Block:
    """One hardware unit: its registers, its target id in command words, its bit in the enable word."""

    name: str
    base: int
    target: int | None
    enable_bit: int | None
    registers: Mapping[str, Register]
    by_offset: Mapping[int, Register] = field(repr=False)

    def __getitem__(self, name: str) -> Register:
        """Look a register up by name."""
        try:
            return self.registers[name]
        except KeyError:
            raise CommandError(f"unit {self.name} has no register {name!r}") from None


def _register(block: str, line: str) -> Register:
    offset, name, *columns = line.split()
    fields: dict[str, Field] = {}
    used = 0
    for column in columns:
        match = _FIELD.match(column)
        if match is None:
            raise ValueError(f"{block}.{name}: cannot read field {column!r}")
        high, low = int(match[2]), int(match[3] or match[2])
        spec = Field(match[1], high, low, bool(match[4]))
        if used & spec.mask or high > 31:
            raise ValueError(f"{block}.{name}.{spec.name}: bits overlap or lie outside the register")
        used |= spec.mask
        fields[spec.name] = spec
    return Register(block, name, int(offset, 16), fields, ~used & 0xFFFFFFFF)


def block(name: str, *, base: int, target: int | None, enable_bit: int | None, table: str) -> Block:
    """Build a block from its table (see the module's text)."""
    registers = [_register(name, line) for line in table.splitlines() if line.strip()]
    return Block(
        name,
        base,
        target,
        enable_bit,
        {register.name: register for register in registers},
        {register.offset: register for register in registers},
    )
