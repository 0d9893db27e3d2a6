"""Which board this is: the key under which what was proven on it is kept."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Self

from rocketnpu.device.around import board_of
from rocketnpu.device.base import Device
from rocketnpu.device.calls import is_emulated
from rocketnpu.device.group import cores_of
from rocketnpu.device.kernel import KernelDevice
from rocketnpu.device.machine import Machine
from rocketnpu.errors import InputError

BOARD, EMULATED, VIRTUAL = "board", "emulated", "virtual"


@dataclass(frozen=True)
class Identity:
    """A chip behind one version of one driver in one kernel. What was proven holds for exactly that."""

    chip: str
    driver: str
    version: str
    """The driver's, as it tells it; mainline drivers often say 0.0.0."""
    kernel: str
    """Release of the kernel."""
    kind: str
    """``board``; ``emulated`` for a node of ours; ``virtual`` where a driver has no board with its chip around it."""

    @property
    def key(self) -> str:
        """A name for files, distinct for distinct identities."""
        parts = (self.kind, self.chip, self.driver, self.version, self.kernel)
        return "_".join(re.sub(r"[^A-Za-z0-9.+-]", "-", part) for part in parts)

    def __str__(self) -> str:
        return f"{self.chip} ({self.kind}), driver {self.driver} {self.version}, Linux {self.kernel}"

    @property
    def document(self) -> dict[str, str]:
        """Its parts, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Any) -> Self:
        """Read its parts back.

        Raises:
            InputError: one is missing or no text.
        """
        names = ("chip", "driver", "version", "kernel", "kind")
        if not isinstance(document, dict) or not all(isinstance(document.get(name), str) for name in names):
            raise InputError(f"the board's description lacks one of {', '.join(names)}")
        return cls(*(document[name] for name in names))


def identify(device: Device, machine: Machine | None = None) -> Identity | None:
    """Return which board an open device belongs to; None for the simulator.

    Raises:
        DeviceError: the device is closed.
    """
    first = cores_of(device)[0]
    if not isinstance(first, KernelDevice):
        return None
    where = machine or Machine()
    kind = EMULATED
    if not is_emulated(first.calls):
        kind = BOARD if board_of(where) is not None else VIRTUAL
    return Identity(first.chip, first.name, first.driver_version(), where.release, kind)
