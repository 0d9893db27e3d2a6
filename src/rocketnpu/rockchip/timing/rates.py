"""What the units of one core do in a clock cycle, and how far estimates made with it are off.

Nothing here is a measurement of ours: ``benchmarks/fit_timing.py`` fits the rates to published profiles and prints the
errors, those of layers and networks that it did not see among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes or values in an NPU clock cycle, of one core. They hold at any clock: the port to memory shares it."""

    name: str
    read: float
    """Bytes read (fit: 10.7 to 11 to layers, 12 to 13 to networks; timing 4.2)."""
    write: float
    """Bytes written (fit; timing 4.2)."""
    output: float
    """Values through the output stages (8 in the vendor's estimate; 5.35 is the layers' fit; timing 4.2)."""
    lookup: float
    """The same behind look-up tables (fit to 66 layers; timing 4.2)."""
    pool: float
    """Input values of the pooling unit (two public profiles; timing 4.2)."""
    copy: float
    """Bytes read and written together by a task that only passes values on (timing 4.2)."""
    memory: float = float("inf")
    """Bytes that memory gives this core, read and written together."""

    def shared(self, cores: int, clock_hz: int, memory_bytes: float) -> Rates:
        """Return what each of ``cores`` gets that are busy at once.

        Args:
            cores: how many work at the same time.
            clock_hz: NPU clock.
            memory_bytes: bytes a second that memory gives all of them together.
        """
        share = memory_bytes / (cores * clock_hz)
        return replace(self, read=min(self.read, share), write=min(self.write, share), memory=share)


@dataclass(frozen=True, slots=True)
class Spread:
    """How estimates compare with measurements: true time / estimated time, at the 10th and 90th percentile."""

    low: float
    high: float
    what: str
    """Which comparisons it is taken from."""


NETWORK_FIT = Rates("network", read=12.0, write=6.0, output=8.0, lookup=2.0, pool=1.8, copy=11.0)
"""Adjusted to the published times of six networks, 7.2 % off in the mean, 9.8 % for a network left out (timing 5).
Output stages at 8 values a cycle were chosen after a look at those six."""
ROW_FIT = Rates("row", read=10.8, write=5.4, output=5.35, lookup=2.05, pool=1.8, copy=11.0)
"""Fitted to single layers alone, before any network was looked at: 13 % off for the six networks (timing 5)."""
MEMORY_BYTES = 23.65e9
"""Bytes a second that LPDDR4X-4224 gives all cores together: 0.70 of its peak (vendor's estimate; 22.5 to 24.6 GB/s by
three-core decoding of language models; timing 4.2)."""
