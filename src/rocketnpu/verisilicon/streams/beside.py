"""A recording's convolutions beside ours of the same model: where instructions and coefficients differ, and why.

Moves are left out: stock Mesa turns the host's pixels into planes by tensor processors, ours come in planes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Graph
from rocketnpu.memory import Memory
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.assembly.assemble import assemble
from rocketnpu.verisilicon.prepared import lower
from rocketnpu.verisilicon.registers.jobs import started
from rocketnpu.verisilicon.streams.differences import StreamDifference, job_differences
from rocketnpu.verisilicon.streams.jobs import Job, job_at, jobs_of
from rocketnpu.verisilicon.streams.recording import Recording

REASONS = {
    "NN.MULTIPLIER": "ours is the nearest, the recorded one is cut off or computed in single precision",
    "NN.KERNEL_CACHE_END": "ours is of the coefficients' own size, the recorded one of a guess",
    "NN.IMAGE_CACHE_START": "it lies behind the kernels'",
    "NN.IMAGE_CACHE_END": "it lies behind the kernels'",
    "bytes of coefficients": "symbols are counted as they are coded",
    "NN.RELU": "a clamp at 0 is the byte's own",
}
"""Why some things differ on purpose."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What was compared."""

    recorded: int
    """Convolutions in the recording, and in ours."""
    ours: int
    differences: tuple[StreamDifference, ...]
    """Of each pair, where there are as many of one as of the other."""

    @property
    def unexplained(self) -> tuple[StreamDifference, ...]:
        """Differences that are not on purpose."""
        return tuple(row for row in self.differences if row.what not in REASONS)


def beside_ours(recording: Recording, graph: Graph) -> Beside:
    """Compile a recorded model and compare its convolutions in their order."""
    theirs = [
        job for submission in recording.submissions for job in jobs_of(submission, recording.soc)[0] if job.unit == "NN"
    ]
    own = list(_compiled(recording, graph))
    found: list[StreamDifference] = []
    if len(theirs) == len(own):
        for one, other in zip(theirs, own, strict=True):
            found += job_differences(0, one, other)
    return Beside(len(theirs), len(own), tuple(found))


def _compiled(recording: Recording, graph: Graph) -> Iterator[Job]:
    """Return the convolutions of our program for a model, as the NPU would find them in memory."""
    soc = recording.soc
    policy = Policy(chip=soc.name)
    for part in plan(graph, policy).parts:
        program = assemble(lower(part, soc, policy), part.name, soc)
        with contextlib.ExitStack() as stack:
            device = stack.enter_context(SimulatorDevice(chip=soc.name))
            placed = stack.enter_context(PlacedProgram(device, program))
            memory = Memory()
            for buffer, content in zip(placed.buffers, placed.memories, strict=True):
                memory.map(buffer.address, bytes(content))
            for number, job in enumerate(program.jobs):
                for task in range(len(job.tasks)):
                    for start in started(placed.task_words(number, task).view("<u4")):
                        if start.unit == "NN":
                            yield job_at(task, start.unit, start.address, memory, soc)
