"""ADD and SUB: both operands as planes of one image, under a 1x1 kernel with two weights that count."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator
from rocketnpu.graph.operators import Arithmetic
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Move, MoveKind, Planes, Task

MAX_ERROR = 0.45
"""Steps of the output that the rounding of weights may take: with two roundings that stays within 1."""
NEGLIGIBLE = 0.001
MAX_SIDE = 8191
"""Columns and rows of an image: fields of 13 bits."""
WIDEST = 128
MOST_PLANES = 16
_WEIGHT_MAX = 255


@dataclass(frozen=True, slots=True)
class Weights:
    """``(first * a + second * b) * factor``: whole numbers that stand for the operands' scales."""

    first: int
    second: int
    factor: float
    """Output steps of one unit."""
    error: float
    """Output steps by which the smaller operand may be off."""


def operand_weights(first: float, second: float, output: float) -> Weights:
    """Choose weights for two scales, the second one negative for a difference.

    Raises:
        UnsupportedError: no two bytes come close enough.
    """
    size = abs(second)
    most = _WEIGHT_MAX if second > 0 else _WEIGHT_MAX // 2
    large, small = max(first, size), min(first, size)
    numbers = np.arange(1, most + 1)
    rounded = np.rint(numbers * (small / large))
    errors = _WEIGHT_MAX * np.abs(rounded - numbers * (small / large)) * (large / (numbers * output))
    # Of those that are nearly as good as the best the smallest: even ratios then have exact multipliers, and ties stay.
    best = int(np.flatnonzero(errors <= errors.min() + NEGLIGIBLE)[0])
    if errors[best] > MAX_ERROR:
        raise UnsupportedError(
            f"scales {first:.4g} and {size:.4g} for an output of {output:.4g}: bytes that stand for them would be off "
            f"by up to {errors[best]:.2g} steps"
        )
    one, two = int(numbers[best]), int(rounded[best])
    pair = (one, two) if first >= size else (two, one)
    return Weights(pair[0], pair[1] if second > 0 else -pair[1], large / (one * output), float(errors[best]))


def flat_shape(size: int, cores: int) -> tuple[int, int, int]:
    """Return planes, rows and columns as which any ``size`` bytes are seen, so that all cores have something to do.

    Raises:
        UnsupportedError: there are none that the instruction holds.
    """
    counts = [count for count in range(1, MOST_PLANES + 1) if size % count == 0]
    counts.sort(key=lambda count: (count < cores, count if count >= cores else -count))
    for count in counts:
        plane = size // count
        columns = next(width for width in range(min(plane, WIDEST), 0, -1) if plane % width == 0)
        for width in (columns, plane):
            if width <= MAX_SIDE and plane // width <= MAX_SIDE:
                return count, plane // width, width
    raise UnsupportedError(f"{size} bytes are no image of at most {MAX_SIDE} rows and columns in {MOST_PLANES} planes")


def sum_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe ADD or SUB.

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    assert isinstance(operator.attributes, Arithmetic)
    output = Output.of(context, context.output(operator), operator.attributes.activation)
    tensors = [context.tensor(operator, position) for position in (0, 1)]
    sign = -1.0 if operator.kind == "SUB" else 1.0
    if any(tensor.is_constant for tensor in tensors):
        return _with_constant(context, operator, output, sign)
    one, other = (Source.of(context, tensor) for tensor in tensors)
    if tensors[0].index == tensors[1].index:
        return _doubled(context, operator, one, output, 1 + sign)
    moves: list[Task] = []
    if other.planes.at != one.planes.at + one.planes.size:
        room = context.fresh(2, one.planes.height * one.planes.channels, one.planes.width)
        places = [replace(one.planes, at=room.at + n * one.planes.size) for n in (0, 1)]
        for source, place in zip((one, other), places, strict=True):
            label = f"{operator.kind}: an operand to the other's side"
            moves.append(Move(MoveKind.PAD, source.planes, place, label, operator.index, fill=source.zero_point))
        one, other = replace(one, planes=places[0]), replace(other, planes=places[1])
    weights = operand_weights(one.scale, sign * other.scale, output.scale)
    return [*moves, *pair_tasks(context, operator, (one, other), weights, output)]


def pair_tasks(
    context: Context, operator: Operator, sources: tuple[Source, Source], weights: Weights, output: Output
) -> list[Task]:
    """Add two operands, the second behind the first in memory.

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    one, other = sources
    planes, height, width = flat_shape(one.planes.size, context.soc.cores)
    zero = max(0, -weights.second)
    kernel = np.full((planes, 2 * planes, 1, 1), zero, np.uint8)
    numbers = np.arange(planes)
    kernel[numbers, numbers] = zero + weights.first
    kernel[numbers, planes + numbers] = zero + weights.second
    # The border is the first operand's zero point; the other's difference from it goes into the bias.
    bias = weights.second * (one.zero_point - other.zero_point)
    whole = Planes(one.planes.at, 2 * planes, height, width)
    found = Kernel(kernel, zero, (weights.factor * output.scale,), np.full(planes, bias, np.int64))
    target = replace(output, planes=output.planes.reshaped(planes, height, width))
    return window_tasks(context, operator, Source(whole, one.zero_point, 1.0), found, Window(), target)


def identity_tasks(
    context: Context, operator: Operator, source: Source, output: Output, factor: float, bias: int
) -> list[Task]:
    """Multiply every byte by a factor and add a constant, in units of the factor.

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    planes, height, width = flat_shape(source.planes.size, context.soc.cores)
    kernel = np.zeros((planes, planes, 1, 1), np.uint8)
    numbers = np.arange(planes)
    kernel[numbers, numbers] = 1
    found = Kernel(kernel, 0, (factor,), np.full(planes, bias, np.int64))
    source = replace(source, planes=source.planes.reshaped(planes, height, width), scale=1.0)
    target = replace(output, planes=output.planes.reshaped(planes, height, width))
    return window_tasks(context, operator, source, found, Window(), target)


def _doubled(context: Context, operator: Operator, source: Source, output: Output, times: float) -> list[Task]:
    if not times:
        raise UnsupportedError("a tensor less itself")
    return identity_tasks(context, operator, source, output, times * source.scale, 0)


FINE = 64
"""Weight of the variable operand beside a constant one, so that the constant is rounded finely."""


def _with_constant(context: Context, operator: Operator, output: Output, sign: float) -> list[Task]:
    """Add a constant: one for each channel, or one for all, goes into the bias."""
    tensors = [context.tensor(operator, position) for position in (0, 1)]
    place = 0 if tensors[0].is_constant else 1
    constant, variable = tensors[place], Source.of(context, tensors[1 - place])
    # Signs of the variable and of the constant.
    signs = (1.0, sign) if place else (sign, 1.0)
    channels = variable.planes.channels
    values = (stored.stored(constant).astype(np.float64) - stored.zero_point(constant)) * stored.scale(constant)
    if values.size not in (1, channels) or (values.size > 1 and constant.shape[-1] != channels):
        raise UnsupportedError(f"a constant of shape {constant.shape} for {channels} channels")
    unit = variable.scale / FINE
    biases = np.rint(np.broadcast_to(signs[1] * values.reshape(-1), (channels,)) / unit).astype(np.int64)
    negative = signs[0] < 0
    weight = np.full((channels, 1, 1, 1), 0 if negative else FINE, np.uint8)
    kernel = Kernel(weight, FINE if negative else 0, (1 / FINE,), biases, depthwise=True)
    return window_tasks(context, operator, variable, kernel, Window(), output)
