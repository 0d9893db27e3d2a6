"""What a command stream must satisfy before the kernel sees it: with this chip's second kind of MMU it looks at none.

A stream or an instruction that leads elsewhere ends in a fault of the MMU or a hang; the kernel drops the job after
half a second and tells nobody (``etnaviv_sched.c``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rocketnpu.device.base import Buffer
from rocketnpu.errors import DeviceError
from rocketnpu.verisilicon.registers.commands import LoadState, Nothing, read_commands
from rocketnpu.verisilicon.registers.instruction import WORD, Words
from rocketnpu.verisilicon.registers.jobs import UNITS, Started, addresses, started
from rocketnpu.verisilicon.registers.states import state


def check_task(
    words: Words, place: str, listed: Sequence[Buffer], written: Sequence[Buffer], fetch: Callable[[int, int], bytes]
) -> None:
    """Check the words of one task, and the instructions that they start.

    Args:
        words: front-end words.
        place: the task in words, for the message.
        listed: the buffers that its job names: the kernel maps no others for it.
        written: those of them that it may write.
        fetch: reads memory inside the device's buffers.

    Raises:
        DeviceError: it breaks a rule; the message says which, where, and the value found.
    """
    for command in read_commands(words):
        if isinstance(command, Nothing):
            continue
        if not isinstance(command, LoadState):
            raise DeviceError(f"{place}: word {command.word}: {command.problem}")
        for offset, _ in command.writes():
            if state(offset) is None:
                raise DeviceError(f"{place}: word {command.word} writes state 0x{offset:04x}, which is not known")
    starts = list(started(words))
    if not starts:
        raise DeviceError(f"{place}: it starts no job")
    for start in starts:
        _check_instruction(start, place, listed, written, fetch)


def _check_instruction(
    start: Started,
    place: str,
    listed: Sequence[Buffer],
    written: Sequence[Buffer],
    fetch: Callable[[int, int], bytes],
) -> None:
    layout = UNITS[start.unit]
    size = layout.size * WORD
    if not _inside(listed, start.address, size):
        raise DeviceError(f"{place}: the {start.unit} instruction at 0x{start.address:x} lies in no buffer of its job")
    words = np.frombuffer(fetch(start.address, size), "<u4")
    for name, address, writes in addresses(start.unit, words):
        if not _inside(written if writes else listed, address, 1):
            kind = "that its job writes" if writes else "of its job"
            raise DeviceError(
                f"{place}: {name} = 0x{address:x} of the {start.unit} instruction at 0x{start.address:x} lies in no "
                f"buffer {kind}"
            )


def _inside(buffers: Sequence[Buffer], address: int, size: int) -> bool:
    return any(one.address <= address and address + size <= one.address + one.size for one in buffers)
