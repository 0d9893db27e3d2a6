"""One inference on several cores: a program for each, which take turns between copies of what they need of each other.

Each core has memory of its own, laid out like the others': a buffer's bytes lie at the same offset everywhere. In each
step the CPU first carries bytes between cores, then all cores run a job, and the step ends when the last has ended.
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
