"""The mainline ``rocket`` driver behind an emulated node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rocketnpu.emulator.driver import KernelDriver
from rocketnpu.emulator.drm_file import DrmFile, Limits
from rocketnpu.emulator.jobs import AnyCore, CorePool, QueuedJob
from rocketnpu.rockchip.drivers.emulated_core import SimulatedCore
from rocketnpu.rockchip.drivers.rocket_file import NodeFile
from rocketnpu.rockchip.soc import RK3588


class RocketDriver(KernelDriver):
    """The driver of an RK3588."""

    name = "rocket"
    node = "/dev/accel/accel0"

    def cores(self, report: Callable[[str], None]) -> Sequence[AnyCore]:
        """Return three cores."""
        return [SimulatedCore(number, report) for number in range(RK3588.cores)]

    def open(self, pool: CorePool, limits: Limits, observe: Callable[[DrmFile, QueuedJob], None]) -> DrmFile:
        """Return a new file."""
        return NodeFile(pool, limits, observe)


ROCKET = RocketDriver()
