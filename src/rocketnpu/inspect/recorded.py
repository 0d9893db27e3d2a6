"""Recorded and disassembled streams of every family, in the same words: who reads them, and what is shown.

A family's room of streams is one :class:`StreamRoom`; a recording leads to it by its format, a text or a program by
its chip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rocketnpu.errors import InputError
from rocketnpu.inspect.recording_file import RecordingFile, read_recording

if TYPE_CHECKING:
    from rocketnpu.estimate.estimate import Conditions, TimedTask

_ROOMS = {
    "rockchip": "rocketnpu.rockchip.streams.room:ROOM",
    "verisilicon": "rocketnpu.verisilicon.streams.room:ROOM",
}
"""Where each family's room is; it is imported when it is first asked for."""
_FORMATS = {1: "rockchip", 2: "verisilicon"}
"""Which family a format of recordings belongs to."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to be printed under columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    right: tuple[str, ...] = ()
    """Columns that are aligned to the right."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one recording."""

    shown: tuple[str | Table, ...]
    """Lines and tables, in order."""
    document: dict[str, Any] = field(repr=False)
    """Everything, as values for JSON."""
    good: bool = True
    """Whether everything is as it should be."""


@dataclass(frozen=True)
class TimedRecording:
    """A recording whose tasks can be timed."""

    name: str
    chip: str
    tasks: Callable[[Conditions], tuple[tuple[TimedTask, ...], ...]] = field(repr=False)
    """Times them under some conditions."""


class StreamRoom(Protocol):
    """What a family can do with streams."""

    def replay(self, path: Path, tolerance: int, beside_ours: bool) -> Report:
        """Run a recording on the simulator and check what comes out.

        Raises:
            InputError: the recording is damaged, or it cannot be held beside ours.
        """

    def inspect(self, path: Path) -> Report:
        """Say what a recording holds without running it.

        Raises:
            InputError: the recording is damaged.
        """

    def compare(self, path: Path, other: Path) -> Report:
        """Say where the streams of two recordings differ.

        Raises:
            InputError: a recording is damaged, or they cannot be compared.
        """

    def text(self, path: Path, *, full: bool) -> str:
        """Return a file's streams as text.

        Raises:
            RocketError: the file cannot be read.
        """

    def document(self, path: Path) -> dict[str, Any]:
        """Return a file's streams as values for JSON.

        Raises:
            RocketError: the file cannot be read.
        """

    def assemble(self, text: str) -> bytes:
        """Return the bytes that a text stands for.

        Raises:
            CommandError: a line cannot be read.
            RegisterFieldError: a value does not fit its field.
        """

    def timed(self, path: Path) -> TimedRecording:
        """Return a recording's tasks, ready to be timed.

        Raises:
            InputError: the recording is damaged.
            UnsupportedError: nobody has fitted a timing model of its chip.
        """

    def words(self, words: Sequence[int]) -> list[str]:
        """Return command words as lines of text, with what is wrong with each."""

    def differences(self) -> str:
        """Return the page on where our streams differ from those of the open driver, as Markdown.

        Raises:
            UnsupportedError: there is no such page for this family's chips.
        """


def room(family: str) -> StreamRoom:
    """Return a family's room."""
    module, _, name = _ROOMS[family].partition(":")
    found: StreamRoom = getattr(import_module(module), name)
    return found


def room_of(path: Path) -> StreamRoom:
    """Return the room that reads a recording.

    Raises:
        InputError: it is no recording, or of a format that nobody reads.
    """
    return room(_FORMATS[read_recording(path, _format)])


def is_recording(path: Path) -> bool:
    """Say whether a file or folder is a recording of a known format."""
    try:
        read_recording(path, _format)
    except InputError:
        return False
    return True


def _format(file: RecordingFile) -> int:
    found: int = file.document(tuple(_FORMATS))["format"]
    return found
