"""Front-end commands: the 32-bit words that the kernel driver hands to the chip (facts 3).

A command begins at an even word. The only one in NPU streams is LOAD_STATE: a header and the values of states that
follow one another, padded to an even number of words. Words of zero between commands do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rocketnpu.fields import block
from rocketnpu.verisilicon.registers.instruction import WORD, Words

LOAD_STATE = 1
"""Bits 31:27 of a header that loads states."""
MAX_COUNT = 1024
"""States of one command; a count of 0 stands for it."""
_HEADER = block(
    "FE",
    base=0,
    target=None,
    enable_bit=None,
    table="""
    0x0 LOAD_STATE  ADDRESS_4[15:0] COUNT[25:16] FIXED_POINT[26] OPCODE[31:27]
""",
)["LOAD_STATE"]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A word of zero."""

    word: int
    """Index in the stream, as of all commands."""


@dataclass(frozen=True, slots=True)
class LoadState:
    """Values for states that follow one another."""

    word: int
    offset: int
    """Address of the first state in bytes."""
    values: tuple[int, ...]
    padding: int
    """The word that makes the command's length even; 0 where there is none, or nothing in it."""

    def writes(self) -> Iterator[tuple[int, int]]:
        """Return each state's address and value."""
        return ((self.offset + WORD * number, value) for number, value in enumerate(self.values))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A word that begins no known command; the rest of the stream cannot be read."""

    word: int
    value: int
    problem: str


Command = Nothing | LoadState | Unknown


def read_commands(stream: Words) -> Iterator[Command]:
    """Split a stream into commands; never fails, and ends behind the first unknown one."""
    words = stream.tolist()
    place = 0
    while place < len(words):
        header = words[place]
        if not header:
            yield Nothing(place)
            place += 1
            continue
        fields = _HEADER.decode(header)
        if fields["OPCODE"] != LOAD_STATE or fields["FIXED_POINT"]:
            yield Unknown(place, header, f"0x{header:08x} is no LOAD_STATE: not known in streams for an NPU")
            return
        if place % 2:
            yield Unknown(place, header, "a command begins at an odd word")
            return
        count = fields["COUNT"] or MAX_COUNT
        end = place + 1 + count
        if end > len(words):
            yield Unknown(place, header, f"a LOAD_STATE of {count} states, {len(words) - place - 1} words follow")
            return
        padded = end + end % 2
        padding = words[end] if padded > end and end < len(words) else 0
        yield LoadState(place, fields["ADDRESS_4"] * WORD, tuple(words[place + 1 : end]), padding)
        place = padded


def load_state(offset: int, values: tuple[int, ...], padding: int = 0) -> list[int]:
    """Return the words of a LOAD_STATE.

    Raises:
        RegisterFieldError: the state's address or the number of values does not fit.
    """
    count = 0 if len(values) == MAX_COUNT else len(values)
    header = _HEADER.encode({"ADDRESS_4": offset // WORD, "COUNT": count, "OPCODE": LOAD_STATE})
    return [header, *values, *([padding] if len(values) % 2 == 0 else [])]
