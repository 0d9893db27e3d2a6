"""How far an operator may be from the reference kernels, given the same inputs: each chip states it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A stated bound."""

    steps: int
    """Steps of the output tensor."""
    reason: str


SAME_MEMORY = Bound(0, "nothing is computed")
