"""What one NPU core keeps between tasks: registers, look-up tables, and what lies in its convolution buffer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from rocketnpu.memory import Memory
from rocketnpu.rockchip.registers.rk3588 import BLOCKS
from rocketnpu.rockchip.simulator.arrays import Int8, Scratch
from rocketnpu.rockchip.simulator.compiled.library import Kernel, find_kernel
from rocketnpu.rockchip.simulator.compiled.workers import Workers
from rocketnpu.rockchip.simulator.registers import RegisterFile, Registers
from rocketnpu.rockchip.simulator.units.lut import LutMemory
from rocketnpu.rockchip.simulator.units.weights import StoredWeights, WeightCache

_KEPT = 4096
"""Tasks kept at most."""


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


class KeptTasks:
    """Tasks that were checked before, by the registers they were started with; the least used are forgotten.

    They hold views of memory, so all are forgotten when a buffer goes.
    """

    def __init__(self) -> None:
        self._tasks: OrderedDict[tuple[Registers, ...], object] = OrderedDict()

    def get(self, key: tuple[Registers, ...]) -> object | None:
        """Return what was put under the key."""
        found = self._tasks.get(key)
        if found is not None:
            self._tasks.move_to_end(key)
        return found

    def put(self, key: tuple[Registers, ...], task: object) -> None:
        """Keep a task."""
        self._tasks[key] = task
        if len(self._tasks) > _KEPT:
            self._tasks.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._tasks.clear()


class CoreState:
    """State of one core. Registers and buffer contents survive jobs on silicon (addendum 7.2).

    Args:
        compiled: whether convolutions may be computed by compiled code, where it can be had.
        threads: how many of them that code may use.
    """

    def __init__(self, *, compiled: bool = True, threads: int = 1) -> None:
        self._compiled = compiled
        self.workers = Workers(threads) if threads > 1 else None
        self._tasks: WeakKeyDictionary[Memory, KeptTasks] = WeakKeyDictionary()
        self.files = {unit.name: RegisterFile(unit) for unit in BLOCKS if unit.enable_bit is not None}
        self.luts = LutMemory()
        self.scratch = Scratch()
        self.weight_cache = WeightCache()
        self.features: StoredFeatures | None = None
        self.weights: BufferedWeights | None = None

    def tasks_in(self, memory: Memory) -> KeptTasks:
        """Return the tasks kept for an address space: a core works on that of each job's file in turn."""
        found = self._tasks.get(memory)
        if found is None:
            found = self._tasks[memory] = KeptTasks()
            memory.on_unmap.append(found.clear)
        return found

    @property
    def kernel(self) -> Kernel | None:
        """The compiled arithmetic, or None where NumPy is to compute."""
        return find_kernel() if self._compiled else None

    def forget_buffer(self) -> None:
        """Stop relying on the convolution buffer: another job, or another kind of task, used the core meanwhile.

        Reuse is known for consecutive tasks of one job only (addendum 7.2).
        """
        self.features = None
        self.weights = None
