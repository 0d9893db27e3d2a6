"""Choosing a device by name, among the simulator and the kernel drivers of every family of chips."""

from __future__ import annotations

from functools import cache

from rocketnpu.device.base import Device, Driver
from rocketnpu.device.calls import Calls
from rocketnpu.device.group import DeviceGroup
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.standing import UNASKED, Standing, standing_of
from rocketnpu.errors import DeviceError
from rocketnpu.family import Family, chips, family_of
from rocketnpu.policy import DEFAULT_CHIP, Target
from rocketnpu.proofs.record import know


@cache
def drivers() -> tuple[Driver, ...]:
    """Return every chip's kernel drivers, in the order in which "auto" tries them."""
    return tuple(driver for chip in chips() for driver in family_of(chip).drivers)


def driver_names() -> tuple[str, ...]:
    """Return their names, each once: one driver may drive several chips."""
    return tuple(dict.fromkeys(driver.name for driver in drivers()))


def device_names() -> tuple[str, ...]:
    """Return the names that :func:`open_device` understands."""
    return ("auto", "simulator", *driver_names())


def target_of(device: Device) -> Target:
    """Return whose rules a device follows: its kernel driver's, or the simulator's."""
    return family_of(device.chip).target_of(device.name)


def open_device(name: str = "auto", *, cores: int = 1, calls: Calls | None = None, chip: str = DEFAULT_CHIP) -> Device:
    """Open a device.

    Args:
        name: one of :func:`device_names`; "auto" takes the first kernel driver that is there, else the simulator.
        cores: how many NPU cores to use; more than one gives a :class:`~rocketnpu.device.group.DeviceGroup`.
        calls: stands in for the kernel in tests.
        chip: the chip that is simulated, where it is.

    Raises:
        DeviceError: no such name or so many cores, or the device is not there; the message says what was found.
        InputError: there is no such chip.
    """
    if name not in device_names():
        raise DeviceError(f"there is no device {name!r}; the devices are {', '.join(device_names())}")
    if name == "simulator":
        return _open_simulator(cores, chip)
    if name == "auto":
        most = max(drivers(), key=lambda driver: family_of(driver.chip).cores)
        _check_cores(cores, family_of(most.chip).cores, chip)
    reasons = []
    for driver in drivers():
        if name not in ("auto", driver.name):
            continue
        try:
            return _open_driver(driver, cores, calls)
        except DeviceError as error:
            reasons.append(str(error))
    if name == "auto":
        return _open_simulator(cores, chip)
    raise DeviceError("; ".join(dict.fromkeys(reasons)))


def _open_simulator(cores: int, chip: str) -> Device:
    _check_cores(cores, family_of(chip).cores, chip)
    return DeviceGroup(lambda _core: SimulatorDevice(chip=chip), cores) if cores > 1 else SimulatorDevice(chip=chip)


def _open_driver(driver: Driver, cores: int, calls: Calls | None) -> Device:
    _check_cores(cores, family_of(driver.chip).cores, driver.chip)
    return know(DeviceGroup(lambda core: driver.open(core, calls), cores) if cores > 1 else driver.open(0, calls))


def _check_cores(cores: int, most: int, chip: str) -> None:
    if not 1 <= cores <= most:
        raise DeviceError(f"{cores} cores were asked for, the {chip} has 1..{most}")


def local_standing(family: Family, target: Target | None = None) -> Standing:
    """Return what is known of this machine's board with a chip; nothing where it has none, or nobody asked it.

    With a ``target``, only the board's driver of that kind counts.
    """
    for driver in family.drivers:
        if target not in (None, driver.target):
            continue
        try:
            with driver.open(0, None) as device:
                return standing_of(know(device))
        except DeviceError:
            continue
    return UNASKED
