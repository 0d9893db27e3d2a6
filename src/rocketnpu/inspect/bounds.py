"""How far an operator may be from the reference kernels, given the same inputs: each chip states it."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.family import Family


@dataclass(frozen=True)
class Bound:
    """A stated bound."""

    steps: int
    """Steps of the output tensor."""
    reason: str


SAME_MEMORY = Bound(0, "nothing is computed")


def stated_bounds(family: Family) -> dict[str, str]:
    """Return in words how far each kind of operator may be from the reference, for every kind that the NPU takes."""
    words = {}
    for operator in family.published():
        bound = family.bound_of_kind(operator.kind)
        words[operator.kind] = (
            f"at most {bound.steps}, for {bound.reason}" if bound.steps else f"none, for {bound.reason}"
        )
    return words
