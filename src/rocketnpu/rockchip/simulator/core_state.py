"""What one NPU core keeps between tasks: registers, look-up tables, and what lies in its convolution buffer."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.rockchip.registers.rk3588 import BLOCKS
from rocketnpu.rockchip.simulator.arrays import Int8, Scratch
from rocketnpu.rockchip.simulator.registers import RegisterFile
from rocketnpu.rockchip.simulator.units.lut import LutMemory
from rocketnpu.rockchip.simulator.units.weights import StoredWeights, WeightCache


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Input features as the last convolution fetched them: [rows, columns, channels]. Padding is no part of them."""

    data: Int8
    packed: int
    split: tuple[int, int]
    """Banks of features and of weights."""


@dataclass(frozen=True, slots=True)
class BufferedWeights:
    """Weights as the last convolution left them in the buffer."""

    stored: StoredWeights
    split: tuple[int, int]
    """Banks of features and of weights."""


class CoreState:
    """State of one core. Registers and buffer contents survive jobs on silicon (addendum 7.2)."""

    def __init__(self) -> None:
        self.files = {unit.name: RegisterFile(unit) for unit in BLOCKS if unit.enable_bit is not None}
        self.luts = LutMemory()
        self.scratch = Scratch()
        self.weight_cache = WeightCache()
        self.features: StoredFeatures | None = None
        self.weights: BufferedWeights | None = None

    def forget_buffer(self) -> None:
        """Stop relying on the convolution buffer: another job, or another kind of task, used the core meanwhile.

        Reuse is known for consecutive tasks of one job only (addendum 7.2).
        """
        self.features = None
        self.weights = None
