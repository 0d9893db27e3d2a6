"""What operators become on a chip, counted for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorWork:
    """What one operator becomes on a chip."""

    tasks: int
    banks: str
    """Shares of the chip's buffer in the first task, in the chip's own words."""
    weight_bytes: int
    us: float = 0.0
    """Estimated microseconds, starts of tasks included; 0 where there is no timing model of the chip."""


@dataclass(frozen=True)
class PartWork:
    """What a part becomes on a chip."""

    operators: Mapping[int, OperatorWork]
    """By the operator's number; those that compute nothing are absent."""
    rules: frozenset[str]
    """Names of the hardware rules that it relies on."""
