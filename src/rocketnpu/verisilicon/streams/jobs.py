"""The jobs that a submission's stream starts, taken apart without running them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rocketnpu.errors import SimulationError
from rocketnpu.inspect.recording_file import RecordedBuffer
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.coefficients.kernels import Bytes, Kernels
from rocketnpu.verisilicon.registers.instruction import WORD, Layout, Words
from rocketnpu.verisilicon.registers.jobs import UNITS
from rocketnpu.verisilicon.simulator.front_end import starts
from rocketnpu.verisilicon.simulator.net_kernels import read_kernels
from rocketnpu.verisilicon.simulator.nn_config import NnConfig, read_nn
from rocketnpu.verisilicon.simulator.tp_config import TpConfig, read_tp
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.streams.recording import Submission

_MOST_WEIGHTS = 1 << 28
"""Of all jobs of a submission that are taken apart: thousands of jobs may name one large buffer of coefficients."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One job."""

    number: int
    """Within its stream."""
    unit: str
    """``NN`` or ``TP``."""
    address: int
    """Of its instruction."""
    words: Words
    """The instruction; empty where it lies in no buffer."""
    fields: dict[str, int]
    nn: NnConfig | None = None
    tp: TpConfig | None = None
    problem: str = ""
    """Why it cannot be run, as far as the instruction tells."""
    kernels: Kernels | None = field(default=None, repr=False)
    """An NN job's coefficients, read from where they lie before anything has run."""
    coefficients: Bytes | None = field(default=None, repr=False)
    """The bytes from there on."""

    @property
    def layout(self) -> Layout:
        """How its instruction is laid out."""
        return UNITS[self.unit]


def jobs_of(submission: Submission, soc: Soc) -> tuple[list[Job], str]:
    """Return a stream's jobs in order, and why the stream cannot be read further ("" where it ends well)."""
    memory = Memory()
    for buffer in submission.buffers:
        memory.map(buffer.address, buffer.content())
    found: list[Job] = []
    left = _MOST_WEIGHTS
    try:
        for number, start in enumerate(starts(submission.stream, [])):
            found.append(job_at(number, start.unit, start.address, memory, soc))
            left -= 0 if found[-1].kernels is None else found[-1].kernels.weights.size
            if left < 0:
                return found, f"behind job {number} nothing is read: the jobs have more than {_MOST_WEIGHTS:,} weights"
    except SimulationError as error:
        return found, str(error)
    return found, ""


def job_at(number: int, unit: str, address: int, memory: Memory, soc: Soc) -> Job:
    """Take one job apart whose instruction lies at an address."""
    layout = UNITS[unit]
    where = memory.find(address, address + layout.size * WORD)
    if where is None:
        return Job(
            number, unit, address, np.zeros(0, "<u4"), {}, problem=f"the instruction at 0x{address:x} lies in no buffer"
        )
    words = where[0][where[1] : where[1] + layout.size * WORD].view("<u4")
    fields = layout.decode(words)
    try:
        if unit == "TP":
            return Job(number, unit, address, words, fields, tp=read_tp(fields))
        config = read_nn(fields, soc)
    except SimulationError as error:
        return Job(number, unit, address, words, fields, problem=str(error))
    data = _from(memory, config.coefficients)
    try:
        kernels = read_kernels(data, config.shape, soc.generation)
    except SimulationError as error:
        return Job(number, unit, address, words, fields, nn=config, problem=str(error), coefficients=data)
    return Job(number, unit, address, words, fields, nn=config, kernels=kernels, coefficients=data)


def _from(memory: Memory, address: int) -> Bytes:
    """Return the bytes of a buffer from an address on; none where it lies in no buffer."""
    where = memory.find(address, address + 1)
    return np.zeros(0, np.uint8) if where is None else where[0][where[1] :]


def buffer_at(submission: Submission, address: int) -> RecordedBuffer | None:
    """Return the buffer that holds an address."""
    return next((buffer for buffer in submission.buffers if buffer.address <= address < buffer.end), None)
