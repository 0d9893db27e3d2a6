"""Tasks as register writes: names and values, still without addresses.

A list writes every register of every unit that it starts, in the order of the open driver that is known to run on the
chip (spec 12.2), so that no task depends on what an earlier one left behind (addendum 8.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import Location
from rocketnpu.rockchip.emission.cna import write_cna, write_core
from rocketnpu.rockchip.emission.dpu import write_dpu, write_rdma
from rocketnpu.rockchip.emission.ppu import write_ppu, write_ppu_rdma
from rocketnpu.rockchip.emission.writer import Writer
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, pack, write
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, register
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.task import ConvolutionTask, PoolingTask, Task

TRAILER_WORDS = 4
"""Words that end every list: next address, next amount, marker, enable (spec 1.5)."""


@dataclass(frozen=True, slots=True)
class CommandList:
    """The words of one task. ``addresses`` maps a word's number to the location whose address is its value."""

    words: list[int]
    addresses: Mapping[int, Location]
    enable_mask: int


def emit(task: Task, soc: Soc) -> CommandList:
    """Write a task's list for a chip. Its trailer ends the chain; :func:`chain` links it to a successor.

    Raises:
        RegisterFieldError: a value does not fit its field; the message names the operator.
        UnsupportedError: the list is longer than the chip takes.
    """
    writer = Writer(soc)
    if isinstance(task, PoolingTask):
        units: tuple[str, ...] = ("PPU", "PPU_RDMA")
        write_ppu(writer, task)
        write_ppu_rdma(writer, task)
    else:
        units = ("DPU", "DPU_RDMA")
        if isinstance(task, ConvolutionTask):
            units = ("CNA", "CORE", *units)
            write_cna(writer, task)
            write_core(writer, task)
        write_dpu(writer, task)
        write_rdma(writer, task)
    start = enable(units)
    words = [*writer.words, NOP, write("PC.REGISTER_AMOUNTS"), MARKER, start]
    if len(words) > soc.max_list_words:
        raise UnsupportedError(f"its list has {len(words)} words, the {soc.name} takes {soc.max_list_words}")
    return CommandList(words, writer.addresses, start >> 16 & 0xFFFFFFFF)


def fetch_amount(words: int, soc: Soc) -> int:
    """Return the value of REGISTER_AMOUNTS that fetches a list of so many words: units minus one (spec 1.5)."""
    return -(-words // soc.fetch_words) - 1


def chain_words(next_words: int, soc: Soc) -> tuple[int, int]:
    """Return the first two trailer words of a task that is followed by one of ``next_words`` words.

    The first lacks its value, the successor's address.
    """
    base = register("PC.BASE_ADDRESS")
    target = BY_NAME["PC"].target
    assert target is not None
    return pack(target, base.offset, 0), write("PC.REGISTER_AMOUNTS", PC_DATA_AMOUNT=fetch_amount(next_words, soc))
