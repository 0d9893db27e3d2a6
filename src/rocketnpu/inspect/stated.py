"""The stated bounds of a chip in words."""

from __future__ import annotations

from rocketnpu.family import Family


def stated_bounds(family: Family) -> dict[str, str]:
    """Return in words how far each kind of operator may be from the reference, for every kind that the NPU takes."""
    words = {}
    for operator in family.published():
        bound = family.bound_of_kind(operator.kind)
        words[operator.kind] = (
            f"at most {bound.steps}, for {bound.reason}" if bound.steps else f"none, for {bound.reason}"
        )
    return words
