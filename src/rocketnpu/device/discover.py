"""Choosing a device by name."""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.device.base import Device
from rocketnpu.device.calls import Calls
from rocketnpu.device.group import DeviceGroup
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.rockchip.soc import RK3588

NAMES = ("auto", "simulator", "rocket", "rknpu")
"""What :func:`open_device` understands."""


def open_device(name: str = "auto", *, cores: int = 1, calls: Calls | None = None) -> Device:
    """Open a device.

    Args:
        name: one of :data:`NAMES`; "auto" takes the mainline driver's node, else the vendor's, else the simulator.
        cores: how many NPU cores to use; more than one gives a :class:`~rocketnpu.device.group.DeviceGroup`.
        calls: stands in for the kernel in tests.

    Raises:
        DeviceError: no such name or so many cores, or the device is not there; the message says what was found.
    """
    if name not in NAMES:
        raise DeviceError(f"there is no device {name!r}; the devices are {', '.join(NAMES)}")
    if not 1 <= cores <= RK3588.cores:
        raise DeviceError(f"{cores} cores were asked for, the {RK3588.name} has 1..{RK3588.cores}")
    if name != "auto":
        return _open(name, cores, calls)
    for kernel in ("rocket", "rknpu"):
        try:
            return _open(kernel, cores, calls)
        except DeviceError:
            continue
    return _open("simulator", cores, calls)


def _open(name: str, cores: int, calls: Calls | None) -> Device:
    makers: dict[str, Callable[[int], Device]] = {
        "simulator": lambda _core: SimulatorDevice(),
        "rocket": lambda _core: RocketDevice(calls=calls),
        "rknpu": lambda core: RknpuDevice(core=core, calls=calls),
    }
    return DeviceGroup(makers[name], cores) if cores > 1 else makers[name](0)
