"""The DPU's arithmetic: BS, BN, EW and the output converter, each working in place on float64 blocks [pixels, lanes].

Blocks hold exact integers (see :mod:`rocketnpu.rockchip.simulator.rounding`). Each stage saturates to int32 (NVDLA's
order; addendum 1.1); where a bound on the magnitude proves that it cannot, the pass over the data is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Float64, Int64
from rocketnpu.rockchip.simulator.rounding import (
    INT32_MAX,
    INT32_MIN,
    clip_in_place,
    factor,
    round_in_place,
    scale_in_place,
    shift_half_even,
)
from rocketnpu.rockchip.simulator.units.dpu_config import (
    ADD,
    EW_ABS,
    EW_ADD,
    EW_MAX,
    EW_MIN,
    EW_MINUS,
    EW_NEG,
    ElementStage,
    OutputConverter,
    ScaleStage,
)
from rocketnpu.rockchip.simulator.units.lut import lookup
from rocketnpu.rockchip.simulator.units.rdma import ChannelOperands, PixelSource


class Step(Protocol):
    """Something that works on blocks in place."""

    def __call__(self, block: Float64, start: int, stop: int) -> None:
        """Work on a block: output rows ``start..stop-1``."""


@dataclass(frozen=True, slots=True)
class Add:
    """Add to each channel its value; one for all may be given."""

    values: Float64

    def __call__(self, block: Float64, start: int, stop: int) -> None:
        """Work on a block."""
        np.add(block, self.values, out=block)


@dataclass(frozen=True, slots=True)
class Clip:
    """Saturate."""

    low: int
    high: int

    def __call__(self, block: Float64, start: int, stop: int) -> None:
        """Work on a block."""
        clip_in_place(block, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply each channel by its factor, negative values by one of their own, and round."""

    positive: Float64
    negative: Float64
    half_away: bool = False

    def __call__(self, block: Float64, start: int, stop: int) -> None:
        """Work on a block."""
        same = self.positive is self.negative
        np.multiply(block, self.positive if same else np.where(block < 0, self.negative, self.positive), out=block)
        round_in_place(block, half_away=self.half_away)


@dataclass(slots=True)
class Pipeline:
    """Steps in order, and a bound on the magnitude of what has passed them."""

    steps: list[Step]
    bound: int

    def saturate(self, bound: int) -> None:
        """Record the bound after a step, saturating to int32 if it may be exceeded."""
        if bound > INT32_MAX:
            self.steps.append(Clip(INT32_MIN, INT32_MAX))
        self.bound = min(bound, INT32_MAX + 1)


def _relu(limit: int | None) -> Clip:
    """ReLU, or RELUX with its upper bound (spec 5.4)."""
    return Clip(0, INT32_MAX if limit is None else max(limit, 0))


def scale_stage(pipeline: Pipeline, stage: ScaleStage, operands: ChannelOperands) -> None:
    """Append BS or BN: ALU, MUL, ReLU (spec 5.4)."""
    if stage.alu is not None:
        addend = _operand(stage.alu_operand, operands.alu) * (1 if stage.alu == ADD else -1)
        pipeline.steps.append(Add(addend.astype(np.float64)))
        pipeline.saturate(pipeline.bound + int(np.abs(addend).max()))
    if stage.mul:
        multiplier = _operand(stage.mul_operand, operands.mul)
        pipeline.steps.append(_multiplier(stage, multiplier.astype(np.float64)))
        shift = min(stage.shift, stage.shift_negative)
        pipeline.saturate((pipeline.bound * int(np.abs(multiplier).max()) >> shift) + 1 + pipeline.bound * stage.prelu)
    if stage.relu:
        pipeline.steps.append(_relu(stage.limit))


def _operand(constant: int | None, channels: Int64 | None) -> Int64:
    if constant is not None:
        return np.array([constant], np.int64)
    return channels if channels is not None else np.zeros(1, np.int64)


def _multiplier(stage: ScaleStage, multiplier: Float64) -> Scale:
    """Multiply and shift; negative values have a shift of their own (TRM: two fields; addendum 5.3).

    With PReLU only negative values are multiplied (NVDLA; spec 5.4).
    """
    positive, negative = multiplier * factor(1, stage.shift), multiplier * factor(1, stage.shift_negative)
    if stage.prelu:
        positive = np.ones_like(multiplier)
    return Scale(positive, positive if np.array_equal(positive, negative) else negative)


def element_stage(
    pipeline: Pipeline, stage: ElementStage, operand: PixelSource | None, tables: Int64, lanes: int
) -> None:
    """Append EW: operand converter, ALU or MUL, look-up table, ReLU (spec 5.5)."""
    if stage.operate:
        pipeline.steps.append(Combine(stage, operand, lanes))
        limit = INT32_MAX + 1
        pipeline.saturate(pipeline.bound * limit if stage.multiply else pipeline.bound + limit)
    config = stage.lut
    if config is not None:
        pipeline.steps.append(lambda block, *_: lookup(block, config, tables))
        # Beyond the table a slope of up to 2**15 continues from up to 2**32 away.
        pipeline.saturate(1 << 50)
    if stage.relu:
        pipeline.steps.append(_relu(stage.limit))


_OPERATIONS: dict[int, Callable[[Float64, Float64], Float64]] = {
    EW_MAX: np.maximum,
    EW_MIN: np.minimum,
    EW_ADD: np.add,
    EW_MINUS: np.subtract,
    EW_ABS: lambda block, _: np.abs(block),
    EW_NEG: lambda block, _: -block,
}


@dataclass(frozen=True, slots=True)
class Combine:
    """EW's ALU or MUL, with an operand from memory or a constant."""

    stage: ElementStage
    source: PixelSource | None
    lanes: int

    def __call__(self, block: Float64, start: int, stop: int) -> None:
        """Work on a block."""
        stage, operand = self.stage, self._fetch(start, stop)
        if not stage.multiply:
            np.copyto(block, _OPERATIONS[stage.algorithm](block, operand))
            return
        # A product of two 32-bit values is exact in int64, but not always in float64.
        product = block.astype(np.int64) * operand.astype(np.int64)
        shifted = shift_half_even(product, stage.truncate)
        if stage.truncate != stage.truncate_negative:
            shifted = np.where(product < 0, shift_half_even(product, stage.truncate_negative), shifted)
        np.copyto(block, shifted)

    def _fetch(self, start: int, stop: int) -> Float64:
        stage = self.stage
        if self.source is None:
            values = np.array([[stage.constant]], np.float64)
        else:
            values = self.source.rows(start, stop)[:, : self.lanes].astype(np.float64)
        if not stage.convert:
            return values
        if stage.offset_first:
            values += stage.offset
        scale_in_place(values, factor(stage.scale, stage.shift), half_away=stage.half_away)
        if not stage.offset_first:
            values += stage.offset
        clip_in_place(values, INT32_MIN, INT32_MAX)
        return values


def output_stage(pipeline: Pipeline, out: OutputConverter, low: int, high: int) -> None:
    """Append the output converter: offset after the shift, or before the multiplication with CVT_TYPE 1 (spec 5.8)."""
    scale, offset = factor(out.scale, out.shift), np.array([out.offset], np.float64)
    if out.offset_first and out.offset:
        pipeline.steps.append(Add(offset))
    if scale != 1.0:
        factors = np.array([scale])
        pipeline.steps.append(Scale(factors, factors, out.half_away))
    if not out.offset_first and out.offset:
        pipeline.steps.append(Add(offset))
    pipeline.steps.append(Clip(low, high))
