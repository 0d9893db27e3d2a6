"""The DPU's arithmetic: BS, BN, EW and the output converter, each working in place on float64 blocks [pixels, lanes].

Blocks hold exact integers (see :mod:`rocketnpu.rockchip.simulator.rounding`). Each stage saturates to int32 (NVDLA's
order; addendum 1.1); where a bound on the magnitude proves that it cannot, the pass over the data is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

Step = Callable[[Float64, int, int], None]
"""Works on a block; the other arguments are its first output row and the one behind its last."""


@dataclass(slots=True)
class Pipeline:
    """Steps in order, and a bound on the magnitude of what has passed them."""

    steps: list[Step]
    bound: int

    def saturate(self, bound: int) -> None:
        """Record the bound after a step, saturating to int32 if it may be exceeded."""
        if bound > INT32_MAX:
            self.steps.append(lambda block, *_: clip_in_place(block, INT32_MIN, INT32_MAX))
        self.bound = min(bound, INT32_MAX + 1)


def _relu(limit: int | None) -> Step:
    """ReLU, or RELUX with its upper bound (spec 5.4)."""
    ceiling = INT32_MAX if limit is None else max(limit, 0)
    return lambda block, *_: clip_in_place(block, 0, ceiling)


def scale_stage(pipeline: Pipeline, stage: ScaleStage, operands: ChannelOperands) -> None:
    """Append BS or BN: ALU, MUL, ReLU (spec 5.4)."""
    if stage.alu is not None:
        addend = _operand(stage.alu_operand, operands.alu) * (1 if stage.alu == ADD else -1)
        pipeline.steps.append(_adder(addend.astype(np.float64)))
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


def _adder(addend: Float64) -> Step:
    def add(block: Float64, *_: int) -> None:
        np.add(block, addend, out=block)

    return add


def _multiplier(stage: ScaleStage, multiplier: Float64) -> Step:
    """Multiply and shift; negative values have a shift of their own (TRM: two fields; addendum 5.3).

    With PReLU only negative values are multiplied (NVDLA; spec 5.4).
    """
    positive, negative = multiplier * factor(1, stage.shift), multiplier * factor(1, stage.shift_negative)
    if stage.prelu:
        positive = np.ones_like(multiplier)
    if np.array_equal(positive, negative):

        def multiply(block: Float64, *_: int) -> None:
            np.multiply(block, positive, out=block)
            round_in_place(block)

        return multiply

    def multiply_by_sign(block: Float64, *_: int) -> None:
        np.multiply(block, np.where(block < 0, negative, positive), out=block)
        round_in_place(block)

    return multiply_by_sign


def element_stage(
    pipeline: Pipeline, stage: ElementStage, operand: PixelSource | None, tables: Int64, lanes: int
) -> None:
    """Append EW: operand converter, ALU or MUL, look-up table, ReLU (spec 5.5)."""
    if stage.operate:
        fetch = _operand_fetcher(stage, operand, lanes)
        pipeline.steps.append(_combine(stage, fetch))
        limit = INT32_MAX + 1
        pipeline.saturate(pipeline.bound * limit if stage.multiply else pipeline.bound + limit)
    config = stage.lut
    if config is not None:
        pipeline.steps.append(lambda block, *_: lookup(block, config, tables))
        # Beyond the table a slope of up to 2**15 continues from up to 2**32 away.
        pipeline.saturate(1 << 50)
    if stage.relu:
        pipeline.steps.append(_relu(stage.limit))


def _operand_fetcher(stage: ElementStage, source: PixelSource | None, lanes: int) -> Callable[[int, int], Float64]:
    def convert(values: Float64) -> Float64:
        if not stage.convert:
            return values
        if stage.offset_first:
            values = values + stage.offset
        scale_in_place(values, factor(stage.scale, stage.shift), half_away=stage.half_away)
        if not stage.offset_first:
            values += stage.offset
        clip_in_place(values, INT32_MIN, INT32_MAX)
        return values

    if source is None:
        constant = convert(np.array([[stage.constant]], np.float64))
        return lambda *_: constant
    return lambda start, stop: convert(source.rows(start, stop)[:, :lanes].astype(np.float64))


def _combine(stage: ElementStage, fetch: Callable[[int, int], Float64]) -> Step:
    if stage.multiply:
        # A product of two 32-bit values is exact in int64, but not always in float64.
        def multiply(block: Float64, start: int, stop: int) -> None:
            product = block.astype(np.int64) * fetch(start, stop).astype(np.int64)
            shifted = shift_half_even(product, stage.truncate)
            if stage.truncate != stage.truncate_negative:
                shifted = np.where(product < 0, shift_half_even(product, stage.truncate_negative), shifted)
            np.copyto(block, shifted)

        return multiply
    operations: dict[int, Callable[[Float64, Float64], Float64]] = {
        EW_MAX: np.maximum,
        EW_MIN: np.minimum,
        EW_ADD: np.add,
        EW_MINUS: np.subtract,
        EW_ABS: lambda block, _: np.abs(block),
        EW_NEG: lambda block, _: -block,
    }
    operation = operations[stage.algorithm]

    def combine(block: Float64, start: int, stop: int) -> None:
        np.copyto(block, operation(block, fetch(start, stop)))

    return combine


def output_stage(pipeline: Pipeline, out: OutputConverter, low: int, high: int) -> None:
    """Append the output converter: offset after the shift, or before the multiplication with CVT_TYPE 1 (spec 5.8)."""
    scale = factor(out.scale, out.shift)

    def convert(block: Float64, *_: int) -> None:
        if out.offset_first and out.offset:
            np.add(block, out.offset, out=block)
        scale_in_place(block, scale, half_away=out.half_away)
        if not out.offset_first and out.offset:
            np.add(block, out.offset, out=block)
        clip_in_place(block, low, high)

    pipeline.steps.append(convert)
