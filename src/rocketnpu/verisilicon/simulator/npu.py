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


@dataclass(frozen=True, slots=True)
class JobReport:
    """What one job did."""

    unit: str
    """``NN`` or ``TP``."""
    address: int
    """Of its instruction."""
    macs: int
    """Multiply-accumulates done; 0 for TP."""
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
        for number, start in enumerate(starts(stream, report.remarks)):
            try:
                report.jobs.append(self._run(start))
            except SimulationError as error:
                raise error.at_task(number) from None
        return report

    def _run(self, start: Start) -> JobReport:
        """Run one job."""
        fields = self._fields(start, NN if start.unit == "NN" else TP)
        if start.unit == "TP":
            run_tp(read_tp(fields), self.memory)
            return JobReport("TP", start.address, 0)
        config = read_nn(fields, self.soc)
        run_nn(config, self.soc.generation, self.memory, self._kernels)
        return JobReport("NN", start.address, config.macs, config.defects)

    def _fields(self, start: Start, layout: Layout) -> dict[str, int]:
        register = f"PS_{start.unit}_INST_ADDR"
        raw = self.memory.view(start.address, (layout.size * WORD,), unit="FE", register=register)
        return layout.decode(raw.view("<u4"))
