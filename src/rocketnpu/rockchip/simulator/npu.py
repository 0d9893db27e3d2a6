"""One NPU core: fetches command lists, starts the units that they enable, and says what happened.

Two ways to run, as the two kernel drivers do (spec 1.5, 1.7, 1.8): :meth:`Npu.run_task` starts one list with
TASK_NUMBER 1 and does not follow its link; :meth:`Npu.run_chain` lets the PC follow links.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rocketnpu.errors import SimulationError
from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator import pc
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.core_state import CoreState
from rocketnpu.rockchip.simulator.registers import Registers, registers
from rocketnpu.rockchip.simulator.tasks import run_convolution, run_flying, run_pooling
from rocketnpu.rockchip.soc import RK3588, Soc

START_POINTERS = 0xE
"""What both kernel drivers write to S_POINTER of CNA and CORE: toggle both pointers (spec 1.7)."""
_NEEDS_POINTER = ("DPU", "DPU_RDMA", "PPU", "PPU_RDMA")
"""Units whose S_POINTER only the command list writes (addendum 8.1)."""
_KINDS = {
    frozenset({"CNA", "CORE", "DPU"}): run_convolution,
    frozenset({"CNA", "CORE", "DPU", "DPU_RDMA"}): run_convolution,
    frozenset({"DPU", "DPU_RDMA"}): run_flying,
    frozenset({"PPU", "PPU_RDMA"}): run_pooling,
}
"""Sets of units that known programs start together (spec 1.4)."""
_INTERRUPTS = {"CNA": (0, 2, 4), "CORE": (6,), "DPU": (8,), "PPU": (10,)}
"""Interrupt bits of register group 0; those of group 1 are one higher (spec 2)."""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What one task did."""

    units: tuple[str, ...]
    """Units that were enabled."""
    interrupts: int
    """Bits it raised in INTERRUPT_RAW_STATUS: 8 or 9 for the DPU's group 0 or 1, 10 or 11 for the PPU's."""
    macs: int
    """Multiply-accumulates done, padding channels included."""
    defects: tuple[str, ...] = field(default=())
    """Why the output is wrong on silicon; it was spoiled on purpose. Always empty in strict mode."""
    remarks: tuple[str, ...] = field(default=())
    """Oddities that are not known to change results. Always empty in strict mode."""


class Npu:
    """A core that executes command lists on mapped memory.

    Args:
        memory: buffers, shared with whoever prepares them.
        soc: the chip.
        core: which of its cores this is; nothing but S_POINTER depends on it.
        strict: refuse what would compute wrong results on silicon. Otherwise the task runs, its output is spoiled,
            and the report names the defect.
        compiled: whether convolutions may be computed by compiled code, where there is a C compiler; the bytes are
            the same.
        threads: how many threads that code may use.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        soc: Soc = RK3588,
        core: int = 0,
        strict: bool = True,
        compiled: bool = True,
        threads: int = 1,
    ) -> None:
        self.memory = memory
        self.soc = soc
        self.strict = strict
        self._pointers = START_POINTERS | core << 28
        self._state = CoreState(compiled=compiled, threads=threads)

    def begin_job(self) -> None:
        """Start another job: what lies in the convolution buffer may be anybody's (addendum 7.2)."""
        self._state.forget_buffer()

    def run_task(self, address: int, words: int, *, task: int | None = None) -> TaskReport:
        """Run one list of exactly ``words`` command words at ``address``, as the mainline kernel starts it.

        Raises:
            SimulationError: it does what the hardware does not define; the message names ``task`` if given.
        """
        try:
            self._arm()
            return self._execute(self._fetch(address, words))
        except SimulationError as error:
            raise _located(error, task) from None

    def run_chain(self, address: int, amount: int, count: int, *, first_task: int = 0) -> list[TaskReport]:
        """Run ``count`` lists, following the links in them, as the vendor's kernel starts them.

        Args:
            address: of the first list.
            amount: of its fetch beats, minus one (register REGISTER_AMOUNTS).
            count: TASK_NUMBER.
            first_task: index of the first list for messages.

        Raises:
            SimulationError: a list does what the hardware does not define, or the chain ends early.
        """
        reports = []
        self._arm()
        for task in range(first_task, first_task + count):
            try:
                _check_link(address, task - first_task, count)
                commands = self._fetch(address, (amount + 1) * pc.WORDS_PER_BEAT)
                reports.append(self._execute(commands))
            except SimulationError as error:
                raise _located(error, task) from None
            address, amount = commands.next_address, commands.next_amount
        return reports

    def _arm(self) -> None:
        for unit in ("CNA", "CORE"):
            self._state.files[unit].set_pointer(self._pointers)

    def _fetch(self, address: int, words: int) -> pc.CommandList:
        if words <= 0:
            raise SimulationError(f"a list of {words} words", unit="PC", register="REGISTER_AMOUNTS")
        if words > pc.MOST_WORDS:
            message = f"a list of {words:,} words; its amount has room for {pc.MOST_WORDS:,}"
            raise SimulationError(message, unit="PC", register="REGISTER_AMOUNTS")
        if address % pc.LIST_ALIGNMENT:
            message = f"a list at 0x{address:x}, which is not a multiple of {pc.LIST_ALIGNMENT}"
            raise SimulationError(message, unit="PC", register="BASE_ADDRESS")
        raw = self.memory.view(address, (words * 8,), unit="PC", register="BASE_ADDRESS")
        return pc.parse(raw.tobytes())

    def _execute(self, commands: pc.CommandList) -> TaskReport:
        checks = Checks(self.strict)
        for unit, register, message in commands.oddities:
            checks.object(unit, register, message)
        self._fill(commands, checks)
        snapshots = {unit: self._snapshot(unit) for unit in commands.units}
        run = _KINDS.get(frozenset(commands.units))
        if run is None:
            names = ", ".join(commands.units)
            checks.refuse("PC", "OPERATION_ENABLE", f"no known program starts {names} together: not modelled")
        interrupts = 0
        for unit in commands.units:
            group = self._state.files[unit].executer
            interrupts |= sum(1 << bit + group for bit in _INTERRUPTS.get(unit, ()))
        if "CNA" not in commands.units:
            self._state.forget_buffer()
        macs = run(snapshots, Context(self._state, self.memory, self.soc, checks))
        for unit in commands.units:
            self._state.files[unit].finish()
        return TaskReport(commands.units, interrupts, macs, tuple(checks.defects), tuple(checks.remarks))

    def _fill(self, commands: pc.CommandList, checks: Checks) -> None:
        """Write a list's words to the register groups and the look-up tables."""
        for unit, segments in commands.segments.items():
            file = self._state.files[unit]
            for segment in segments:
                if segment.pointer is not None:
                    file.set_pointer(segment.pointer)
                file.write(segment.index, segment.values)
        self._state.luts.load(commands.lut_loads, checks)
        for unit in _NEEDS_POINTER:
            if unit in commands.units and not any(
                segment.pointer is not None for segment in commands.segments.get(unit, ())
            ):
                checks.object(unit, "S_POINTER", "the list does not write it: the register group is left to chance")

    def _snapshot(self, unit: str) -> Registers:
        return registers(unit, self._state.files[unit].snapshot())


def _located(error: SimulationError, task: int | None) -> SimulationError:
    return error if task is None or error.task is not None else error.at_task(task)


def _check_link(address: int, done: int, count: int) -> None:
    """Refuse a chain that ends early: silicon runs into its time-out (addendum 8.1)."""
    if not address and done:
        message = f"the chain ends after {done} of {count} tasks"
        raise SimulationError(message, unit="PC", register="BASE_ADDRESS")
