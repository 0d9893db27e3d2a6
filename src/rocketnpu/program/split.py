"""One inference on several cores, which all run a job in each step; the step ends when the last has ended.

Where each core has memory of its own, each has a program, laid out like the others': a buffer's bytes lie at the same
offset everywhere, and before a step the CPU carries bytes between cores. Where cores share memory there is one program,
whose jobs run several at once, and nothing is carried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.program.program import Program

UNIT = 16
"""Bytes of a cell: what is carried, is carried in whole ones."""


@dataclass(frozen=True, eq=False)
class Copy:
    """Cells that one core needs of another."""

    source: int
    """Number of the core that has them."""
    target: int
    buffer: int
    """Number of the buffer, the same in both programs."""
    cells: npt.NDArray[np.int64]
    """Their numbers from the buffer's start, in units of :data:`UNIT` bytes, ascending."""


@dataclass(frozen=True, eq=False)
class Step:
    """What happens between two barriers."""

    copies: tuple[Copy, ...]
    """Carried before the jobs start."""
    jobs: tuple[int | None, ...]
    """Number of the job that each core runs, None where it waits."""


@dataclass(frozen=True, eq=False)
class SplitProgram:
    """A part of a network for several cores. Inputs are packed, and outputs unpacked, in the first core's memory."""

    programs: tuple[Program, ...]
    """One a core, with the same buffers."""
    steps: tuple[Step, ...]
    results: tuple[Copy, ...]
    """Carried to the first core behind the last step."""

    @property
    def name(self) -> str:
        """Name of the part."""
        return self.programs[0].name

    @property
    def carried_bytes(self) -> int:
        """Bytes that the CPU carries in one inference."""
        copies = [copy for step in self.steps for copy in step.copies]
        return sum(len(copy.cells) for copy in (*copies, *self.results)) * UNIT


@dataclass(frozen=True, eq=False)
class SharedProgram:
    """A part of a network for several cores that share memory.

    Its jobs may be run one after another on one core too: they stand in the order of steps.
    """

    program: Program
    steps: tuple[tuple[int | None, ...], ...]
    """Number of the job that each core runs in each step, None where it waits."""

    @property
    def cores(self) -> int:
        """How many cores it is for."""
        return len(self.steps[0])
