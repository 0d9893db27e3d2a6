"""Kernel drivers that the emulated node can be, as tests of what goes wrong around a device open them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_cases import CASES, program_for
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.base import Device
from rocketnpu.device.calls import Calls
from rocketnpu.device.executor import run
from rocketnpu.emulator.driver import driver_of
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.soc import SOCS


@dataclass(frozen=True)
class Kind:
    """A driver and the chip behind it."""

    name: str
    chip: str

    def open(self, calls: Calls) -> Device:
        """Open its device."""
        return RocketDevice(calls=calls) if self.name == "rocket" else EtnavivDevice(SOCS[self.chip], calls=calls)

    def __str__(self) -> str:
        return f"{self.name} {self.chip}"


KINDS = [Kind("rocket", "rk3588"), Kind("etnaviv", "a311d"), Kind("etnaviv", "imx8mp")]


class Delayed:
    """A simulated core that calls ``before`` ahead of each command list or stream."""

    def __init__(self, chip: str, before: Callable[[], object]) -> None:
        self._core, self._before = driver_of(chip).cores(print)[0], before

    def begin(self, memory) -> None:
        self._core.begin(memory)

    def run(self, address: int, words: int) -> None:
        self._before()
        self._core.run(address, words)

    def run_stream(self, stream) -> None:
        self._before()
        self._core.run_stream(stream)


def answers_rightly(device: Device) -> None:
    """Run a network and hold it against the simulator."""
    case = CASES["chain"]
    found = run(device, program_for(case, device), [case.picture()])[0]
    np.testing.assert_array_equal(found, expected(case, device.chip))


TESTS = Path(__file__).parent
"""For processes of their own that import this."""
