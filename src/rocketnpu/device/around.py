"""Which chip is around: told by the machine's device tree."""

from __future__ import annotations

from rocketnpu.device.machine import Machine
from rocketnpu.family import Family, chips, family_of


def board_of(machine: Machine) -> Family | None:
    """Return the family of the machine's chip, by its device tree; None where it is none that is known here."""
    compatible = set(machine.text("proc/device-tree/compatible").split())
    return next((family for family in map(family_of, chips()) if compatible.intersection(family.compatibles)), None)
