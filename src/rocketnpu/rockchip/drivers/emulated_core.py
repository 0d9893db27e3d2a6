"""A core of the emulated node: the simulator, started as the mainline kernel starts the silicon."""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.emulator.jobs import TaskHangError
from rocketnpu.rockchip.simulator import Memory, Npu
from rocketnpu.rockchip.simulator.npu import TaskReport

_DPU_INTERRUPTS = 0x300
"""INTERRUPT_MASK that the driver programs (spec 1.7; addendum 4.6)."""


class SimulatedCore:
    """One core. Its registers, tables and convolution buffer outlive jobs and files, as on silicon."""

    def __init__(self, number: int = 0, report: Callable[[str], None] = lambda _line: None) -> None:
        """Start with empty registers; ``report`` is told of tasks whose result would be wrong on silicon."""
        self._npu = Npu(Memory(), core=number, strict=False)
        self._report = report

    def begin(self, memory: Memory) -> None:
        """Attach the address space of the next job's file."""
        self._npu.memory = memory
        self._npu.begin_job()

    def start(self, address: int, words: int) -> TaskReport:
        """Run one command list and say what the core did.

        Raises:
            RocketError: the silicon would hang, fault, or do what nobody knows.
        """
        done = self._npu.run_task(address, words)
        for defect in done.defects:
            self._report(f"command list at 0x{address:x}: {defect}")
        return done

    def run(self, address: int, words: int) -> None:
        """Run one command list; see :class:`~rocketnpu.emulator.jobs.Core`."""
        done = self.start(address, words)
        if not done.interrupts & _DPU_INTERRUPTS:
            raise TaskHangError(f"the units {' '.join(done.units)} raise no DPU interrupt, the only one waited for")
