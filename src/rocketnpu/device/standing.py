"""What was proven and refuted on the board behind a device, and the policy that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rocketnpu.device.base import Device
from rocketnpu.family import family_of
from rocketnpu.policy import Policy


@dataclass(frozen=True)
class Standing:
    """Hardware rules by name, each with when it was found so, in words."""

    proven: Mapping[str, str] = field(default_factory=dict)
    refuted: Mapping[str, str] = field(default_factory=dict)
    """Rules that do not hold there, or whose programs hang."""


UNASKED = Standing()


def standing_of(device: Device) -> Standing:
    """Return what is known of the board behind a device; nothing of the simulator, or of a board that nobody asked."""
    found = getattr(device, "standing", UNASKED)
    return found if isinstance(found, Standing) else UNASKED


def policy_of(device: Device, *, allow_unproven: bool = False, minimum_macs: int = 0) -> Policy:
    """Return the rules of a device: proven ones of its chip and of its very board, others only where allowed.

    The simulator may do what nobody has proven.
    """
    target = family_of(device.chip).target_of(device.name)
    standing = standing_of(device)
    return Policy(
        target,
        allow_unproven or target == "simulator",
        minimum_macs,
        device.chip,
        frozenset(standing.proven),
        frozenset(standing.refuted),
    )
