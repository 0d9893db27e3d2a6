"""Command streams as text: programs, recordings and raw buffers, and the way back.

One word a line in the form of :mod:`rocketnpu.rockchip.registers.command`, so that the text of a list assembles to its
words. Everything else is comment: where a list begins, to which it is chained, which buffer an address leads to, and
what is wrong with a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import CommandError
from rocketnpu.files.limits import COMMAND_BYTES, COMMAND_WORDS
from rocketnpu.files.printable import printable_line
from rocketnpu.files.reading import read_file
from rocketnpu.program import store
from rocketnpu.program.program import Program
from rocketnpu.program.relocations import Relocations
from rocketnpu.rockchip.registers.command import Decoded, Words, decode, from_bytes, parse_words
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, PC, TARGET_ENABLE
from rocketnpu.rockchip.streams.recording import Recording, Submission
from rocketnpu.rockchip.streams.recording import load as load_recording
from rocketnpu.rockchip.streams.word_checks import ADDRESSES, problems

_NEXT = (PC.target or 0, PC["BASE_ADDRESS"].offset)
_ADDRESS_KEYS = np.array(
    [
        (BY_NAME[unit].target or 0) << 16 | BY_NAME[unit][name].offset
        for unit, _, name in (path.partition(".") for path in sorted(ADDRESSES))
    ],
    np.uint64,
)
"""Target and offset of each register that holds an address."""


@dataclass(frozen=True)
class Line:
    """One word, taken apart."""

    found: Decoded
    text: str
    """The word as text, without comment."""
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Listing:
    """One task's command list, or words between lists."""

    title: str
    """Submission, job, task and what is known of it; empty for words that belong to no task."""
    address: int | None
    """Where it lies; None where its file does not say."""
    words: Words
    notes: Mapping[int, str] = field(default_factory=dict)
    """What is known of single words, by their number in the list."""

    @property
    def lines(self) -> Iterator[Line]:
        """Its words."""
        return (describe(word) for word in self.words.tolist())

    @property
    def next_address(self) -> int:
        """Value of the link to the next list; 0 where the chain ends."""
        target, offset = _NEXT
        for word in reversed(self.words.tolist()):
            if word >> 48 == target and word & 0xFFFF == offset:
                return int(word >> 16 & 0xFFFFFFFF)
        return 0


@dataclass(frozen=True, eq=False)
class Disassembly:
    """A file's command lists."""

    source: str
    kind: str
    """``program``, ``recording`` or ``raw``."""
    listings: tuple[Listing, ...]

    @property
    def words(self) -> Words:
        """All words in order."""
        parts = [listing.words for listing in self.listings]
        return np.concatenate(parts).astype("<u8") if parts else np.zeros(0, "<u8")


@lru_cache(maxsize=1 << 16)
def describe(word: int) -> Line:
    """Take a word apart and check it; streams repeat themselves, so answers are kept."""
    found = decode(word)
    return Line(found, found.text().partition("  # ")[0], tuple(problems(found)))


def disassemble(path: str | Path) -> Disassembly:
    """Read a program, a recording (zip or folder), or a raw command buffer.

    Raises:
        CommandError: the file cannot be read, or is no multiple of 8 bytes long.
        InputError: a recording is damaged.
        ProgramError: a program is damaged.
    """
    place = Path(path)
    if place.is_dir():
        return from_recording(load_recording(place), place.name)
    data = read_file(place, COMMAND_BYTES, "command file", CommandError)
    if data.startswith(store.MAGIC):
        return from_program(store.from_bytes(data), place.name)
    if data.startswith(b"PK"):
        return from_recording(load_recording(place), place.name)
    try:
        return Disassembly(place.name, "raw", tuple(_split(from_bytes(data))))
    except CommandError as error:
        raise CommandError(f"{place}: {error}") from None


def from_program(program: Program, name: str = "") -> Disassembly:
    """Take a program's lists apart. Its addresses are not known yet, so they are noted as buffer and offset."""
    count = sum(task.words for task in program.tasks)
    if count > COMMAND_WORDS:
        message = f"its lists have {count:,} words, more than the {COMMAND_WORDS:,} that are printed"
        raise CommandError(f"{program.name}: {message}")
    words = from_bytes(program.buffers[program.commands].data)
    table, listings = program.relocations, []
    notes = {
        word: f"+ address of {program.buffers[buffer].name}+0x{addend:x}"
        for word, buffer, addend in zip(*(column.tolist() for column in _columns(table)), strict=True)
    }
    for number, job in enumerate(program.jobs):
        for index, task in enumerate(job.tasks):
            start = task.offset // 8
            inside = {word - start: notes[word] for word in range(start, start + task.words) if word in notes}
            title = f"job {number} task {index}: operator {task.operator}, {task.label}"
            listings.append(Listing(title, task.offset, words[start : start + task.words], inside))
    return Disassembly(name or program.name, "program", tuple(listings))


def _columns(table: Relocations) -> tuple[npt.NDArray[np.int64], ...]:
    return table.offsets // table.widths, table.buffers, table.addends


def from_recording(recording: Recording, name: str = "") -> Disassembly:
    """Take a recording's lists apart, noting which buffer an address leads to."""
    listings = []
    for number, submission in enumerate(recording.submissions):
        for job_number, job in enumerate(submission.jobs):
            for index, task in enumerate(job.tasks):
                buffer = next(b for b in submission.buffers if b.address <= task.address < b.address + b.size)
                start = task.address - buffer.address
                words = from_bytes(buffer.content()[start : start + 8 * task.words].tobytes())
                title = f"submission {number} job {job_number} task {index}"
                listings.append(Listing(title, task.address, words, _buffer_notes(words, submission)))
    return Disassembly(name or recording.model, "recording", tuple(listings))


def _buffer_notes(words: Words, submission: Submission) -> dict[int, str]:
    """Say which buffer each address leads to."""
    keys = words >> np.uint64(48) << np.uint64(16) | words & np.uint64(0xFFFF)
    notes = {}
    for number in np.flatnonzero(np.isin(keys, _ADDRESS_KEYS)).tolist():
        address = int(words[number]) >> 16 & 0xFFFFFFFF
        for buffer in submission.buffers:
            if buffer.address <= address < buffer.address + buffer.size:
                role = f" {buffer.role}" if buffer.role else ""
                notes[number] = f"0x{address:x}, buffer {buffer.handle}{role}+0x{address - buffer.address:x}"
    return notes


def _split(words: Words) -> Iterator[Listing]:
    """Cut a raw buffer behind each enable word; zero words up to the next list are padding."""
    ends = (np.flatnonzero(words >> np.uint64(48) == TARGET_ENABLE) + 1).tolist()
    start = number = 0
    for end in ends:
        body = start + int(np.argmax(words[start:end] != 0))
        if body > start:
            yield Listing("", start * 8, words[start:body])
        yield Listing(f"task {number}", body * 8, words[body:end])
        start, number = end, number + 1
    if start < len(words):
        yield Listing("", start * 8, words[start:])


def to_text(found: Disassembly) -> str:
    """Return the text of all lists; :func:`assemble` reads it back to the same words."""
    lines = [f"# {found.kind} {found.source}: {len(found.words)} words"]
    for listing, chained in zip(found.listings, chains(found.listings), strict=True):
        lines += ["", _heading(listing)]
        if chained:
            lines.append(f"# chained: {chained}")
        for number, line in enumerate(listing.lines):
            comments = [*line.problems, *([listing.notes[number]] if number in listing.notes else [])]
            lines.append(f"{line.text}  # {'; '.join(comments)}" if comments else line.text)
    return "\n".join(map(printable_line, lines)) + "\n"  # a name in a comment ends no line


def _heading(listing: Listing) -> str:
    where = "" if listing.address is None else f" at 0x{listing.address:x}"
    return f"# {listing.title or 'between lists'}{where}, {len(listing.words)} words"


def chains(listings: Sequence[Listing]) -> list[str]:
    """Say for each list to which it is chained; empty where a chain ends."""
    known = {listing.address: listing.title for listing in listings if listing.title}
    found = []
    for listing in listings:
        target = listing.next_address
        linked = _linked_note(listing)
        if linked:
            found.append(linked)
        elif target:
            title = known.get(target)
            found.append(f"{title.partition(':')[0]} at 0x{target:x}" if title else f"0x{target:x}")
        else:
            found.append("")
    return found


def _linked_note(listing: Listing) -> str:
    """Return the note of a link whose address is not filled in yet."""
    target, offset = _NEXT
    for number, note in listing.notes.items():
        word = int(listing.words[number])
        if word >> 48 == target and word & 0xFFFF == offset:
            return note.removeprefix("+ address of ")
    return ""


def assemble(text: str) -> Words:
    """Read the text of command lists back to words.

    Raises:
        CommandError: a line cannot be read; the message names its number.
        RegisterFieldError: a value does not fit its field.
    """
    return parse_words(text)


def to_document(found: Disassembly) -> dict[str, Any]:
    """Return everything as plain values for JSON."""
    lists = []
    for listing, chained in zip(found.listings, chains(found.listings), strict=True):
        words = [_word(line, listing.notes.get(number, "")) for number, line in enumerate(listing.lines)]
        lists.append({"title": listing.title, "address": listing.address, "chained": chained, "words": words})
    return {"source": found.source, "kind": found.kind, "lists": lists}


def _word(line: Line, note: str) -> dict[str, Any]:
    found, register = line.found, line.found.register
    return {
        "word": f"0x{found.word:016x}",
        "unit": register.block if register else None,
        "register": register.name if register else None,
        "value": found.value,
        "fields": found.fields,
        "text": line.text,
        "problems": list(line.problems),
        "note": note,
    }
