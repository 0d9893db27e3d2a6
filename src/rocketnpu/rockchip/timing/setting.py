"""Under which a stream is timed: clock, what a start costs, the host's part, and how many cores share the memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rocketnpu.rockchip.timing.rates import MEMORY_BYTES, NETWORK_FIT, Rates
from rocketnpu.rockchip.timing.work import Cycles, Work, cycles

MHZ = 1_000_000
Driver = Literal["mainline", "vendor"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A board's state. Times in microseconds."""

    driver: Driver
    clock_hz: int
    start_us: float
    """From the end of a task to the start of the next."""
    layer_us: float
    """More at each operator's first task, where the tasks are chained (fit; timing 5)."""
    host_us: float
    """Conversion, synchronisation and system calls of one inference."""
    cores: int = 1
    """Cores that are busy at once."""
    rates: Rates = NETWORK_FIT
    memory_bytes: float = MEMORY_BYTES

    @property
    def shared_rates(self) -> Rates:
        """What one core gets."""
        return self.rates.shared(self.cores, self.clock_hz, self.memory_bytes)

    def cycles(self, work: Work) -> Cycles:
        """Estimate the cycles of a task."""
        return cycles(work, self.shared_rates)

    def us(self, count: float) -> float:
        """Turn NPU cycles into microseconds."""
        return count / self.clock_hz * 1e6


MAINLINE = Setting("mainline", 198 * MHZ, start_us=30.0, layer_us=0.0, host_us=350.0)
"""The mainline kernel: the device tree's 200 MHz become 198 (firmware's divider; timing 0), each task is started by an
interrupt, 25 to 39 microseconds (timing 3)."""
VENDOR = Setting("vendor", 1000 * MHZ, start_us=1.0, layer_us=2.0, host_us=350.0)
"""The vendor's kernel: 1 GHz, tasks are chained by hardware (timing 4.2, 5)."""
STARTS = (20.0, 37.0)
"""Best and worst microseconds of a start by interrupt that sources support (timing 3, 5)."""


def setting(driver: Driver, clock_mhz: float | None = None, cores: int = 1) -> Setting:
    """Return a driver's setting, at its own clock if none is given."""
    chosen = MAINLINE if driver == "mainline" else VENDOR
    clock = chosen.clock_hz if clock_mhz is None else round(clock_mhz * MHZ)
    return replace(chosen, clock_hz=clock, cores=cores)
