"""What a task runs in: its core's state, the memory, the chip, and the verdicts on what it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.core_state import CoreState
from rocketnpu.rockchip.soc import Soc


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that the units of one task share."""

    state: CoreState
    memory: Memory
    soc: Soc
    checks: Checks
