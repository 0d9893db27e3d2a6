"""One NPU core as a PCI function: the registers that the ``rocket`` driver touches, the simulator behind them.

The BAR is the core's 64 KiB window on the chip (program controller, CNA, CORE, memory management units), and a reset
controller of our own in its last page. Source: rocket_core.c, rocket_job.c and rocket_registers.h of Linux 7.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.board.vfio_user import Interrupt
from rocketnpu.errors import RocketError
from rocketnpu.memory import Memory
from rocketnpu.rockchip.board.iommu import COMMAND, Iommu, PageFaultError, TranslatedMemory
from rocketnpu.rockchip.drivers.emulated_core import SimulatedCore

WINDOW = 0x10000
BLOCK = 0x1000
CNA, CORE, FIRST_MMU, SECOND_MMU, RESET = 0x1000, 0x3000, 0x9000, 0xA000, 0xF000
_VERSION, _VERSION_NUMBER, _OPERATION_ENABLE = 0x00, 0x04, 0x08
_BASE_ADDRESS, _REGISTER_AMOUNTS = 0x10, 0x14
_INTERRUPT_MASK, _INTERRUPT_CLEAR, _INTERRUPT_STATUS, _INTERRUPT_RAW = 0x20, 0x24, 0x28, 0x2C
_WORDS_PER_BEAT = 2
_VERSION_WORDS = {_VERSION: 0x1D00, _VERSION_NUMBER: 0x58}
"""Made up; the driver only prints them."""
_S_POINTER = 0x004


def mmu_blocks(core: int) -> tuple[int, ...]:
    """Return where a core's memory management units are; the first core has two (rk3588-base.dtsi)."""
    return (FIRST_MMU, SECOND_MMU) if core == 0 else (SECOND_MMU,)


@dataclass(frozen=True)
class Verdict:
    """What came of a task."""

    core: int
    address: int
    words: tuple[int, ...]
    """The command list, empty where it could not be read."""
    outcome: str
    """"done", "fault" or "hang"."""
    text: str
    """Units that ran, or why not."""
    seconds: float
    new_job: bool
    began: float
    """Monotonic seconds of the host."""
    defects: tuple[str, ...] = ()
    """Why silicon would compute something else."""

    def __str__(self) -> str:
        """Return one line."""
        place = f"core {self.core}, list at 0x{self.address:x}, {len(self.words)} words"
        end = "".join(f"; wrong on silicon: {defect}" for defect in self.defects)
        return f"{place}: {self.outcome}, {self.text}, {self.seconds * 1e3:.1f} ms{end}"


@dataclass(frozen=True)
class _Outcome:
    verdict: Verdict
    interrupts: int = 0
    fault: PageFaultError | None = None


class NpuFunction:
    """A core. ``observe`` is told of each task, in the thread that serves QEMU."""

    size = WINDOW

    def __init__(
        self,
        core: int,
        memory: GuestMemory,
        interrupt: Interrupt,
        *,
        blocking: bool,
        wake: Callable[[], None],
        observe: Callable[[Verdict], None],
        delay: float = 0.0,
    ) -> None:
        """Start as after power-on.

        Args:
            core: its number on the chip.
            memory: the guest's RAM.
            interrupt: the line to drive.
            blocking: run a task inside the guest's store that starts it. Otherwise it runs in a thread, and ``wake``
                is called at its end, upon which the server calls :meth:`collect`.
            wake: see above.
            observe: told each task's outcome.
            delay: seconds that every task takes at least.
        """
        self.blocking, self._wake, self._observe, self._delay = blocking, wake, observe, delay
        self._number, self._guest, self._interrupt = core, memory, interrupt
        self._mmus = {block: Iommu() for block in mmu_blocks(core)}
        self._window = TranslatedMemory()
        self._worker = ThreadPoolExecutor(1, f"rocketnpu-core{core}")
        self._tasks: list[tuple[int, Future[_Outcome]]] = []
        self._epoch = 0
        self.reset()

    # -- registers

    def reset(self) -> None:
        """Return to the state after power-on."""
        for mmu in self._mmus.values():
            mmu.reset()
        self._reset_core()

    def _reset_core(self) -> None:
        self._registers = dict(_VERSION_WORDS)
        self._raw = self._mask = 0
        self._defects: list[str] = []
        self._core = SimulatedCore(self._number, self._defects.append)
        self._epoch += 1
        self._started = False
        self._new_job = True

    def read(self, offset: int) -> int:
        """Return a register."""
        block = offset & -BLOCK
        if block in self._mmus:
            return self._mmus[block].read(offset - block)
        values = {
            _INTERRUPT_MASK: self._mask,
            _INTERRUPT_STATUS: self._raw & self._mask,
            _INTERRUPT_RAW: self._raw,
        }
        return values.get(offset, self._registers.get(offset, 0))

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        block = offset & -BLOCK
        if block in self._mmus:
            # Paging is switched on when another file's job is next.
            self._new_job = self._new_job or (offset - block == COMMAND and value == 0)
            self._mmus[block].write(offset - block, value)
        elif offset == _INTERRUPT_MASK:
            self._mask = value
        elif offset == _INTERRUPT_CLEAR:
            self._raw &= ~value
        elif offset == RESET:
            self._registers[RESET] = value
            if value >> 2 * self._number & 3:
                self._reset_core()
                self._registers[RESET] = value
        else:
            self._registers[offset] = value
            self._started = self._started or (offset == _OPERATION_ENABLE and bool(value & 1))
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        self._interrupt.set(bool(self._raw & self._mask) or any(mmu.interrupt for mmu in self._mmus.values()))

    # -- tasks

    def run(self) -> None:
        """Run the task that the last write started, if it did."""
        if not self._started:
            return
        self._started = False
        new_job, self._new_job = self._new_job, False
        address = self._registers.get(_BASE_ADDRESS, 0) & ~0xF
        words = ((self._registers.get(_REGISTER_AMOUNTS, 0) & 0xFFFF) + 1) * _WORDS_PER_BEAT
        if self.blocking:
            self._finish(self._compute(address, words, new_job))
            return
        future = self._worker.submit(self._compute, address, words, new_job)
        self._tasks.append((self._epoch, future))
        future.add_done_callback(lambda _: self._wake())

    def collect(self) -> None:
        """Take over what has ended in the meantime. A task that a reset overtook is forgotten."""
        while self._tasks and self._tasks[0][1].done():
            epoch, future = self._tasks.pop(0)
            if epoch == self._epoch:
                self._finish(future.result())

    def close(self) -> None:
        """Wait for running tasks, and give the window's addresses back."""
        self._worker.shutdown(cancel_futures=True)
        self._core.begin(Memory())
        self._window.close()

    def _compute(self, address: int, words: int, new_job: bool) -> _Outcome:
        """Run a list; in the core's own thread where the store that started it does not wait."""
        began = time.monotonic()
        time.sleep(self._delay)
        listed: tuple[int, ...] = ()
        self._defects.clear()

        def verdict(outcome: str, text: str) -> Verdict:
            seconds = time.monotonic() - began
            return Verdict(self._number, address, listed, outcome, text, seconds, new_job, began, tuple(self._defects))

        try:
            self._window.refresh(self._first_mmu, self._guest)
            if new_job:
                self._core.begin(self._window)
            view = self._window.view(address, (words,), unit="PC", register="BASE_ADDRESS", dtype="<u8")
            listed = tuple(view.tolist())
            done = self._core.start(address, words)
        except PageFaultError as error:
            return _Outcome(verdict("fault", str(error)), fault=error)
        except RocketError as error:
            return _Outcome(verdict("hang", str(error)))
        except Exception as error:  # whatever a hostile command list does to the simulator, the board lives on
            return _Outcome(verdict("hang", f"{type(error).__name__}: {error}"))
        return _Outcome(verdict("done", " ".join(done.units)), done.interrupts)

    def _finish(self, outcome: _Outcome) -> None:
        self._raw |= outcome.interrupts
        if outcome.fault is not None:
            self._first_mmu.fault(outcome.fault)
        self._update_interrupt()
        self._observe(outcome.verdict)

    @property
    def _first_mmu(self) -> Iommu:
        """Where a core has two units, the driver programs them alike."""
        return next(iter(self._mmus.values()))
