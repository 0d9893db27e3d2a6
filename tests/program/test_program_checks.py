"""What must hold between the parts of a program, each number at its border; addresses in their words' bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.errors import DeviceError, ProgramError
from rocketnpu.program.checks import MAX_SENTINEL, check_program
from rocketnpu.program.header import ADDRESSES, MAX_ITEMS, MAX_TEXT, items, number, text
from rocketnpu.program.program import Program, Role
from rocketnpu.program.relocations import Relocations
from strategies import case


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_graph(case("conv", 3).graph)


def said(program: Program) -> str:
    try:
        check_program(program)
    except ProgramError as error:
        return str(error)
    return ""


def with_task(program: Program, **changes: int) -> Program:
    job = program.jobs[0]
    return replace(program, jobs=(replace(job, tasks=(replace(job.tasks[0], **changes),)),))


def with_sentinel(program: Program, *sentinel: int) -> Program:
    return replace(program, jobs=(replace(program.jobs[0], sentinel=sentinel), *program.jobs[1:]))


def test_tasks_lie_inside_the_commands(program: Program) -> None:
    content = len(program.buffers[program.commands].data)
    for offset, words, inside in (
        (0, content // 8, True),
        (8, content // 8 - 1, True),
        (8, content // 8, False),
        (-8, 2, False),
        (-8, 1, False),
        (4, 1, False),
        (0, 0, False),
        (0, -1, False),
        (content, 1, False),
    ):
        found = said(with_task(program, offset=offset, words=words))
        assert (found == "") == inside, (offset, words)
        assert inside or f"the {words} words of a task at byte {offset} lead outside" in found


def test_sentinels_lie_in_what_their_job_writes(program: Program) -> None:
    buffer = program.jobs[0].sentinel[0]
    size = program.buffers[buffer].size
    unwritten = next(n for n in range(len(program.buffers)) if n not in program.jobs[0].writes)
    assert said(with_sentinel(program, buffer, size - 16, 16)) == ""
    assert said(with_sentinel(program, buffer, 0, 1)) == ""
    for sentinel, words in (
        ((buffer, size - 15, 16), "leads outside the program's buffer"),
        ((buffer, -1, 16), "leads outside the program's buffer"),
        ((buffer, 0, 0), "a sentinel of 0 bytes"),
        ((buffer, 0, MAX_SENTINEL + 1), f"a sentinel of {MAX_SENTINEL + 1} bytes"),
        ((unwritten, 0, 16), "which its job does not write"),
        ((-1, 0, 16), "names a buffer that does not exist"),
        ((len(program.buffers), 0, 16), "names a buffer that does not exist"),
    ):
        assert words in said(with_sentinel(program, *sentinel))


def test_jobs_name_buffers_that_there_are_once(program: Program) -> None:
    job = program.jobs[0]
    for number_ in (-1, len(program.buffers)):
        assert "does not exist" in said(replace(program, jobs=(replace(job, reads=(number_,)),)))
    assert "twice" in said(replace(program, jobs=(replace(job, reads=(job.writes[0],)),)))


def test_bindings_lie_in_buffers_of_their_role(program: Program) -> None:
    (given,) = program.inputs
    for buffer, words in ((-1, "leads outside"), (len(program.buffers), "leads outside"), (program.commands, "is for")):
        assert words in said(replace(program, inputs=(replace(given, buffer=buffer),)))
    output = program.outputs[0]
    assert "is in buffer" in said(replace(program, outputs=(replace(output, buffer=given.buffer),)))
    assert "is input twice" in said(replace(program, inputs=(given, given)))
    assert "returns nothing" in said(replace(program, outputs=()))
    assert "runs nothing" in said(replace(program, jobs=()))
    assert "which is none of commands" in said(replace(program, commands=given.buffer))
    assert "which is none of commands" in said(replace(program, commands=-1))
    assert "hardware rule 'magic'" in said(replace(program, rules=("magic",)))
    assert program.buffers[given.buffer].role is Role.INPUT


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("shifts", 64, "no known kind"),
        ("shifts", -64, "no known kind"),
        ("widths", 2, "no known kind"),
        ("targets", -1, "does not exist"),
        ("buffers", 99, "does not exist"),
        ("offsets", -8, "outside its buffer"),
        ("offsets", 4, "outside its buffer"),
        ("addends", -1, "leads outside its buffer"),
        ("addends", 1 << 40, "leads outside its buffer"),
    ],
)
def test_relocations_fill_words_of_their_buffers(program: Program, column: str, value: int, words: str) -> None:
    table = program.relocations
    changed = getattr(table, column).copy()
    changed[len(changed) // 2] = value
    assert words in said(replace(program, relocations=replace(table, **{column: changed})))


@pytest.mark.parametrize("shift", [63, -63, 0, 16])
def test_shifts_of_words_that_there_are(program: Program, shift: int) -> None:
    table = program.relocations
    assert said(replace(program, relocations=replace(table, shifts=np.full_like(table.shifts, shift)))) == ""


def test_addresses_fill_their_bits_and_nothing_else() -> None:
    def filled(address: int, shift: int, mask: int, width: int = 8) -> list[int]:
        places, addends = np.array([width], np.int64), np.array([0x20], np.int64)
        table = Relocations.uniform((0, places), (np.array([1]), addends), width=width, shift=shift, mask=mask)
        memory = np.full(3 * width, 0xFF, np.uint8)
        table.apply([memory, np.zeros(64, np.uint8)], [0, address])
        return [int(word) for word in memory.view(f"<u{width}")]

    ones = (1 << 64) - 1
    assert filled(0x1000, 0, 0xFFFF) == [ones, ones - 0xFFFF + 0x1020, ones]
    assert filled(0x1000, 16, 0xFFFFFFFF << 16) == [ones, 0xFFFF_0000_1020_FFFF, ones]
    assert filled(0x1000, -4, 0xFFFFFFFF, 4) == [0xFFFFFFFF, 0x102, 0xFFFFFFFF]
    for address, shift, mask in ((0x10000, 0, 0xFFFF), (0x1008, -4, 0xFFFF), (0x1000, 16, 0xFFFF)):
        with pytest.raises(DeviceError, match="does not fit a command word"):
            filled(address, shift, mask)


@pytest.mark.parametrize(
    ("value", "taken"),
    [(0, True), (ADDRESSES - 1, True), (1 << 31, True), (ADDRESSES, False), (-1, False), (True, False), (1.0, False)],
)
def test_numbers(value: Any, taken: bool) -> None:
    if taken:
        assert number(value, "it") == value
        return
    with pytest.raises(ProgramError, match="it is a whole number from 0 to less than 4294967296"):
        number(value, "it")


def test_texts_and_lists() -> None:
    assert text("a" * MAX_TEXT, "it") == "a" * MAX_TEXT
    assert items([1, 2], "it", 2) == [1, 2]
    for asked in (lambda: text("a" * (MAX_TEXT + 1), "it"), lambda: text(b"a", "it"), lambda: items([1], "it", 2)):
        with pytest.raises(ProgramError, match="damaged: it"):
            asked()
    for value in ((1,), {}, None):
        with pytest.raises(ProgramError, match="damaged: it"):
            items(value, "it")
    assert MAX_ITEMS > MAX_TEXT
