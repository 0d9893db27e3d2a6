"""Trials of the EW stage behind a convolution, and of the pooling unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rocketnpu.policy import Target
from rocketnpu.proofs.trial import RULE, Hazard, Trial
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.proofs.bench import UNIT, Bench
from rocketnpu.rockchip.proofs.numbers import Int64, floored, half_away, half_even, half_up
from rocketnpu.rockchip.proofs.values import CHANNELS, spread
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import PoolingLayer, pooling_tasks
from rocketnpu.rockchip.tasks.task import Combine, Elementwise, Rows

OFFSET = 5
"""What the operand's converter adds."""


def _pair(low: int, high: int) -> tuple[Int64, Int64]:
    x = spread(low, high)
    return x, np.roll(x, 7, axis=2)[::-1].copy()


def _operand(bench: Bench, values: Int64, combine: Combine, offset: int = OFFSET) -> Elementwise:
    feature = bench.source(values)
    return Elementwise(combine, Rows(feature, 0, feature.height), offset, 1, 0)


def rectified(soc: Soc) -> Iterator[Trial]:
    """Where EW's ReLU works."""
    bench, (a, b) = Bench(soc), _pair(-50, 50)
    answers = {
        RULE: np.maximum(a + b, 0),
        "no ReLU": a + b,
        "in front of the sum": np.maximum(a, 0) + b,
        "on the operand": a + np.maximum(b, 0),
    }
    layer = bench.identity(a, Requantise(UNIT, relu=True), addend=_operand(bench, b, Combine.ADD, 0))
    yield bench.trial(Unproven.ELEMENTWISE_RELU, "a sum", [bench.tasks(layer)], answers)


def extremes(soc: Soc) -> Iterator[Trial]:
    """The larger and the smaller of two values."""
    a, b = _pair(-50, 50)
    found = {
        Combine.MAXIMUM: np.maximum(a, b + OFFSET),
        Combine.MINIMUM: np.minimum(a, b + OFFSET),
    }
    for combine, other in ((Combine.MAXIMUM, Combine.MINIMUM), (Combine.MINIMUM, Combine.MAXIMUM)):
        bench, choose = Bench(soc), np.maximum if combine is Combine.MAXIMUM else np.minimum
        answers = {
            RULE: found[combine],
            f"the {other.value}": found[other],
            "the sum": a + b + OFFSET,
            "the operand is not converted": choose(a, b),
        }
        layer = bench.identity(a, addend=_operand(bench, b, combine))
        yield bench.trial(Unproven.ELEMENTWISE_MAXIMUM, combine.value, [bench.tasks(layer)], answers)


def products(soc: Soc) -> Iterator[Trial]:
    """The product of two values."""
    bench, (a, b) = Bench(soc), _pair(-7, 7)
    answers = {
        RULE: a * (b + OFFSET),
        "the sum": a + b + OFFSET,
        "the operand is not converted": a * b,
    }
    layer = bench.identity(a, addend=_operand(bench, b, Combine.MULTIPLY))
    yield bench.trial(Unproven.ELEMENTWISE_MULTIPLY, "small values", [bench.tasks(layer)], answers)


def channel_factors(soc: Soc) -> Iterator[Trial]:
    """One factor a channel, the same for every pixel."""
    bench, x = Bench(soc), spread(-15, 15)
    stored = spread(-7, 7, (*x.shape[:2], CHANNELS))[::-1].copy()
    whole = bench.source(stored)
    surfaces = CHANNELS // soc.slot
    # The vector is the beginning of a map that the engine would read if it took a value for each pixel.
    lanes = stored.reshape(-1, surfaces, soc.slot)[:surfaces, 0].reshape(-1)
    vector = FeatureMap(whole.at, 1, 1, CHANNELS, soc.slot, soc.slot)
    operand = replace(_operand(bench, stored, Combine.MULTIPLY, 0), operand=Rows(vector, 0, 1), per_channel=True)
    answers = {
        RULE: x * lanes,
        "a value for each pixel": x * stored,
        "the first 16 for all": x * np.tile(lanes[: soc.slot], surfaces),
    }
    layer = bench.identity(x, addend=operand)
    yield bench.trial(
        Unproven.OPERAND_PER_CHANNEL,
        "factors",
        [bench.tasks(layer)],
        answers,
        needs=(Unproven.ELEMENTWISE_MULTIPLY,),
    )


def _windows(padded: Int64, size: tuple[int, int]) -> Int64:
    rows, columns = size
    return np.stack([padded[y : y + 2 * rows - 1 : 2, x : x + 2 * columns - 1 : 2] for y in range(2) for x in range(2)])


def pooled(soc: Soc) -> Iterator[Trial]:
    """The pooling unit on bytes: the largest, and the mean, of windows of 2x2."""
    x = spread(-128, 127, (6, 8, CHANNELS))
    size = (4, 4)
    shifted = np.full((8, 8, CHANNELS), -128, np.int64)
    shifted[1:7] = x
    bench = Bench(soc)
    layer = PoolingLayer(0, "trial", bench.source(x), bench.result(*size, CHANNELS), (2, 2), (2, 2), (1, 0), -128)
    seen = _windows(shifted, size)
    unsigned = (seen & 0xFF).max(0)
    zeros = np.where(np.arange(8)[:, None, None] % 7 == 0, 0, shifted)
    answers = {
        RULE: seen.max(0),
        "bytes without sign": np.where(unsigned > 127, unsigned - 256, unsigned),
        "padding of zero": _windows(zeros, size).max(0),
    }
    targets: tuple[Target, ...] = ("simulator", "vendor")
    yield bench.trial(
        Unproven.POOLING_UNIT,
        "largest of 2x2",
        [pooling_tasks(layer)],
        answers,
        hazard=Hazard.MAY_TIME_OUT,
        targets=targets,
    )
    bench = Bench(soc)
    layer = PoolingLayer(0, "trial", bench.source(x), bench.result(3, 4, CHANNELS), (2, 2), (2, 2), (0, 0), 0)
    sums = _windows(x, (3, 4)).sum(0)
    rounded = {RULE: half_even, "half up": half_up, "half away from zero": half_away, "floored": floored}
    yield bench.trial(
        "pooling-average",
        "means of 2x2",
        [pooling_tasks(layer)],
        {name: divide(sums, 2) for name, divide in rounded.items()},
        changes={
            "PPU.OPERATION_MODE_CFG": {"POOLING_METHOD": 0},
            "PPU.RECIP_KERNEL_WIDTH": {"RECIP_KERNEL_WIDTH": 1 << 15},
            "PPU.RECIP_KERNEL_HEIGHT": {"RECIP_KERNEL_HEIGHT": 1 << 15},
        },
        hazard=Hazard.MAY_TIME_OUT,
        targets=targets,
        needs=(Unproven.POOLING_UNIT,),
    )
