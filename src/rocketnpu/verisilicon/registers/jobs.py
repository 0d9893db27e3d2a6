"""Jobs as command words and instructions name them: what is started, and which memory it reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rocketnpu.verisilicon.registers.commands import LoadState, read_commands
from rocketnpu.verisilicon.registers.instruction import WORD, Layout, Words
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.registers.states import INSTRUCTION_ALIGNMENT, NN_START, TP_START
from rocketnpu.verisilicon.registers.tp import TP

UNITS: Mapping[str, Layout] = {"NN": NN, "TP": TP}
"""How each unit's instruction is laid out."""
_STARTS = {NN_START: "NN", TP_START: "TP"}


@dataclass(frozen=True, slots=True)
class Started:
    """A job that a stream starts."""

    unit: str
    """``NN`` or ``TP``."""
    address: int
    """Of its instruction."""


def started(stream: Words) -> Iterator[Started]:
    """Return the jobs that a stream starts, in order, as far as it can be read."""
    for command in read_commands(stream):
        if isinstance(command, LoadState):
            for offset, value in command.writes():
                if offset in _STARTS:
                    yield Started(_STARTS[offset], value & ~(INSTRUCTION_ALIGNMENT - 1))


def instructions(stream: Words, fetch: Callable[[int, int], bytes | None]) -> Iterator[tuple[Started, dict[str, int]]]:
    """Return each job that a stream starts with its instruction's fields, but those that ``fetch`` cannot read."""
    for start in started(stream):
        layout = UNITS[start.unit]
        data = fetch(start.address, layout.size * WORD)
        if data is not None:
            yield start, layout.decode(np.frombuffer(data, "<u4"))


def addresses(unit: str, words: Words) -> Iterator[tuple[str, int, bool]]:
    """Return each address that an instruction uses: the field's name, where it leads, and whether it is written there.

    A window of TP may begin before its image, and counters may lead backwards: only where they begin is said.
    """
    fields = UNITS[unit].read(words, _ADDRESSES[unit])
    yield "IN_ADDRESS", fields["IN_ADDRESS"], False
    yield "OUT_ADDRESS", fields["OUT_ADDRESS"], True
    if unit == "NN":
        yield "COEFFICIENTS_64", fields["COEFFICIENTS_64"] * COEFFICIENT_ALIGNMENT, False
    elif fields["LOOKUP"]:
        yield "LOOKUP_ADDRESS", fields["LOOKUP_ADDRESS"], False


_ADDRESSES = {
    "NN": ("IN_ADDRESS", "OUT_ADDRESS", "COEFFICIENTS_64"),
    "TP": ("IN_ADDRESS", "OUT_ADDRESS", "LOOKUP", "LOOKUP_ADDRESS"),
}
COEFFICIENT_ALIGNMENT = 64
"""Coefficients lie at multiples of this: the instruction holds their address divided by it (facts 4)."""
