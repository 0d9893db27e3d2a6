"""Where to look whether a job ran: the last bytes that a task writes and nothing else does.

The kernel tells nobody of a job that it dropped. Who fills the place with random bytes before a run and finds them
unchanged afterwards knows that the task did not run. Each task writes one range of bytes without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CERTAIN_BYTES = 8
"""A sentinel has at least so many: data equals a random pattern by chance once in 2**64 runs."""
MOST_BYTES = 64


@dataclass(frozen=True, slots=True)
class Written:
    """A range of a buffer that a task, or the packing of an input, writes."""

    buffer: int
    first: int
    end: int


def sentinel(number: int, written: Sequence[Written]) -> tuple[int, int, int] | None:
    """Return buffer, offset and bytes of a place that only one of the writers touches, as late as possible.

    None where there is none of :data:`CERTAIN_BYTES`.
    """
    own = written[number]
    others = sorted(
        (max(other.first, own.first), min(other.end, own.end))
        for index, other in enumerate(written)
        if index != number and other.buffer == own.buffer and other.first < own.end and own.first < other.end
    )
    end = own.end
    for first, last in reversed(others):
        if end - last >= CERTAIN_BYTES:
            break
        end = min(end, first)
    start = max([own.first, *(last for _, last in others if last <= end)])
    size = min(end - start, MOST_BYTES)
    return (own.buffer, end - size, size) if size >= CERTAIN_BYTES else None
