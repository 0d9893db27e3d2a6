"""Instructions in memory: 32-bit words whose fields have names that are unique within the instruction.

A field in pieces has one entry in a block's table for each piece, named ``NAME_high_low`` after the bits of NAME that
it holds. :class:`Layout` reads and writes such fields whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.fields import RESERVED, Block, Register

Words = npt.NDArray[np.uint32]
"""Words of an instruction or of a command stream as a one-dimensional little-endian array."""

WORD = 4
"""Bytes of a word."""
_PIECE = re.compile(r"(\w+?)_(\d+)_(\d+)$")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits ``high..low`` of a field, as a named part of one word."""

    register: Register
    part: str
    high: int
    low: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The words of one kind of instruction."""

    block: Block
    pieces: Mapping[str, tuple[Piece, ...]] = field(init=False, repr=False)
    """Where each whole field lies."""

    def __post_init__(self) -> None:
        """Collect the pieces of each field."""
        found: dict[str, list[Piece]] = {}
        for register in self.block.registers.values():
            for part, spec in register.fields.items():
                match = _PIECE.match(part)
                name, high, low = (match[1], int(match[2]), int(match[3])) if match else (part, spec.width - 1, 0)
                if high - low + 1 != spec.width:
                    raise ValueError(f"{self.name}.{part}: the name says {high - low + 1} bits, it has {spec.width}")
                found.setdefault(name, []).append(Piece(register, part, high, low))
        for name, pieces in found.items():
            pieces.sort(key=lambda piece: piece.low)
            ends = [0, *(piece.high + 1 for piece in pieces)]
            if [piece.low for piece in pieces] != ends[:-1]:
                raise ValueError(f"{self.name}.{name}: pieces overlap or leave bits out")
        object.__setattr__(self, "pieces", {name: tuple(pieces) for name, pieces in found.items()})

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.block.name

    @property
    def size(self) -> int:
        """Words of an instruction."""
        return len(self.block.registers)

    def registers(self) -> tuple[Register, ...]:
        """Return the words in order."""
        return tuple(self.block.registers.values())

    def decode(self, words: Words) -> dict[str, int]:
        """Return all fields, pieces joined.

        Raises:
            CommandError: fewer words than an instruction has.
        """
        if len(words) < self.size:
            raise CommandError(f"an {self.name} instruction has {self.size} words, there are {len(words)}")
        values = [register.decode(word) for register, word in zip(self.registers(), words.tolist(), strict=False)]
        parts = {name: value for word in values for name, value in word.items() if name != RESERVED}
        return {name: sum(parts[piece.part] << piece.low for piece in pieces) for name, pieces in self.pieces.items()}

    def read(self, words: Words, names: Iterable[str]) -> dict[str, int]:
        """Return some fields, pieces joined: much quicker than all of them."""
        place = {register.name: number for number, register in enumerate(self.registers())}
        return {
            name: sum(
                piece.register.fields[piece.part].extract(int(words[place[piece.register.name]])) << piece.low
                for piece in self.pieces[name]
            )
            for name in names
        }

    def reserved(self, words: Words) -> dict[str, int]:
        """Return the bits outside every field that are set, by word."""
        found = {
            register.name: word & register.reserved_mask
            for register, word in zip(self.registers(), words.tolist(), strict=False)
        }
        return {name: bits for name, bits in found.items() if bits}

    def encode(self, values: Mapping[str, int]) -> Words:
        """Pack whole fields into an instruction; fields not named are 0.

        Raises:
            RegisterFieldError: a value does not fit its field.
            CommandError: there is no such field.
        """
        words: dict[str, dict[str, int]] = {register.name: {} for register in self.registers()}
        for name, value in values.items():
            pieces = self.pieces.get(name)
            if pieces is None:
                raise CommandError(f"an {self.name} instruction has no field {name!r}; it has {', '.join(self.pieces)}")
            if len(pieces) == 1:
                words[pieces[0].register.name][pieces[0].part] = value
                continue
            width = pieces[-1].high + 1
            if not 0 <= value < 1 << width:
                raise RegisterFieldError(self.name, pieces[0].register.name, name, value, width, False)
            for piece in pieces:
                words[piece.register.name][piece.part] = value >> piece.low & (1 << piece.high - piece.low + 1) - 1
        return np.array([register.encode(words[register.name]) for register in self.registers()], "<u4")
