"""Per-channel scales: a 14-bit multiplier for each channel, one common factor, and the error that this leaves.

The multiplier of a channel is its factor relative to the largest one, so a channel with a small scale gets few bits:
with 1/700 of the largest, 23 of 16384, 2 % off. Three means keep the output right all the same. The bias absorbs the
error in the middle of the channel's range, which leaves only its half-width; layers are cut where scales spread; and
sixteen neighbours that spread too far among themselves are computed in several passes, whose results are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.requantise import CHANNEL_ONE, Scale, encode_channels

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.bool_]
GOOD_ERROR = 0.25
"""Output steps by which channels may be off before rounding, without a cut being tried."""
MAX_ERROR = 0.7
"""Output steps by which channels may be off at all. LiteRT's own double rounding takes up to a quarter; with this much
beside it, rounded values still differ by 1 at most."""


@dataclass(frozen=True, eq=False)
class ChannelRange:
    """What the accumulator of each channel can be: bias included, and only where the output is not saturated."""

    low: Float64
    high: Float64


@dataclass(frozen=True, eq=False)
class FittedScales:
    """Multipliers and common factor for some channels, with the biases that go with them."""

    multipliers: Int64
    common: Scale
    biases: Int64
    error: float
    """Largest difference from exact arithmetic, in output steps, before the last rounding."""


def accumulator_range(weights: npt.NDArray[np.signedinteger[Any]], source_zero: int, biases: Int64) -> ChannelRange:
    """Bound the accumulator of each channel over all inputs.

    Args:
        weights: without zero point, the output channel first.
        source_zero: the input's stored zero point.
        biases: as the model has them: without the input's zero point.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    positive, negative = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    smallest, largest = -128 - source_zero, 127 - source_zero
    return ChannelRange(
        positive * smallest + negative * largest + biases, positive * largest + negative * smallest + biases
    )


def fit(factors: Float64, reach: ChannelRange, visible: tuple[float, float], biases: Int64, soc: Soc) -> FittedScales:
    """Choose multipliers, common factor and corrected biases.

    Args:
        factors: accumulator to output steps, for each channel.
        reach: what the accumulators can be.
        visible: smallest and largest output, relative to its zero point, that is not clamped.
        biases: as they are added to the accumulator.
        soc: the chip.

    Raises:
        UnsupportedError: a factor cannot be expressed.
    """
    scales = encode_channels(factors, soc)
    applied = scales.multipliers / CHANNEL_ONE * scales.common.value
    gain = applied / factors - 1
    low = np.maximum(reach.low, (visible[0] - 1) / factors)
    high = np.minimum(reach.high, (visible[1] + 1) / factors)
    seen = high >= low
    middle = np.where(seen, (low + high) / 2, 0.0)
    half = np.where(seen, (high - low) / 2, 0.0)
    shift = np.rint(-middle * gain / (1 + gain))
    left = np.abs(middle * gain + shift * (1 + gain)) + half * np.abs(gain)
    error = left * factors + 0.5 * scales.common.value
    return FittedScales(scales.multipliers, scales.common, biases + shift.astype(np.int64), float(error.max()))


@dataclass(frozen=True, eq=False)
class ScaledRange:
    """Neighbouring channels that are computed together."""

    first: int
    fitted: FittedScales
    chosen: Chosen | None = None
    """Which of them have meaningful numbers here; None for all. The others are those of another range of the same
    channels, whose results are added."""


class _Fitting:
    """A layer's channels, to be fitted range by range."""

    def __init__(
        self, factors: Float64, reach: ChannelRange, visible: tuple[float, float], biases: Int64, soc: Soc
    ) -> None:
        self.factors, self.reach, self.visible, self.biases, self.soc = factors, reach, visible, biases, soc

    def at(self, channels: npt.NDArray[np.intp]) -> FittedScales:
        part = ChannelRange(self.reach.low[channels], self.reach.high[channels])
        return fit(self.factors[channels], part, self.visible, self.biases[channels], self.soc)

    def between(self, first: int, last: int) -> FittedScales:
        return self.at(np.arange(first, last))

    def classes(self, first: int, last: int) -> list[ScaledRange]:
        """Sort the channels of a range into classes of like factors, the largest first, each good enough alone."""
        channels = np.arange(first, last)
        order = channels[np.argsort(-self.factors[channels], kind="stable")]
        found: list[ScaledRange] = []
        while len(order):
            # A class that holds more than one that is too uneven is too uneven itself: the error grows with the spread.
            count = max(n for n in range(1, len(order) + 1) if n == 1 or self.at(order[:n]).error <= GOOD_ERROR)
            chosen = np.isin(channels, order[:count])
            found.append(ScaledRange(first, self._spread(channels, chosen), chosen))
            order = order[count:]
        return found

    def _spread(self, channels: npt.NDArray[np.intp], chosen: Chosen) -> FittedScales:
        """Return the numbers of the chosen ones of some channels; the others get none that matter."""
        fitted = self.at(channels[chosen])
        multipliers, biases = np.ones(len(channels), np.int64), np.zeros(len(channels), np.int64)
        multipliers[chosen], biases[chosen] = fitted.multipliers, fitted.biases
        return FittedScales(multipliers, fitted.common, biases, fitted.error)


def cut_channels(
    factors: Float64, reach: ChannelRange, visible: tuple[float, float], biases: Int64, soc: Soc
) -> list[ScaledRange]:
    """Fit scales, cutting the channels into ranges that start at multiples of 16 where one range is not good enough.

    Sixteen neighbours lie in one pixel, so they are written together. Where their own factors spread too far they are
    computed several times, each time with the common factor of some, and the results are added.

    Returns:
        The ranges, in the order of their channels.

    Raises:
        UnsupportedError: a channel is off by more than :data:`MAX_ERROR` even alone.
    """
    fitting = _Fitting(factors, reach, visible, biases, soc)
    whole = fitting.between(0, len(factors))
    if whole.error <= GOOD_ERROR:
        return [ScaledRange(0, whole)]
    ranges: list[ScaledRange] = []
    for first in range(0, len(factors), soc.slot):
        last = min(first + soc.slot, len(factors))
        if ranges:
            joined = fitting.between(ranges[-1].first, last)
            if joined.error <= GOOD_ERROR:
                ranges[-1] = ScaledRange(ranges[-1].first, joined)
                continue
        ranges.append(ScaledRange(first, fitting.between(first, last)))
    found: list[ScaledRange] = []
    for part in ranges:
        last = part.first + len(part.fitted.biases)
        found += [part] if part.fitted.error <= MAX_ERROR else fitting.classes(part.first, last)
    return found
