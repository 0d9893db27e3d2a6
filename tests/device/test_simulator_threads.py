"""The simulator's threads: asked for by the environment, and the same bytes with any number."""

from __future__ import annotations

import numpy as np
import pytest

from device_cases import CASES
from rocketnpu.device import simulator
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError


def test_any_number_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["chain"]
    found = []
    for threads in ("", "1", "3"):
        monkeypatch.setenv(simulator.THREADS, threads)
        with SimulatorDevice() as device:
            found.append(run(device, case.program(), [case.picture()]))
    for made in found[1:]:
        for one, other in zip(found[0], made, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_environment_decides_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Asked:
        def simulator(self, **options: object) -> object:
            asked.append(options["threads"])
            raise DeviceError("enough is known")

    monkeypatch.setattr(simulator, "family_of", lambda _chip: Asked())
    for variable, given in ((None, None), ("5", None), ("5", 2)):
        monkeypatch.delenv(simulator.THREADS, raising=False)
        if variable:
            monkeypatch.setenv(simulator.THREADS, variable)
        with pytest.raises(DeviceError, match="enough"):
            SimulatorDevice(threads=given)
    assert asked == [1, 5, 2]


@pytest.mark.parametrize("value", ["0", "65", "-1", "two", "1.5", "9" * 5000, "٣"])
def test_other_numbers_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(simulator.THREADS, value)
    with pytest.raises(DeviceError, match=r"ROCKETNPU_SIMULATOR_THREADS is .*1 to 64 threads"):
        SimulatorDevice()
