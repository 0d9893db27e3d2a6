"""Hold a replayed submission against what the chip itself wrote, where a recording has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.streams.recording import Recording
from rocketnpu.rockchip.streams.replay import Machine, is_own


@dataclass(frozen=True)
class SiliconOutcome:
    """The simulator's bytes beside the chip's."""

    compared: int
    different: int
    first: int | None = None
    """Offset in the buffer of the first byte that differs."""
    about: str = ""
    """Why nothing was compared."""

    def __str__(self) -> str:
        if self.about:
            return f"not held against the chip's bytes: {self.about}"
        where = "" if self.first is None else f", the first at offset 0x{self.first:x}"
        return f"{self.compared - self.different} of {self.compared} bytes equal the chip's{where}"


def compare_silicon(recording: Recording) -> SiliconOutcome | None:
    """Run the submission whose result was recorded on a chip, and compare; None if the recording has no such result."""
    wanted = recording.silicon
    if wanted is None:
        return None
    submission = recording.submissions[wanted.submission]
    machine = Machine(submission, wanted.submission, strict=is_own(recording))
    try:
        for job in submission.jobs:
            machine.begin()
            for number, task in enumerate(job.tasks):
                machine.run(task, number)
    except SimulationError as error:
        return SiliconOutcome(0, 0, about=str(error))
    found = machine.arrays[wanted.handle][wanted.offset :][: len(wanted.data)]
    wrong = np.flatnonzero(found != np.frombuffer(wanted.data, np.uint8))
    first = int(wrong[0]) + wanted.offset if wrong.size else None
    return SiliconOutcome(len(wanted.data), int(wrong.size), first)
