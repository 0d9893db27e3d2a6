"""What was proven and refuted on the board behind a device, and the policy that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rocketnpu.device.base import Device
from rocketnpu.family import family_of
from rocketnpu.policy import Policy, Target


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


def policy_of(
    device: Device, *, allow_unproven: bool = False, minimum_macs: int = 0, target: Target | None = None
) -> Policy:
    """Return the rules of a device: proven ones of its chip and of its very board, others only where allowed.

    The simulator may do what nobody has proven, unless it is to run just what a board would.

    Args:
        device: an open device.
        allow_unproven: whether rules may be used that nobody has proven.
        minimum_macs: see :class:`~rocketnpu.policy.Policy`.
        target: on the simulator, the driver whose programs it runs; a kernel driver's device always runs its own.
    """
    own = family_of(device.chip).target_of(device.name)
    if own == "simulator" and target is not None:
        own = target
    standing = standing_of(device)
    return Policy(
        own,
        allow_unproven or own == "simulator",
        minimum_macs,
        device.chip,
        proven=frozenset(standing.proven),
        refuted=frozenset(standing.refuted),
    )
