"""The NPU as devices see it: one task after another, each a front-end stream in memory."""

from __future__ import annotations

from rocketnpu.errors import SimulationError
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.simulator.npu import Npu, StreamReport
from rocketnpu.verisilicon.soc import Soc

_PAIR = 8
"""Bytes of two words: streams are counted in pairs."""


class TaskNpu:
    """A :class:`rocketnpu.family.SimulatedChip`. Not safe to be called from several threads at once.

    Args:
        soc: the chip.
        strict: refuse what silicon would compute wrongly; otherwise one guess among others is computed.
    """

    def __init__(self, soc: Soc, *, strict: bool) -> None:
        self.memory = Memory()
        self._npu = Npu(self.memory, soc)
        self._strict = strict

    def begin_job(self) -> None:
        """Start another job: tasks depend on nothing but memory."""

    def run_task(self, address: int, words: int, *, task: int | None = None) -> StreamReport:
        """Run the stream of ``words`` pairs of words at ``address``.

        Raises:
            SimulationError: it does what is not known, or what silicon computes wrongly; ``task`` names it.
        """
        stream = self.memory.view(address, (words * _PAIR,), unit="FE", register="COMMANDS").view("<u4")
        try:
            report = self._npu.run_stream(stream)
        except SimulationError as error:
            raise (error if task is None else error.at_task(task)) from None
        defects = [defect for job in report.jobs for defect in job.defects]
        if defects and self._strict:
            raise SimulationError(defects[0], unit="NN", task=task)
        return report
