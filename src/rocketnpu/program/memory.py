"""Give every region of memory a buffer and an offset; regions whose lives do not meet share scratch memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rocketnpu.program.program import Role

ALIGNMENT = 64
"""Bytes. The hardware asks for 16 (TRM); a cache line keeps the vendor's rounding to 4 pixels (addendum 7.6)."""
REUSE_DISTANCE = 2
"""Tasks that must lie between the last use of scratch memory and its next: a relative of this chip was seen to read
stale data otherwise (addendum 8.5)."""


@dataclass(frozen=True, slots=True)
class Region:
    """A named piece of memory, its size, and the first and last task that touch it."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a region lies: buffer number and offset."""

    buffer: int
    offset: int


@dataclass(frozen=True, eq=False)
class MemoryPlan:
    """Sizes of the buffers, and the slot of each region."""

    roles: tuple[tuple[str, Role, int], ...]
    """Name, role and size of each feature buffer, in the order of their numbers."""
    slots: Mapping[str, Slot]


def plan_memory(
    regions: Sequence[Region], inputs: Iterable[str], outputs: Iterable[str], first_buffer: int
) -> MemoryPlan:
    """Place regions: each input and output in a buffer of its own, everything else in one scratch buffer.

    Args:
        regions: all regions that tasks touch.
        inputs: names of regions that the host fills.
        outputs: names of regions that the host reads; one that is also an input counts as output.
        first_buffer: number of the first buffer made here.
    """
    known = {region.name: region for region in regions}
    slots: dict[str, Slot] = {}
    roles: list[tuple[str, Role, int]] = []
    returned = list(dict.fromkeys(outputs))
    for names, role in ((dict.fromkeys(inputs), Role.INPUT), (returned, Role.OUTPUT)):
        for name in names:
            if name in slots or (role is Role.INPUT and name in returned):
                continue
            slots[name] = Slot(first_buffer + len(roles), 0)
            roles.append((name, role, known[name].size))
    scratch = [region for region in regions if region.name not in slots]
    if scratch:
        offsets, size = _share(scratch)
        number = first_buffer + len(roles)
        roles.append(("scratch", Role.SCRATCH, size))
        slots.update({name: Slot(number, offset) for name, offset in offsets.items()})
    return MemoryPlan(tuple(roles), slots)


def _share(regions: Sequence[Region]) -> tuple[dict[str, int], int]:
    """Place regions in one buffer, the largest first, each at the lowest offset that its contemporaries leave free."""
    placed: list[tuple[Region, int]] = []
    for region in sorted(regions, key=lambda region: (-region.size, region.first)):
        busy = sorted((offset, other.size) for other, offset in placed if _meet(region, other))
        offset = 0
        for start, size in busy:
            if offset + region.size <= start:
                break
            offset = max(offset, _aligned(start + size))
        placed.append((region, offset))
    return {region.name: offset for region, offset in placed}, max(offset + r.size for r, offset in placed)


def _meet(one: Region, other: Region) -> bool:
    return one.first <= other.last + REUSE_DISTANCE and other.first <= one.last + REUSE_DISTANCE


def _aligned(value: int) -> int:
    return -(-value // ALIGNMENT) * ALIGNMENT
