"""What the guest's kernel said, and which of it is a complaint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MARKER = "board: "
"""Lines of the guest's own scripts begin with it; what the kernel says before the first is about starting up."""
_LINE = re.compile(r"^(?:<(?P<level>\d+)>)?\[ *(?P<time>[\d.]+)\] (?P<text>.*)$")
_WARNING = 4


@dataclass(frozen=True)
class Entry:
    """One message."""

    seconds: float
    text: str
    complaint: bool
    """A warning or worse."""


def parse(log: str) -> Iterator[Entry]:
    """Read the kernel's messages: lines of ``dmesg -r``, or those of a serial line, on which all are complaints."""
    for line in log.splitlines():
        found = _LINE.match(line.rstrip())
        if found is None:
            continue
        level = int(found["level"]) % 8 if found["level"] else _WARNING
        marked = found["text"].startswith(MARKER)
        yield Entry(float(found["time"]), found["text"], level <= _WARNING and not marked)


def complaints(log: str, after: str = "", before: str = "") -> list[str]:
    """Return the warnings and errors behind the marker ``after`` (by default the first) and ahead of ``before``."""
    started, found = False, []
    for entry in parse(log):
        if entry.text.startswith(MARKER):
            name = entry.text.removeprefix(MARKER)
            if started and name == before:
                break
            started = started or name == after or not after
        elif started and entry.complaint:
            found.append(entry.text)
    return found
