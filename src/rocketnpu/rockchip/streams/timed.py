"""The tasks of a recording, judged by their registers."""

from __future__ import annotations

from rocketnpu.estimate.estimate import Conditions, TimedTask
from rocketnpu.rockchip.registers.command import from_bytes
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.streams.recording import Recording, Submission
from rocketnpu.rockchip.timing.estimate import board_setting, timed_lists


def recording_tasks(recording: Recording, conditions: Conditions, soc: Soc) -> tuple[tuple[TimedTask, ...], ...]:
    """Time each task of a recording, a group for each submission.

    Raises:
        CommandError: a task cannot be judged, or its list lies in no buffer.
    """
    found = []
    for submission in recording.submissions:
        owner = {
            job: (number, operation.kind)
            for number, operation in enumerate(recording.operations(submission))
            for job in operation.jobs
        }
        lists = []
        for number, job in enumerate(submission.jobs):
            operator, kind = owner.get(number, (number, "job"))
            lists += [(operator, kind, _words(submission, task.address, task.words)) for task in job.tasks]
        found.append(timed_lists(lists, board_setting(conditions), soc))
    return tuple(found)


def _words(submission: Submission, address: int, count: int) -> list[int]:
    buffer = next(b for b in submission.buffers if b.address <= address < b.address + b.size)
    start = address - buffer.address
    words: list[int] = from_bytes(buffer.content()[start : start + 8 * count].tobytes()).tolist()
    return words
