"""Two recordings of the same model held beside each other: where their streams, instructions and kernels differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rocketnpu.errors import InputError
from rocketnpu.verisilicon.registers.commands import LoadState, read_commands
from rocketnpu.verisilicon.registers.states import NN_START, TP_START
from rocketnpu.verisilicon.streams.jobs import Job, jobs_of
from rocketnpu.verisilicon.streams.recording import Recording, Submission

PLACES = frozenset({"IN_ADDRESS", "OUT_ADDRESS", "LOOKUP_ADDRESS", "COEFFICIENTS_64"})
"""Fields that say where something lies: another process's memory is laid out in another way."""


@dataclass(frozen=True, slots=True)
class StreamDifference:
    """One difference."""

    submission: int
    job: int | None
    """None for a difference of the streams themselves."""
    what: str
    one: str
    other: str


def differences(one: Recording, other: Recording) -> list[StreamDifference]:
    """Return all differences but those of places.

    Raises:
        InputError: the recordings are of different chips.
    """
    if one.soc != other.soc:
        raise InputError(f"a stream for {one.soc.name} cannot be compared with one for {other.soc.name}")
    # A process initialises the chip once: the first submission may be missing.
    pairs = [[item for item in recording.submissions if item.buffers] for recording in (one, other)]
    found = []
    if len(pairs[0]) != len(pairs[1]):
        found.append(StreamDifference(0, None, "submissions", str(len(pairs[0])), str(len(pairs[1]))))
    for number, (first, second) in enumerate(zip(*pairs, strict=False)):
        found += _submission(number, first, second, one)
    return found


def _submission(number: int, one: Submission, other: Submission, recording: Recording) -> Iterator[StreamDifference]:
    states = [list(_states(item)) for item in (one, other)]
    if states[0] != states[1]:
        yield StreamDifference(number, None, "states", f"{len(states[0])} writes", f"{len(states[1])} writes")
    jobs = [jobs_of(item, recording.soc)[0] for item in (one, other)]
    units = [" ".join(job.unit for job in item) for item in jobs]
    if units[0] != units[1]:
        yield StreamDifference(number, None, "jobs", units[0], units[1])
        return
    for first, second in zip(*jobs, strict=True):
        yield from job_differences(number, first, second)


def _states(submission: Submission) -> Iterator[tuple[int, int]]:
    for command in read_commands(submission.stream):
        if isinstance(command, LoadState):
            yield from ((offset, 0 if offset in (NN_START, TP_START) else value) for offset, value in command.writes())


def job_differences(number: int, one: Job, other: Job) -> Iterator[StreamDifference]:
    """Return all differences of two jobs but those of places."""
    for name in one.fields.keys() | other.fields.keys():
        values = one.fields.get(name), other.fields.get(name)
        if name not in PLACES and values[0] != values[1]:
            yield StreamDifference(number, one.number, f"{one.unit}.{name}", str(values[0]), str(values[1]))
    if one.kernels is None or other.kernels is None:
        return
    for what in ("weights", "biases", "places"):
        first, second = getattr(one.kernels, what), getattr(other.kernels, what)
        if first.shape != second.shape:
            yield StreamDifference(number, one.number, what, str(first.shape), str(second.shape))
        elif not np.array_equal(first, second):
            count = int((first != second).sum())
            yield StreamDifference(number, one.number, what, f"{count} of {first.size}", "differ")
    sizes = one.kernels.size, other.kernels.size
    if sizes[0] != sizes[1]:
        yield StreamDifference(number, one.number, "bytes of coefficients", str(sizes[0]), str(sizes[1]))
