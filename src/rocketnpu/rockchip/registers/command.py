"""The 64-bit command word: a register write as the PC fetches it from memory.

Bits 63:48 target unit, 47:16 value, 15:0 register offset (TRM; every recorded stream). Each word has one text form,
and the text reads back to the same word::

    CNA.CONV_CON3 CONV_Y_STRIDE=2 CONV_X_STRIDE=2
    NOP
    MARKER
    ENABLE CNA CORE DPU DPU_RDMA
    WORD 0x0999000000001234          # whatever none of these forms can express
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.fields import RESERVED, Register
from rocketnpu.rockchip.registers.rk3588 import (
    BLOCKS,
    BY_NAME,
    BY_TARGET,
    ENABLE_REGISTER,
    TARGET_ENABLE,
    TARGET_MARKER,
    register,
)

Words = npt.NDArray[np.uint64]
"""Command words as a one-dimensional little-endian array."""

VALUE_SHIFT, VALUE_MASK = 16, 0xFFFFFFFF << 16
"""Where the value stands in a word."""
NOP = 0
MARKER = TARGET_MARKER << 48
ENABLE_BITS = {unit.name: unit.enable_bit for unit in BLOCKS if unit.enable_bit is not None}
"""Bit of each unit in the enable word (TRM, register 0xf008)."""


def pack(target: int, offset: int, value: int) -> int:
    """Build a word from its three parts; ``value`` is taken modulo 2**32."""
    return target << 48 | (value & 0xFFFFFFFF) << 16 | offset


def write(path: str, **fields: int) -> int:
    """Build the word that writes ``"UNIT.REGISTER"`` with the named fields.

    Raises:
        RegisterFieldError: a value does not fit.
        CommandError: no such unit, register or field, or the unit has no target id.
    """
    return write_register(register(path), fields)


def write_register(target: Register, fields: dict[str, int]) -> int:
    """Build the word that writes a register given as an object."""
    unit = BY_NAME[target.block]
    if unit.target is None:
        raise CommandError(f"unit {unit.name} cannot be written from a command stream")
    return pack(unit.target, target.offset, target.encode(fields))


def enable(units: Iterable[str]) -> int:
    """Build the word that starts the named units."""
    mask = 0
    for name in units:
        if name not in ENABLE_BITS:
            raise CommandError(f"unit {name!r} has no enable bit; those that have: {', '.join(ENABLE_BITS)}")
        mask |= 1 << ENABLE_BITS[name]
    return pack(TARGET_ENABLE, ENABLE_REGISTER, mask)


def enabled_units(value: int) -> tuple[str, ...]:
    """Name the units that an enable word's value starts."""
    return tuple(name for name, bit in ENABLE_BITS.items() if value >> bit & 1)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One word taken apart.

    ``register`` is None for words that are not register writes or name no known register; ``problem`` says why.
    """

    word: int
    target: int
    offset: int
    value: int
    register: Register | None
    fields: dict[str, int]
    problem: str = ""

    def text(self) -> str:
        """Return the word's text form; a problem follows as a comment."""
        body = self._body()
        return f"{body}  # {self.problem}" if self.problem else body

    def _body(self) -> str:
        if self.word == NOP:
            return "NOP"
        if self.word == MARKER:
            return "MARKER"
        if self.target == TARGET_ENABLE and not self.problem:
            return " ".join(("ENABLE", *enabled_units(self.value)))
        if self.register is None:
            return f"WORD 0x{self.word:016x}"
        shown = [
            f"{name}=0x{value:x}" if name == RESERVED else f"{name}={value}"
            for name, value in self.fields.items()
            if value
        ]
        return " ".join((f"{self.register.block}.{self.register.name}", *shown))


def decode(word: int) -> Decoded:
    """Take one word apart. Never fails: what cannot be named is kept and marked in ``problem``."""
    target, offset, value = word >> 48, word & 0xFFFF, word >> 16 & 0xFFFFFFFF
    parts = (word, target, offset, value)
    if word in (NOP, MARKER):
        return Decoded(*parts, None, {})
    if target == TARGET_MARKER:
        return Decoded(*parts, None, {}, "marker with a value")
    if target == TARGET_ENABLE:
        known = sum(1 << bit for bit in ENABLE_BITS.values())
        problem = "" if offset == ENABLE_REGISTER and not value & ~known else "unusual enable word"
        return Decoded(*parts, None, {}, problem)
    unit = BY_TARGET.get(target)
    if unit is None:
        return Decoded(*parts, None, {}, f"unknown target 0x{target:04x}")
    found = unit.by_offset.get(offset)
    if found is None:
        return Decoded(*parts, None, {}, f"unknown register 0x{offset:04x} of {unit.name}")
    fields = found.decode(value)
    problem = f"reserved bits 0x{fields[RESERVED]:x}" if RESERVED in fields else ""
    return Decoded(*parts, found, fields, problem)


def parse(line: str) -> int | None:
    """Read one line of text back to its word; None for an empty line or a comment.

    Raises:
        CommandError: the line cannot be read.
        RegisterFieldError: a value does not fit its field.
    """
    body = line.split("#", 1)[0].split()
    if not body:
        return None
    head, rest = body[0], body[1:]
    if head == "NOP" and not rest:
        return NOP
    if head == "MARKER" and not rest:
        return MARKER
    if head == "ENABLE":
        return enable(rest)
    if head == "WORD" and len(rest) == 1:
        word = _number(rest[0], line)
        if not 0 <= word < 1 << 64:
            raise CommandError(f"not a 64-bit word: {line.strip()!r}")
        return word
    return write_register(register(head), dict(_assignments(rest, line)))


def _assignments(items: Iterable[str], line: str) -> Iterator[tuple[str, int]]:
    for item in items:
        name, sign, value = item.partition("=")
        if not sign:
            raise CommandError(f"expected FIELD=VALUE, found {item!r} in {line.strip()!r}")
        yield name, _number(value, line)


def _number(text: str, line: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise CommandError(f"{text!r} is not a number in {line.strip()!r}") from None


def format_words(words: Iterable[int]) -> str:
    """Return the text of a command stream, a word a line."""
    return "\n".join(decode(int(word)).text() for word in words)


def parse_words(text: str) -> Words:
    """Read a text back to command words.

    Raises:
        CommandError: a line cannot be read; the message names its number.
    """
    found: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            word = parse(line)
        except (CommandError, RegisterFieldError) as error:
            raise CommandError(f"line {number}: {error}") from None
        if word is not None:
            found.append(word)
    return np.array(found, dtype="<u8")


def from_bytes(data: bytes | bytearray | memoryview) -> Words:
    """View raw little-endian bytes as command words.

    Raises:
        CommandError: the length is not a multiple of 8.
    """
    if len(data) % 8:
        raise CommandError(f"a command stream is a multiple of 8 bytes long, this has {len(data)}")
    return np.frombuffer(data, dtype="<u8")
