"""The RK3588's NPU for a virtual machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.board.machine import Slot
from rocketnpu.board.vfio_user import Interrupt
from rocketnpu.rockchip.board.device_tree import fragment
from rocketnpu.rockchip.board.npu_function import NpuFunction, Verdict


def _silent(_verdict: Verdict) -> None:
    pass


@dataclass(frozen=True)
class Rk3588Hardware:
    """See :class:`~rocketnpu.board.machine.Hardware`."""

    observe: Callable[[Verdict], None] = _silent
    """Told of every task, in the thread that plays the NPU."""
    delay: float = 0.0
    """Seconds of the host that a task takes at least."""

    def device_tree(self, slots: Sequence[Slot]) -> str:
        """Return the NPU's part of the device tree."""
        return fragment(slots)

    def function(
        self, core: int, memory: GuestMemory, interrupt: Interrupt, *, blocking: bool, wake: Callable[[], None]
    ) -> NpuFunction:
        """Return the registers of a core."""
        return NpuFunction(
            core, memory, interrupt, blocking=blocking, wake=wake, observe=self.observe, delay=self.delay
        )
