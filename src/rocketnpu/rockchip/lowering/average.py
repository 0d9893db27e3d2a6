"""AVERAGE_POOL_2D and MEAN over rows and columns: convolutions whose output converter divides.

Kernels are all alike, so the accumulator is the window's sum, exact; the converter divides and rounds once (addendum
4.5). Unlike the pooling unit this is proven on the chip, ends under every kernel driver, and knows any divisor.

Where windows reach over the border LiteRT divides by the cells inside. The EW stage then multiplies by a factor for
each pixel, chosen so that one common divisor is left. Maps that are larger than a kernel may be are averaged in two
steps, between which a mean is kept as two bytes, a whole number and its remainder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Padding, Tensor
from rocketnpu.graph.maps import same_padding
from rocketnpu.graph.operators import Pool2D
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.blocks import dense_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.elementwise import BLOCK, constant_map
from rocketnpu.rockchip.lowering.folding import stacked
from rocketnpu.rockchip.lowering.identity import FINE, clamp_layer, identity_layer, separate_clamp
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import encode_scale
from rocketnpu.rockchip.tasks.task import Combine, Conversion, Elementwise, Rows

FACTOR_LIMIT = 255
"""Largest factor of a pixel: an unsigned byte, stored less 128."""
REMAINDER = 127
"""Steps of a remainder in one step of a mean: the largest kernel with zero point 0."""
MOST_PARTS = 704
"""Windows of the first step that the second can add: 16 kernels of 32 lanes in eleven banks."""


@dataclass(frozen=True)
class Average:
    """What is averaged. Pairs are rows, columns."""

    source: Tensor
    target: Tensor
    feature: FeatureMap
    result: FeatureMap
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: Activation
    counts_padding: bool = False
    """Whether the padding is averaged as zeros, as behind a PAD; else the cells inside alone count."""

    @property
    def cells(self) -> int:
        """Cells of a window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def is_padded(self) -> bool:
        """Whether some window reaches over the border, and what lies there does not count."""
        return not self.counts_padding and any(
            len(set(counts)) > 1 or counts[0] < size for counts, size in zip(self.counts, self.kernel, strict=True)
        )

    @property
    def counts(self) -> tuple[list[int], list[int]]:
        """Rows that lie inside the map for each output row, and columns for each output column."""
        found = []
        for axis in range(2):
            size = (self.feature.height, self.feature.width)[axis]
            outputs = (self.result.height, self.result.width)[axis]
            starts = [place * self.stride[axis] - self.padding[axis] for place in range(outputs)]
            found.append([min(start + self.kernel[axis], size) - max(start, 0) for start in starts])
        return found[0], found[1]


def average_of(context: Context, operator: Operator) -> Average:
    """Read an operator's window. MEAN over one axis has windows of one row or column each."""
    source, target = context.tensor(operator, 0), context.output(operator)
    feature, result = context.feature(source), context.feature(target)
    attributes = operator.attributes
    size = (feature.height, feature.width)
    if not isinstance(attributes, Pool2D):
        axes = context.tensor(operator, 1).data
        assert axes is not None
        reduced = {int(axis) % 4 for axis in axes.reshape(-1)}
        kernel = (size[0] if 1 in reduced else 1, size[1] if 2 in reduced else 1)
        result = result.reshaped(size[0] // kernel[0], size[1] // kernel[1])
        return Average(source, target, feature, result, kernel, (1, 1), (0, 0), Activation.NONE)
    padding = (0, 0)
    if attributes.pads is not None:
        padding = attributes.pads[0][0], attributes.pads[1][0]
    elif attributes.padding is Padding.SAME:
        above, left = (
            same_padding(*sizes, 1)[1] for sizes in zip(size, attributes.kernel, attributes.stride, strict=True)
        )
        padding = (above, left)
    stride = used_stride(attributes, result)
    counts = attributes.pads is not None
    return Average(source, target, feature, result, attributes.kernel, stride, padding, attributes.activation, counts)


def used_stride(attributes: Pool2D, target: FeatureMap) -> tuple[int, int]:
    """Return the strides that matter: along an axis with a single output none does."""
    rows, columns = attributes.stride
    return (rows if target.height > 1 else 1, columns if target.width > 1 else 1)


def average_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe AVERAGE_POOL_2D or MEAN as convolutions.

    Raises:
        UnsupportedError: the window's factors cannot be expressed, or a large map is averaged in several windows.
    """
    average = average_of(context, operator)
    if max(average.kernel) > context.soc.max_kernel:
        return large_average(context, operator, average)
    if average.is_padded:
        return padded_average(context, operator, average)
    layer = identity_layer(
        context, operator, average.feature, average.result, FINE, quantised.zero_point(average.source)
    )
    factor = quantised.scale(average.source) / (FINE * average.cells * quantised.scale(average.target))
    layer = replace(_windowed(layer, average.kernel, average.stride), padding=average.padding)
    layer = replace(layer, requantise=clamped(encode_scale(factor, context.soc), average.target, average.activation))
    whole = average.kernel == (average.feature.height, average.feature.width)
    if not whole or not context.folds or not layer.depthwise:
        return [layer]
    return stacked(layer, context.soc, start_cycles(context.policy.target))


def _windowed(layer: ConvolutionLayer, kernel: tuple[int, int], stride: tuple[int, int]) -> ConvolutionLayer:
    """Repeat a 1x1 depthwise kernel over a window."""
    return replace(
        layer,
        label=f"{layer.label} {kernel[0]}x{kernel[1]}",
        weights=np.broadcast_to(layer.weights, (*kernel, layer.source.channels)).copy(),
        biases=layer.biases * (kernel[0] * kernel[1]),
        stride=stride,
    )


def padded_average(context: Context, operator: Operator, average: Average) -> list[ConvolutionLayer]:
    """Describe an average whose windows reach over the border.

    Padding has the zero point, so it adds nothing to the sum. A window with ``a`` rows and ``b`` columns inside the map
    gets the factor ``A / a * B / b``, with ``A`` and ``B`` the lowest common multiples over all windows, and all are
    divided by ``A * B``.

    Raises:
        UnsupportedError: a factor is larger than a byte.
    """
    rows, columns = average.counts
    common = (math.lcm(*rows), math.lcm(*columns))
    factors = np.outer([common[0] // count for count in rows], [common[1] // count for count in columns])
    if factors.max() > FACTOR_LIMIT:
        raise UnsupportedError(
            f"windows that hold between {min(rows)}x{min(columns)} and {max(rows)}x{max(columns)} cells want factors "
            f"up to {factors.max()} for one common divisor, possible are {FACTOR_LIMIT}"
        )
    bounds = separate_clamp(average.activation, average.target)
    result, activation = average.result, average.activation
    if bounds is not None:
        result, activation = context.fresh(result.height, result.width, result.channels), Activation.NONE
    layer = identity_layer(context, operator, average.feature, result, 1, quantised.zero_point(average.source))
    stored = np.broadcast_to((factors - 128).astype(np.int8)[..., None], (*factors.shape, result.channels))
    operand = Rows(constant_map(context, stored), 0, result.height)
    factor = quantised.scale(average.source) / (common[0] * common[1] * quantised.scale(average.target))
    layer = replace(
        _windowed(layer, average.kernel, average.stride),
        padding=average.padding,
        requantise=clamped(encode_scale(factor, context.soc), average.target, activation),
        addend=Elementwise(Combine.MULTIPLY, operand, 128, 1, 0),
        rules=(Unproven.ELEMENTWISE_MULTIPLY,),
    )
    clamp = [] if bounds is None else [clamp_layer(context, operator, result, average.result, bounds)]
    return [*dense_blocks(layer, BLOCK), *clamp]


def large_average(context: Context, operator: Operator, average: Average) -> list[ConvolutionLayer]:
    """Describe the average of a whole map larger than a kernel may be, in two steps.

    The first step averages parts of the map, as large as strides go; padding fills the last ones with the zero point.
    Each part's mean is kept as the nearest byte and the remainder in steps of 1/127, so that the second step is off by
    1/254 of a step at most before it rounds.

    Raises:
        UnsupportedError: it is not a whole map, or a too large one.
    """
    feature = average.feature
    size = (feature.height, feature.width)
    if average.kernel != size or average.is_padded or any(average.padding):
        raise UnsupportedError(f"a window of {average.kernel[0]}x{average.kernel[1]} that is not the whole map")
    step = context.soc.max_stride
    parts = (-(-size[0] // step), -(-size[1] // step))
    # As even as may be, for less padding.
    part = (-(-size[0] // parts[0]), -(-size[1] // parts[1]))
    if parts[0] * parts[1] > MOST_PARTS or max(parts) > context.soc.max_kernel:
        raise UnsupportedError(f"a map of {size[0]}x{size[1]} makes {parts[0]}x{parts[1]} parts, at most {MOST_PARTS}")
    group = context.soc.slot  # their means and remainders fill one block of input lanes
    middle = context.fresh(*parts, -(-feature.channels // group) * 2 * group)
    return [
        layer
        for first in range(0, feature.channels, group)
        for layer in _two_steps(context, operator, average, middle, part, first)
    ]


def _two_steps(
    context: Context, operator: Operator, average: Average, middle: FeatureMap, part: tuple[int, int], first: int
) -> Iterator[ConvolutionLayer]:
    """Describe both steps for a group of channels; its means and remainders lie side by side in ``middle``.

    The order matters: tasks write whole groups of 32 or 64 channels, so each overwrites what lies behind its own.
    """
    group = middle.slot
    count = min(group, average.feature.channels - first)
    source = average.feature.channel_slice(first, count)
    means, rests = (middle.channel_slice(2 * first + place, count) for place in (0, group))
    zero, cells = quantised.zero_point(average.source), part[0] * part[1]
    nearest = encode_scale(1 / (FINE * cells), context.soc)
    layer = _windowed(identity_layer(context, operator, source, means, FINE, zero), part, part)
    yield replace(layer, requantise=Requantise(Conversion(nearest.multiplier, nearest.shift, zero)))
    # The sum less the mean's share of it: what rounding left.
    left = encode_scale(REMAINDER / cells, context.soc)
    layer = _windowed(identity_layer(context, operator, source, rests, 1, zero), part, part)
    layer = replace(
        layer,
        requantise=Requantise(Conversion(left.multiplier, left.shift, 0)),
        addend=Elementwise(Combine.ADD, Rows(means, 0, means.height), -zero, -cells, 0),
    )
    yield from dense_blocks(layer)
    parts = (middle.height, middle.width)
    whole = average.feature.height * average.feature.width
    factor = quantised.scale(average.source) * cells / (REMAINDER * whole * quantised.scale(average.target))
    weights = np.zeros((count, *parts, group + count), np.int8)
    for channel in range(count):
        weights[channel, :, :, channel] = REMAINDER
        weights[channel, :, :, group + channel] = 1
    yield replace(
        layer,
        source=middle.channel_slice(2 * first, group + count),
        target=average.result.channel_slice(first, count),
        weights=weights,
        biases=np.full(count, -zero * REMAINDER * parts[0] * parts[1], np.int64),
        stride=(1, 1),
        requantise=clamped(encode_scale(factor, context.soc), average.target, average.activation),
        addend=None,
    )
