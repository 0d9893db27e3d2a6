"""What a coefficient stream holds once it is read, and what must be known to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
STREAM_ALIGNMENT = 64
"""Headers and core streams begin at multiples of this (facts 5, 6)."""
MAX_WEIGHTS = 1 << 26
"""Weights of one instruction beyond which it is refused: those of the largest networks have fewer in all, and reading
them takes thirteen bytes each."""


@dataclass(frozen=True, slots=True)
class KernelShape:
    """What the instruction says of its kernels."""

    kernels: int
    channels: int
    """Input channels of a kernel; 1 where each kernel has a channel of its own (``depthwise``)."""
    rows: int
    columns: int
    per_core: int
    """Kernels that a core handles in one superblock; the last has the rest."""
    zero_point: int
    depthwise: bool
    cores: int
    """NN cores of the chip."""

    @property
    def weights(self) -> int:
        """Weights of a kernel."""
        return self.channels * self.rows * self.columns

    @property
    def used(self) -> int:
        """Cores that have kernels at all."""
        return min(self.kernels, self.cores)

    @property
    def is_pointwise(self) -> bool:
        """Whether a kernel is one pixel large."""
        return self.rows == self.columns == 1


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Kernels in the order in which the cores hold them."""

    weights: Bytes
    """As stored, ``(kernels, channels, rows, columns)``."""
    biases: Int64
    """As stored: what each generation has folded into them differs."""
    places: Int64
    """Generation 7: byte offset of each kernel's output plane. Generation 8: its number."""
    zero_run_bits: tuple[int, ...]
    """Generation 7: width of the runs in each core's stream; empty for generation 8."""
    stream_bytes: tuple[int, ...]
    """Bytes of each core's stream."""
    size: int
    """Bytes of the whole buffer, as far as it was read."""


def refuse(message: str) -> NoReturn:
    """Give up reading.

    Raises:
        SimulationError: always.
    """
    raise SimulationError(message, unit="NN", register="COEFFICIENTS")


def superblocks(kernels: int, per_core: int) -> list[int]:
    """Return how many kernels each superblock of one core has."""
    full, rest = divmod(kernels, per_core)
    return [per_core] * full + ([rest] if rest else [])
