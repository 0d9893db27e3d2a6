"""What one task moves and computes, and how many NPU clock cycles that takes.

The serial model fits 170 measured layers of three boards to 8 %: features are loaded, then the slowest of
multiplication, output stages, store and weight stream goes on (timing 5)::

    convolution = load / read + max(multiply, values / output, store / write, weights / read)
    pass        = max(values / output, (load + store) / copy)
    pooling     = max(values / pool, (load + store) / copy)

It knows neither registers nor descriptions of tasks: both are turned into :class:`Work`, which can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil

from rocketnpu.rockchip.timing.rates import Rates


class Kind(Enum):
    """Which units a task starts."""

    CONVOLUTION = "convolution"
    PASS = "pass"
    """DPU alone: a map is read, changed value by value, and written."""
    POOLING = "pooling"


@dataclass(frozen=True, slots=True)
class Work:
    """What a task does, in bytes, values and cycles of the MAC array."""

    kind: Kind
    features: int
    """Bytes of the input."""
    operand: int = 0
    """Bytes of a second input map, for element-wise operators."""
    first_weights: int = 0
    """Bytes of weights without which no multiplication starts: the first kernel group."""
    weights: int = 0
    """Bytes of the other weights, which arrive while the first are used."""
    multiply: int = 0
    """Cycles of the MAC array."""
    values: int = 0
    """Values that pass the output stages, padding lanes included; of a pooling task its input values."""
    lookup: bool = False
    """Whether values go through the look-up tables."""
    stored: int = 0
    """Bytes written."""

    @property
    def read(self) -> int:
        """Bytes read in all."""
        return self.features + self.operand + self.first_weights + self.weights

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.stored


@dataclass(frozen=True, slots=True)
class Cycles:
    """The parts of a task's time in cycles. What goes on at once is not added up, see :attr:`total`."""

    load: int
    multiply: int
    output: int
    store: int
    weights: int
    copy: int = 0
    """Of a task without multiplication: reading and writing over the one port."""

    @property
    def overlapped(self) -> dict[str, int]:
        """Parts that go on at the same time."""
        parts = {"multiply": self.multiply, "output": self.output, "store": self.store, "weights": self.weights}
        return {**parts, "copy": self.copy}

    @property
    def total(self) -> int:
        """Cycles from the task's start to its end."""
        return self.load + max(self.overlapped.values())

    @property
    def hidden_load(self) -> int:
        """Cycles that would be saved if features arrived while earlier rows are multiplied, as far as they can.

        How much of this the silicon does is not known: measurements say "little to half" (timing 0, finding 3).
        """
        return min(self.load, max(self.overlapped.values()))

    @property
    def bound_by(self) -> str:
        """Name of the part that takes longest: what to make smaller."""
        parts = {"load": self.load, **self.overlapped}
        return max(parts, key=lambda name: parts[name])


def cycles(work: Work, rates: Rates) -> Cycles:
    """Estimate a task's cycles at some rates."""
    output = ceil(work.values / (rates.lookup if work.lookup else rates.output))
    if work.kind is Kind.CONVOLUTION:
        store = work.stored / rates.write
        # Stores and weights share the memory with each other, and with those of other cores.
        shared = (work.stored + work.weights) / rates.memory
        return Cycles(
            load=ceil((work.features + work.operand + work.first_weights) / rates.read),
            multiply=work.multiply,
            output=output,
            store=ceil(max(store, shared) if work.stored else 0),
            weights=ceil(work.weights / rates.read),
        )
    if work.kind is Kind.POOLING:
        output = ceil(work.values / rates.pool)
    return Cycles(0, 0, output, 0, 0, copy=ceil(work.moved / min(rates.copy, rates.memory)))


def multiply_cycles(pixels: int, taps: int, blocks: int) -> int:
    """Return the cycles of the MAC array by the vendor's own formula, exact for 191 of 191 rows of its profiles.

    Args:
        pixels: output pixels; they are computed 16 at a time (timing 4.1).
        taps: positions of the kernel's window.
        blocks: pairs of input and output channel groups, or groups of channels where each has its own kernel.
    """
    return -(-pixels // PIXEL_BLOCK) * PIXEL_BLOCK * taps * blocks


PIXEL_BLOCK = 16
"""Output pixels of a task are computed in multiples of this (191 of 191 rows of the vendor's estimate; timing 4.1)."""
