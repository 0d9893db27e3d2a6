"""The integer model of the chip: what a convolution must give, computed without layouts, tiles or tasks.

Plain NHWC arithmetic in wide integers after spec section 5 and addendum 1.1. It shares with the compiler the layer's
numbers (weights, biases, multipliers) and nothing else, and with the simulator not even those: equal bytes mean that
packing, tiling, register values and the simulator's addressing and arithmetic all agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.requantise import CHANNEL_SHIFT
from rocketnpu.rockchip.tasks.task import Combine

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
_INT32 = (-(1 << 31), (1 << 31) - 1)
_TABLE_REACH = 16384
"""Largest argument of the look-up tables on either side of 0 (addendum 5.2)."""
_EXACT_FLOAT32 = 1 << 24
"""Sums of integers that stay below this are exact in float32, whatever their order."""


@dataclass(frozen=True)
class Operand:
    """How the EW stage prepares its operand: ``(b + offset) * scale / 2**shift``, and what it does with it."""

    combine: Combine
    offset: int
    scale: int
    shift: int


@dataclass(frozen=True, eq=False)
class LayerModel:
    """The numbers of one convolution. Pairs are rows, columns."""

    weights: Int64
    """Without zero point: ``(kernels, height, width, channels)``; depthwise ``(height, width, channels)``."""
    biases: Int64
    outputs: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    """Rows above, columns to the left."""
    pad_value: int | Int64
    """Stored value of padded pixels; an array has one for each channel."""
    multiplier: int
    shift: int
    offset: int
    channel_multipliers: Int64 | None = None
    truncate: int = 0
    """Bits dropped from the accumulator before anything else."""
    lift: int = 0
    """Added before a clamp."""
    relu: bool = False
    ceiling: int | None = None
    operand: Operand | None = None
    slope_shift: int | None = None
    """Where given, ``channel_multipliers / 2**slope_shift`` is applied to negative values only."""
    room: int | None = None
    """Where given, values are clamped to ``0..room`` before anything is added."""
    table: Int64 | None = None
    """What each multiple of 32 from -16384 to 16384 becomes before conversion (addendum 5.2)."""

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.weights.ndim == 3

    @classmethod
    def of(cls, layer: ConvolutionLayer) -> LayerModel:
        """Take the numbers of a layer of the compiler."""
        requantise, addend = layer.requantise, layer.addend
        conversion = requantise.conversion
        return cls(
            layer.weights.astype(np.int64) - layer.weight_zero_point,
            layer.biases,
            (layer.target.height, layer.target.width),
            layer.stride,
            layer.dilation,
            layer.padding,
            layer.pad_value,
            conversion.multiplier,
            conversion.shift,
            conversion.offset,
            requantise.channel_multipliers,
            lift=requantise.lift,
            relu=requantise.relu,
            ceiling=requantise.ceiling,
            operand=Operand(addend.combine, addend.offset, addend.scale, addend.shift) if addend else None,
            slope_shift=requantise.slope_shift,
            room=requantise.room,
            table=np.array(layer.lookup.below + layer.lookup.above[1:], np.int64) if layer.lookup else None,
        )


def round_shift(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, to nearest, ties to even (addendum 2.2)."""
    if shift == 0:
        return values
    if shift > 63:  # a recorded register has 12 bits: half a step is more than any number of 64 bits
        return np.zeros_like(values)
    return (values + ((1 << (shift - 1)) - 1) + (values >> shift & 1)) >> shift


def layer_output(layer: ConvolutionLayer | LayerModel, source: Int8, addend: Int8 | None = None) -> Int8:
    """Compute a layer's stored output.

    Args:
        layer: the layer; ``source`` and ``target`` of it are used for their sizes only.
        source: stored input, shape ``(height, width, channels)``.
        addend: stored second operand of the EW stage, of the output's shape.

    Returns:
        Stored output, shape ``(height, width, channels)``.
    """
    model = layer if isinstance(layer, LayerModel) else LayerModel.of(layer)
    total = _saturated(round_shift(_accumulate(model, source), model.truncate))
    total = _channel_stage(model, _saturated(total + model.biases))
    if model.room is not None:
        total = np.clip(total, 0, model.room)
    total = _saturated(total + model.lift)
    if model.operand is not None:
        assert addend is not None, "the layer has an EW operand, none was given"
        total = _combined(model.operand, total, addend)
    if model.table is not None:
        total = _looked_up(model.table, total)
    if model.relu or model.ceiling is not None:
        total = np.maximum(total, 0)
    if model.ceiling is not None:
        total = np.minimum(total, model.ceiling)
    result = round_shift(total * model.multiplier, model.shift) + model.offset
    return np.clip(result, -128, 127).astype(np.int8)


def _channel_stage(model: LayerModel, total: Int64) -> Int64:
    """Multiply by each channel's multiplier, as a PReLU negative values only."""
    if model.channel_multipliers is None:
        return total
    shift = CHANNEL_SHIFT if model.slope_shift is None else model.slope_shift
    multiplied = _saturated(round_shift(total * model.channel_multipliers, shift))
    return multiplied if model.slope_shift is None else np.where(total < 0, multiplied, total)


def _looked_up(table: Int64, total: Int64) -> Int64:
    """Look values up that fall on entries; what the chip does between them is in dispute (addendum 5.3)."""
    step = 2 * _TABLE_REACH // (len(table) - 1)
    assert not (total % step).any(), "an argument lies between two entries of the table"
    found: Int64 = table[np.clip(total + _TABLE_REACH, 0, 2 * _TABLE_REACH) // step]
    return found


def _saturated(values: Int64) -> Int64:
    return np.clip(values, *_INT32)


def _combined(operand: Operand, total: Int64, addend: Int8) -> Int64:
    """Apply the EW stage (spec 5.5)."""
    second = round_shift((addend.astype(np.int64) + operand.offset) * operand.scale, operand.shift)
    if operand.combine is Combine.ADD:
        return _saturated(total + second)
    if operand.combine is Combine.SUBTRACT:
        return _saturated(total - second)
    if operand.combine is Combine.MULTIPLY:
        return _saturated(total * second)
    return np.maximum(total, second) if operand.combine is Combine.MAXIMUM else np.minimum(total, second)


def _accumulate(model: LayerModel, source: Int8) -> Int64:
    """Sum products over the window, tap by tap, in floating point wide enough to be exact."""
    weights = model.weights
    axes = (0, 1) if model.depthwise else (1, 2, 3)
    bound = int(np.abs(weights).sum(axes).max(initial=0)) * 128
    kind: type[np.floating[Any]] = np.float32 if bound < _EXACT_FLOAT32 else np.float64
    padded: Floats = _padded(model, source).astype(kind)
    floats: Floats = weights.astype(kind)
    rows, columns = model.outputs
    height, width = weights.shape[-3:-1]
    shape = (rows, columns, weights.shape[-1] if model.depthwise else len(weights))
    total: Floats = np.zeros(shape, kind)
    for y in range(height):
        for x in range(width):
            top, left = y * model.dilation[0], x * model.dilation[1]
            view = padded[
                top : top + (rows - 1) * model.stride[0] + 1 : model.stride[0],
                left : left + (columns - 1) * model.stride[1] + 1 : model.stride[1],
            ]
            total += view * floats[y, x] if model.depthwise else view @ floats[:, y, x].T
    exact: Int64 = total.astype(np.int64)
    return exact


def _padded(model: LayerModel, source: Int8) -> Int8:
    """Return the input with as much padding as the output's size asks for."""
    sizes = []
    for axis in range(2):
        reach = (model.weights.shape[axis - 3] - 1) * model.dilation[axis] + 1
        needed = (model.outputs[axis] - 1) * model.stride[axis] + reach
        sizes.append(max(needed, model.padding[axis] + source.shape[axis]))
    padded = np.empty((*sizes, source.shape[2]), np.int8)
    padded[...] = model.pad_value
    top, left = model.padding
    padded[top : top + source.shape[0], left : left + source.shape[1]] = source
    return padded
