"""Where to look whether a job ran: a place that its last task writes and nothing else does.

The mainline kernel reports no job that it dropped or reset (addendum 9.1). Whoever fills the place with random bytes
before each run, and finds them unchanged afterwards, knows that the last task of the job did not run. So neither
another task of the program, whole kernel groups included, nor the packing of an input may write there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.program.memory import MemoryPlan, Slot
from rocketnpu.rockchip.emission.dpu import written_surfaces
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap, is_packed
from rocketnpu.rockchip.tasks.task import PoolingTask, Rows, Task

CERTAIN_BYTES = 8
"""Bytes of real channels that a sentinel has at least: data equals a random pattern by chance once in 2**64 runs. What
the lanes beyond real channels hold is only assumed (rule written-padding)."""
Sentinel = tuple[int, int, int]
"""Buffer, offset, bytes."""
Counts = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Writers:
    """How many tasks and input packings write each pixel slot of each buffer."""

    counts: Mapping[int, Counts]
    slots: Mapping[str, Slot]

    @classmethod
    def of(
        cls, tasks: Iterable[Task], inputs: Iterable[FeatureMap], plan: MemoryPlan, first_buffer: int, soc: Soc
    ) -> Writers:
        """Count.

        Args:
            tasks: all tasks of the program.
            inputs: maps that the host fills.
            plan: where regions lie.
            first_buffer: number of the plan's first buffer.
            soc: the chip.
        """
        counts = {
            first_buffer + number: np.zeros(-(-size // soc.slot), np.int32)
            for number, (_, _, size) in enumerate(plan.roles)
        }
        made = cls(counts, plan.slots)
        for feature in inputs:
            made.fill(feature, soc)
        for task in tasks:
            made.view(task.target, _written(task, soc))[...] += 1
        return made

    def fill(self, feature: FeatureMap, soc: Soc) -> None:
        """Count the packing of an input."""
        if not is_packed(feature, soc):
            self.view(Rows(feature, 0, feature.height), feature.surfaces)[...] += 1
            return
        place = self.slots[feature.at.region]
        first = place.offset // soc.slot
        self.counts[place.buffer][first : first - (-feature.end() // soc.slot)] += 1

    def view(self, rows: Rows, surfaces: int) -> Counts:
        """Return the counts of some rows as ``(surfaces, rows, columns)``; their buffer holds all of them."""
        feature, place = rows.feature, self.slots[rows.at.region]
        flat = self.counts[place.buffer][(place.offset + rows.at.offset) // feature.slot :]
        shape = (surfaces, rows.count, feature.width)
        pitch, line = feature.surface_slots, feature.line_bytes // feature.slot
        last = (surfaces - 1) * pitch + (rows.count - 1) * line + feature.width
        if last > flat.size:
            raise ValueError(f"{rows} leaves its buffer by {last - flat.size} slots")
        unit = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat, shape, (pitch * unit, line * unit, unit))

    def sentinel(self, task: Task) -> Sentinel | None:
        """Find a place that only ``task`` writes, as late in its output as possible, or None where there is none."""
        feature = task.target.feature
        alone = self.view(task.target, feature.surfaces) == 1
        if not feature.line_gap:  # rows without gaps are one run of pixels
            alone = alone.reshape(feature.surfaces, 1, -1)
        for surface in reversed(range(feature.surfaces)):
            lanes = min(feature.slot, feature.channels - surface * feature.slot)
            pixels = -(-CERTAIN_BYTES // lanes)
            found = _last_run(alone[surface], pixels)
            if found is None:
                continue
            row, column = found
            distance = surface * feature.surface_pitch + row * feature.line_bytes + column * feature.slot
            place = self.slots[task.target.at.region]
            # Whole slots where several are needed: the lanes between are the same task's.
            size = lanes if pixels == 1 else pixels * feature.slot
            return place.buffer, place.offset + task.target.at.offset + distance, size
        return None


def sentinels(groups: Sequence[Sequence[Task]], writers: Writers) -> list[Sentinel | None]:
    """Find the sentinel of each job; None where its last task writes no place of its own."""
    return [writers.sentinel(group[-1]) for group in groups]


def _written(task: Task, soc: Soc) -> int:
    """Return how many surfaces a task may touch."""
    return task.target.feature.surfaces if isinstance(task, PoolingTask) else written_surfaces(task, soc)


def _last_run(alone: npt.NDArray[np.bool_], length: int) -> tuple[int, int] | None:
    """Return row and first column of the last ``length`` neighbours in a row that are all true."""
    width = alone.shape[1] - length + 1
    if width < 1:
        return None
    starts = np.logical_and.reduce([alone[:, shift : shift + width] for shift in range(length)])
    found = np.flatnonzero(starts)
    if not found.size:
        return None
    row, column = divmod(int(found[-1]), width)
    return row, column
