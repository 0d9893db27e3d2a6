"""What a user allows: which chip and driver will run the program, and whether unproven hardware rules may be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rocketnpu.evidence import HardwareRule
from rocketnpu.partition.rates import PUBLISHED, Rates

DEFAULT_CHIP = "rk3588"
"""The chip that is compiled for where neither a device nor the user names one."""
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
    proven: frozenset[str] = frozenset()
    """Names of rules that were proven on the very board that will run the program."""
    refuted: frozenset[str] = frozenset()
    """Names of rules that were refuted there, or hang it."""
    weighs: bool = False
    """Whether a part stays on the CPU where that is estimated to be faster, cuts included
    (:mod:`rocketnpu.estimate.price`); of no effect on the simulator."""

    rates: Rates = PUBLISHED
    """What estimated times rest on where parts are weighed."""

    def allows(self, rule: HardwareRule) -> bool:
        """Say whether a program may rely on a rule.

        A rule that the board refuted never; one that is proven, on this chip or on this board, always. An unproven rule
        needs the user's permission, and if it may hang a board not even that will do: there it must be proven first.
        """
        if rule.name in self.refuted:
            return False
        if rule.is_proven_for(self.target) or rule.name in self.proven:
            return True
        return self.allow_unproven and (not rule.hangs or self.target == "simulator")
