"""One NPU: takes front-end streams, runs the jobs that they start, and says what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

from rocketnpu.errors import SimulationError
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.registers.instruction import WORD, Layout, Words
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.registers.tp import TP
from rocketnpu.verisilicon.simulator.front_end import Start, starts
from rocketnpu.verisilicon.simulator.net_kernels import KernelCache
from rocketnpu.verisilicon.simulator.nn import run_nn
from rocketnpu.verisilicon.simulator.nn_config import read_nn
from rocketnpu.verisilicon.simulator.tp import run_tp
from rocketnpu.verisilicon.simulator.tp_config import read_tp
from rocketnpu.verisilicon.soc import Soc

MAX_WORK = 1 << 36
"""Multiply-accumulates of all jobs of one stream, and values that TP moves, beyond which it is refused."""


@dataclass(frozen=True, slots=True)
class JobReport:
    """What one job did."""

    unit: str
    """``NN`` or ``TP``."""
    address: int
    """Of its instruction."""
    macs: int
    """Multiply-accumulates done; 0 for TP."""
    values: int
    """Values that TP moved; 0 for NN."""
    defects: tuple[str, ...] = ()
    """Why its output is wrong on silicon; what is computed then is one guess among others."""


@dataclass(slots=True)
class StreamReport:
    """What one stream did."""

    jobs: list[JobReport] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Oddities that are not known to change results."""


class Npu:
    """An NPU that executes streams on mapped memory. Not safe to be called from several threads at once.

    Args:
        memory: buffers, shared with whoever prepares them.
        soc: the chip.
    """

    def __init__(self, memory: Memory, soc: Soc) -> None:
        self.memory = memory
        self.soc = soc
        self._kernels = KernelCache()

    def run_stream(self, stream: Words) -> StreamReport:
        """Run a stream to its end; jobs run in its order, each after the one before (facts 3).

        Raises:
            SimulationError: it does what is not known; the error's ``task`` is the job's number in the stream.
        """
        report = StreamReport()
        left = MAX_WORK
        for number, start in enumerate(starts(stream, report.remarks)):
            try:
                done = self._run(start, left)
            except SimulationError as error:
                raise error.at_task(number) from None
            report.jobs.append(done)
            left -= done.macs + done.values
        return report

    def _run(self, start: Start, left: int) -> JobReport:
        """Run one job, if there is that much work left in its stream."""
        fields = self._fields(start, NN if start.unit == "NN" else TP)
        if start.unit == "TP":
            scan = read_tp(fields)
            _check_work(scan.elements, left)
            run_tp(scan, self.memory)
            return JobReport("TP", start.address, 0, scan.elements)
        config = read_nn(fields, self.soc)
        _check_work(config.macs, left)
        run_nn(config, self.soc.generation, self.memory, self._kernels)
        return JobReport("NN", start.address, config.macs, 0, config.defects)

    def _fields(self, start: Start, layout: Layout) -> dict[str, int]:
        register = f"PS_{start.unit}_INST_ADDR"
        raw = self.memory.view(start.address, (layout.size * WORD,), unit="FE", register=register)
        return layout.decode(raw.view("<u4"))


def _check_work(work: int, left: int) -> None:
    if work > left:
        message = f"{work:,} operations, {left:,} are left to this stream: the kernel driver would not wait for them"
        raise SimulationError(message, unit="FE")
