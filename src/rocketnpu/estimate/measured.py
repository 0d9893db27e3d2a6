"""Times of real inferences: what was measured, on what, and the estimate beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from rocketnpu.device.machine import Machine
from rocketnpu.family import Family
from rocketnpu.pipeline import Pipeline

SIMULATOR = "simulator"


@dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    init: float
    """Reading, compiling, placing."""
    first: float
    """The first inference."""
    runs: tuple[float, ...]
    """The others, after warming up, each from its begin to its end."""
    elapsed: float
    """All of them together, from the begin of the first to the end of the last."""

    @property
    def per_second(self) -> float:
        """Inferences a second: more than one over their time where several are in flight."""
        return len(self.runs) * 1e3 / self.elapsed if self.elapsed else 0.0

    def percentile(self, share: int) -> float:
        """Return the time that so many of a hundred runs do not exceed."""
        ordered = sorted(self.runs)
        return ordered[max(ceil(len(ordered) * share / 100) - 1, 0)]

    @property
    def mean(self) -> float:
        """Mean of the runs."""
        return sum(self.runs) / len(self.runs)


def measure(
    start: Callable[[], Callable[[], object]],
    warmup_runs: int,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[], None] = lambda: None,
    in_flight: int = 1,
) -> Timings:
    """Time an inference.

    Args:
        start: makes everything ready, and returns what runs one inference.
        warmup_runs: inferences before the first that counts, the very first among them; at least 1.
        runs: inferences that count; at least 1.
        clock: seconds.
        progress: called behind each inference, from the thread that made it.
        in_flight: inferences at a time, each in a thread.
    """
    before = clock()
    run = start()
    init = clock() - before

    def timed(_: int) -> float:
        begin = clock()
        run()
        took = (clock() - begin) * 1e3
        progress()
        return took

    first = timed(0)
    with Pipeline(timed, in_flight) as pipeline:
        pipeline.gather(range(1, warmup_runs))
        before = clock()
        times = pipeline.gather(range(runs))
        elapsed = clock() - before
    return Timings(init * 1e3, first, tuple(times), elapsed * 1e3)


@dataclass(frozen=True)
class Circumstances:
    """What a measurement depends on besides the model."""

    device: str
    driver: str
    kernel: str
    clock: str
    governor: str
    cores: int


def circumstances(family: Family, device: str, cores: int, machine: Machine | None = None) -> Circumstances:
    """Look at the machine; what it does not tell is said to be unknown."""
    where = machine or Machine()
    if device == SIMULATOR:
        return Circumstances(device, "none", where.release, "the time is the simulator's", "", cores)
    driver = next((one.target for one in family.drivers if one.name == device), "unknown")
    clock = next((fact.found for fact in family.board_facts(where) if fact.name == "clock"), "unknown")
    governor = where.text("sys/devices/system/cpu/cpufreq/policy0/scaling_governor") or "unknown"
    return Circumstances(device, driver, where.release, clock, governor, cores)


def clock_mhz(text: str) -> float | None:
    """Read the clock of a board's fact ("200 MHz of at most 1000"), or None where it is unknown."""
    first = text.split()[:2]
    return float(first[0]) if len(first) == 2 and first[1] == "MHz" and first[0].isdigit() else None


def shown(timings: Timings) -> Sequence[tuple[str, float]]:
    """Return what a table shows, in milliseconds."""
    return (
        ("initialisation", timings.init),
        ("first inference", timings.first),
        ("mean", timings.mean),
        ("p50", timings.percentile(50)),
        ("p90", timings.percentile(90)),
        ("p99", timings.percentile(99)),
        ("fastest", min(timings.runs)),
    )
