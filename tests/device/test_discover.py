"""Choosing devices, and several cores."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from device_cases import CASES
from fake_rknpu import FakeRknpu
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.base import Device, Driver
from rocketnpu.device.calls import Calls
from rocketnpu.device.discover import local_standing, open_device
from rocketnpu.device.group import DeviceGroup, run_many
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.standing import UNASKED, Standing
from rocketnpu.errors import DeviceError
from rocketnpu.family import Family
from rocketnpu.policy import Target
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice


class Nothing:
    """A machine without NPU nodes, or with one that may not be opened."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused

    def open(self, path: str) -> int:
        code = errno.EACCES if path == self.refused else errno.ENOENT
        raise OSError(code, os.strerror(code), path)


def test_auto_prefers_mainline_then_vendor_then_simulator(node, fake_rknpu: FakeRknpu) -> None:
    with open_device(calls=node.calls) as device:
        assert isinstance(device, RocketDevice)
    with open_device(calls=fake_rknpu) as device:
        assert isinstance(device, RknpuDevice)
    with open_device(calls=Nothing()) as device:
        assert isinstance(device, SimulatorDevice)


def test_names_and_cores_are_checked() -> None:
    with pytest.raises(DeviceError, match="the devices are auto, simulator, rocket, rknpu, etnaviv"):
        open_device("tpu")
    for cores in (0, 4):
        with pytest.raises(DeviceError, match=r"1\.\.3"):
            open_device("simulator", cores=cores)


@pytest.mark.parametrize("name", ["rocket", "rknpu", "etnaviv"])
def test_a_named_device_that_is_not_there(name: str) -> None:
    with pytest.raises(DeviceError, match=f"'{name}': there is no such device node; `rocketnpu doctor`"):
        open_device(name, calls=Nothing())


def test_permissions_are_named() -> None:
    with pytest.raises(DeviceError, match=r"no permission to open /dev/accel/accel0 .*render"):
        open_device("rocket", calls=Nothing("/dev/accel/accel0"))


@pytest.mark.parametrize("name", ["simulator", "rocket", "rknpu"])
def test_three_cores_do_three_times_the_work(request: pytest.FixtureRequest, name: str) -> None:
    calls = {
        "rocket": lambda: request.getfixturevalue("node").calls,
        "rknpu": lambda: request.getfixturevalue("fake_rknpu"),
    }
    case = CASES["chain"]
    pictures = [[np.roll(case.picture(), number, axis=1)] for number in range(7)]
    program = case.program()
    with open_device("simulator") as simulator:
        wanted = run_many([simulator], program, pictures)
    with open_device(name, cores=3, calls=calls.get(name, lambda: None)()) as group:
        assert isinstance(group, DeviceGroup)
        assert isinstance(group, Device)
        assert len(group.members) == 3
        found = run_many(group.members, program, pictures)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(run_many([group], program, [[case.picture()]])[0][0], expected(case))
    if name == "rocket":
        assert request.getfixturevalue("node").lines == []


def test_a_group_opens_wholly_or_not_at_all(node) -> None:
    made: list[RocketDevice] = []

    def make(core: int) -> Device:
        if core == 2:
            raise DeviceError("no third core")
        made.append(RocketDevice(calls=node.calls))
        return made[-1]

    with pytest.raises(DeviceError, match="no third core"):
        DeviceGroup(make, 3)
    for device in made:
        with pytest.raises(DeviceError, match="closed"):
            device.allocate(1)


class Asked(SimulatorDevice):
    """A board of which something is known."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.standing = Standing(proven={word: "today"})


def driver(target: Target, word: str | None) -> Driver:
    """A driver of a board; none is there where nothing is known of it."""

    def opened(core: int, calls: Calls | None) -> Device:
        assert (core, calls) == (0, None)
        if word is None:
            raise DeviceError("there is none")
        return Asked(word)

    return Driver(target, "rk3588", target, (), opened)


@pytest.mark.parametrize(
    ("drivers", "target", "found"),
    [
        ([("mainline", "a"), ("vendor", "b")], None, "a"),
        ([("mainline", None), ("vendor", "b")], None, "b"),
        ([("mainline", "a"), ("vendor", "b")], "vendor", "b"),
        ([("vendor", "b"), ("mainline", "a")], "mainline", "a"),
        ([("mainline", "a"), ("vendor", None)], "vendor", None),
        ([("mainline", None), ("vendor", None)], None, None),
        ([], None, None),
    ],
)
def test_what_is_known_of_this_machines_board(
    drivers: list[tuple[Target, str | None]], target: Target | None, found: str | None
) -> None:
    family = SimpleNamespace(drivers=tuple(driver(*one) for one in drivers))
    standing = local_standing(cast(Family, family), target)
    assert standing == (UNASKED if found is None else Standing(proven={found: "today"}))


def test_a_named_device_is_looked_for_among_all_drivers_of_its_name(node) -> None:
    with open_device("rocket", calls=node.calls) as device:
        assert device.name == "rocket"
    for cores in (0, 4):
        with pytest.raises(DeviceError, match=f"{cores} cores were asked for"):
            open_device("auto", cores=cores, calls=Nothing())
    with open_device("auto", cores=3, calls=Nothing()) as group:
        assert isinstance(group, DeviceGroup)
    with open_device("simulator", cores=1) as device:
        assert isinstance(device, SimulatorDevice)
