"""Marks by which a failed job is noticed: a short one may come out by chance, and that is no failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from device_cases import CASES
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.base import DeviceJob
from rocketnpu.device.executor import CERTAIN, PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.program.program import Program


def marked(size: int) -> Program:
    """A program whose last job is known by its first ``size`` bytes."""
    program = CASES["pointwise"].program()
    buffer, offset, _ = program.jobs[-1].sentinel
    return replace(program, jobs=(*program.jobs[:-1], replace(program.jobs[-1], sentinel=(buffer, offset, size))))


class Foreseen:
    """Random bytes that are what the job will write."""

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern

    def randbytes(self, size: int) -> bytes:
        return self.pattern[:size]


class Counting(SimulatorDevice):
    """Counts submissions; an idle one runs none."""

    submissions = 0
    idle = False

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        self.submissions += 1
        if not self.idle:
            super().submit(jobs)


@pytest.mark.parametrize("size", [1, CERTAIN - 1])
def test_a_pattern_that_comes_out_by_chance_is_no_failure(size: int) -> None:
    case, program = CASES["pointwise"], marked(size)
    with Counting() as device, PlacedProgram(device, program) as placed:
        placed.run([case.picture()])
        buffer, offset, _ = program.jobs[-1].sentinel
        placed._random = Foreseen(bytes(placed.memories[buffer][offset : offset + size]))
        before = device.submissions
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))
        assert device.submissions == before + 2


@pytest.mark.parametrize("size", [1, CERTAIN])
def test_a_job_that_does_not_run_is_noticed_whatever_the_mark(size: int, tmp_path) -> None:
    case = CASES["pointwise"]
    with Counting() as device, PlacedProgram(device, marked(size), bundle_folder=tmp_path) as placed:
        for _ in range(20):
            device.idle = True
            with pytest.raises(JobFailedError):
                placed.run([case.picture()])
            device.idle = False
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))
