"""The front end: reads a command stream word by word, sets states, and says which of them start a job (facts 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rocketnpu.errors import SimulationError
from rocketnpu.verisilicon.registers.commands import LoadState, Nothing, read_commands
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.registers.states import INSTRUCTION_ALIGNMENT, NN_START, TP_START, state


@dataclass(frozen=True, slots=True)
class Start:
    """A state write that starts a job."""

    unit: str
    """``NN`` or ``TP``."""
    address: int
    """Of the instruction."""
    number: int
    """What the low bits of the address say."""


def starts(stream: Words, remarks: list[str]) -> Iterator[Start]:
    """Read a stream and return the jobs that it starts, in order; oddities are added to ``remarks``.

    Raises:
        SimulationError: a command is unknown, or the stream ends within one.
    """
    units = {NN_START: "NN", TP_START: "TP"}
    for command in read_commands(stream):
        if isinstance(command, Nothing):
            continue
        if not isinstance(command, LoadState):
            raise SimulationError(command.problem, unit="FE", register=f"word {command.word}")
        for offset, value in command.writes():
            if state(offset) is None:
                remarks.append(f"word {command.word}: state 0x{offset:04x} is not known; 0x{value:x} is kept there")
            elif offset in units:
                address = value & ~(INSTRUCTION_ALIGNMENT - 1)
                yield Start(units[offset], address, value - address)
