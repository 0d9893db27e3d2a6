"""What a user allows: which chip and driver will run the program, and whether unproven hardware rules may be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rocketnpu.family import DEFAULT_CHIP

Target = Literal["simulator", "mainline", "vendor"]


@dataclass(frozen=True)
class Policy:
    """How to divide a network between NPU and CPU."""

    target: Target = "simulator"
    """Who runs the program. A task of the pooling unit alone never ends under the mainline kernel (addendum 4.6)."""
    allow_unproven: bool = True
    """Whether rules may be used whose only evidence is an assumption; always sensible on the simulator."""
    minimum_macs: int = 0
    """Parts with fewer multiply-accumulates are left to the CPU, for handing them over would cost more."""
    chip: str = DEFAULT_CHIP
    """Name of the chip, one of :func:`rocketnpu.family.chips`."""
