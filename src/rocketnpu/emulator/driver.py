"""Kernel drivers that the emulated node can be, by the chip that they drive."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from importlib import import_module

from rocketnpu.emulator.drm_file import DrmFile, Limits
from rocketnpu.emulator.jobs import AnyCore, CorePool, QueuedJob
from rocketnpu.errors import InputError

_DRIVERS = {
    "rk3588": "rocketnpu.rockchip.drivers.emulated:ROCKET",
    "a311d": "rocketnpu.verisilicon.drivers.emulated:ETNAVIV_A311D",
    "imx8mp": "rocketnpu.verisilicon.drivers.emulated:ETNAVIV_IMX8MP",
}
"""Where each chip's driver is defined; it is imported when it is first asked for."""


class KernelDriver(abc.ABC):
    """What stands behind an emulated node."""

    name: str
    """As DRM_IOCTL_VERSION reports it; the shim knows its calls by it."""
    node: str
    """Path of the device node in the program under test."""

    @abc.abstractmethod
    def cores(self, report: Callable[[str], None]) -> Sequence[AnyCore]:
        """Return the chip's simulated cores; ``report`` is told of results that would be wrong on silicon."""

    @abc.abstractmethod
    def open(self, pool: CorePool, limits: Limits, observe: Callable[[DrmFile, QueuedJob], None]) -> DrmFile:
        """Return the state of a newly opened file."""


def emulated_chips() -> tuple[str, ...]:
    """Return the chips whose node can be emulated."""
    return tuple(_DRIVERS)


def driver_of(chip: str) -> KernelDriver:
    """Return the driver of a chip.

    Raises:
        InputError: there is none; the message lists the chips.
    """
    if chip not in _DRIVERS:
        raise InputError(f"there is no emulated node of a chip {chip!r}; the chips are {', '.join(_DRIVERS)}")
    module, _, name = _DRIVERS[chip].partition(":")
    found: KernelDriver = getattr(import_module(module), name)
    return found
