"""What must hold between the parts of a program before anything is placed: a checksum does not tell who made a file."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rocketnpu.errors import ProgramError
from rocketnpu.family import family_of
from rocketnpu.files.limits import PROGRAM_MEMORY
from rocketnpu.program.program import Binding, Program, ProgramJob, ProgramTask, Role
from rocketnpu.program.relocations import DTYPES

WORD = 8
"""Bytes of a command word."""
MAX_SENTINEL = 4096
_MAX_SHIFT = 63


def check_program(program: Program) -> None:
    """Hold every number of a program against its buffers: sizes, offsets, counts, shapes, sentinels, and names.

    Raises:
        ProgramError: something does not fit; nothing would be read or written outside a buffer otherwise.
    """
    for problem in _problems(program):
        raise ProgramError(f"damaged: {problem}")


def _problems(program: Program) -> Iterator[str]:
    sizes = [buffer.size for buffer in program.buffers]
    if sum(sizes) > PROGRAM_MEMORY:
        yield f"its buffers have {sum(sizes)} bytes, at most {PROGRAM_MEMORY} are placed"
    if not 0 <= program.commands < len(sizes) or program.buffers[program.commands].role is not Role.COMMANDS:
        yield f"its commands are in buffer {program.commands}, which is none of commands"
        return
    if not program.jobs or not program.outputs:
        yield "it runs nothing, or returns nothing"
    known = family_of(program.chip).evidence.rules
    unknown = [rule for rule in program.rules if rule not in known]
    if unknown:
        yield f"it relies on the hardware rule {unknown[0]!r:.60}, which this release does not know"
    yield from _relocation_problems(program, np.array(sizes, np.int64))
    for job in program.jobs:
        yield from _job_problems(program, job)
    for role, bindings in ((Role.INPUT, program.inputs), (Role.OUTPUT, program.outputs)):
        if len({binding.tensor for binding in bindings}) < len(bindings):
            yield f"a tensor is {role.value} twice"
        for binding in bindings:
            yield from _binding_problems(program, binding, role)


def _relocation_problems(program: Program, sizes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[str]:
    table, count = program.relocations, len(program.buffers)
    for numbers in (table.targets, table.buffers):
        if np.any((numbers < 0) | (numbers >= count)):
            yield "an address is that of a buffer which does not exist"
            return
    far = (table.shifts < -_MAX_SHIFT) | (table.shifts > _MAX_SHIFT)
    if np.any(far) or not np.all(np.isin(table.widths, list(DTYPES))):
        yield "an address is to fill a word of no known kind"
        return
    ends = sizes[table.targets]
    if np.any(table.offsets < 0) or np.any(table.offsets > ends - table.widths) or np.any(table.offsets % table.widths):
        yield "an address is to fill a word outside its buffer"
    if np.any(ends % table.widths):
        yield "an address is to fill a buffer that holds no whole words"
    if np.any(table.addends < 0) or np.any(table.addends >= sizes[table.buffers]):
        yield "an address leads outside its buffer"


def _job_problems(program: Program, job: ProgramJob) -> Iterator[str]:
    count, content = len(program.buffers), len(program.buffers[program.commands].data)
    named = (*job.reads, *job.writes)
    if any(not 0 <= number < count for number in (*named, job.sentinel[0])):
        yield "a job names a buffer that does not exist: its number leads outside the program"
        return
    if len(set(named)) < len(named):
        yield "a job names a buffer twice"
    for task in job.tasks:
        if not _is_inside(task, content):
            yield f"the {task.words} words of a task at byte {task.offset} lead outside the {content} bytes of commands"
    number, offset, size = job.sentinel
    if number not in job.writes or not 0 < size <= MAX_SENTINEL:
        yield f"a sentinel of {size} bytes in buffer {number}, which its job does not write"
    if offset < 0 or offset + size > program.buffers[number].size:
        yield f"a sentinel of {size} bytes at byte {offset} leads outside the program's buffer {number}"


def _is_inside(task: ProgramTask, content: int) -> bool:
    return (
        task.words > 0 and task.offset >= 0 and task.offset % WORD == 0 and task.offset + task.words * WORD <= content
    )


def _binding_problems(program: Program, binding: Binding, role: Role) -> Iterator[str]:
    place = f"{role.value} {binding.name!r:.60}"
    if not 0 <= binding.buffer < len(program.buffers):
        yield f"{place} is in buffer {binding.buffer}, which leads outside the program"
        return
    buffer = program.buffers[binding.buffer]
    if buffer.role not in (role, Role.OUTPUT):
        yield f"{place} is in buffer {binding.buffer}, which is for {buffer.role.value}"
    try:
        binding.layout.check(math.prod(binding.shape), buffer.size)
    except ValueError as error:
        yield f"{place}: {error}"
