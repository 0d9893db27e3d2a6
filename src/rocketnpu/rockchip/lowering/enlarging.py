"""TRANSPOSE_CONV and RESIZE by whole factors: one ordinary convolution for each place in a block of the output.

With a factor (stride) of f, output rows y with equal y mod f see the input through the same taps: a phase. Its
convolution writes every f-th row, which the writer does by leaving a gap after each. Columns cannot be left out between
two of a row, so the phases of columns are made one by one in a temporary map, and copied from there as a single column
of pixels with gaps of f - 1 (the writer of the row-major matrix product, exact on silicon for int32; addendum 6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Padding
from rocketnpu.graph.operators import Resize, TransposeConv
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.convolution import (
    Kernel,
    clamping,
    corrected_bias,
    kernel_of,
    output_factors,
    scaled_layers,
)
from rocketnpu.rockchip.lowering.identity import identity_layer
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import encode_scale
from rocketnpu.rockchip.tasks.task import Conversion

FEATURES, BIAS = 2, 3
"""Positions of TRANSPOSE_CONV's inputs; the first is the output's shape."""
Window = Callable[[int, int, FeatureMap], list[ConvolutionLayer]]
"""Describes the convolution of a phase (of rows, of columns) into a map."""


def interleaved(
    context: Context, operator: Operator, target: FeatureMap, factor: tuple[int, int], window: Window
) -> Iterator[ConvolutionLayer]:
    """Describe all phases of an output map, each in its place."""
    down, across = factor
    for column in range(min(across, target.width)):
        width = -(-(target.width - column) // across)
        strip = target if across == 1 else context.fresh(target.height, width, target.channels)
        for row in range(min(down, target.height)):
            yield from window(row, column, strip.every_row(down, row))
        if across > 1:
            yield from _spread(context, operator, strip, target, (across, column))


def _spread(
    context: Context, operator: Operator, strip: FeatureMap, target: FeatureMap, phase: tuple[int, int]
) -> Iterator[ConvolutionLayer]:
    """Copy a map to every n-th column of another: all rows at once where n divides the width, else row by row."""
    across, column = phase
    at_once = target.height if target.width % across == 0 else 1
    for first in range(0, target.height, at_once):
        pixels = strip.row_slice(first, at_once).reshaped(at_once * strip.width, 1)
        places = target.row_slice(first, at_once).every_pixel(across, column)
        for start in range(0, pixels.height, context.soc.max_size):
            count = min(context.soc.max_size, pixels.height - start)
            source, goal = pixels.row_slice(start, count), places.row_slice(start, count)
            yield copy_layer(context, operator, source, goal)


def copy_layer(context: Context, operator: Operator, source: FeatureMap, target: FeatureMap) -> ConvolutionLayer:
    """Describe a copy of stored values that have the output's quantisation already."""
    zero = quantised.zero_point(context.output(operator))
    return identity_layer(context, operator, source, target, 1, zero)


@dataclass(frozen=True)
class Taps:
    """What one phase along one axis reads: taps of the kernel, and padding in front."""

    chosen: slice
    padding: int


def phase_taps(phase: int, kernel: int, stride: int, before: int) -> Taps:
    """Find the taps of a phase of a transposed convolution.

    Output ``stride * u + phase`` gets ``in[u + d - j] * w[stride * j + r]`` for all j, with ``r`` and ``d`` the rest
    and quotient of ``(phase + before) / stride``: a correlation with those taps in reverse order.

    Raises:
        UnsupportedError: the phase starts to read behind the first pixel.
    """
    offset, rest = divmod(phase + before, stride)
    count = len(range(rest, kernel, stride))
    padding = count - 1 - offset
    if padding < 0 < count:
        raise UnsupportedError(f"phase {phase} of stride {stride} starts {-padding} pixels behind the first")
    return Taps(slice(rest, kernel, stride), max(padding, 0))


def transposed_padding(attributes: TransposeConv, source: FeatureMap, kernel: Kernel, target: FeatureMap) -> list[int]:
    """Return what TFLite leaves out above and to the left of the whole result."""
    if attributes.padding is Padding.VALID:
        return [0, 0]
    sizes = zip((source.height, source.width), kernel.weights.shape[1:3], (target.height, target.width), strict=True)
    return [
        max((size - 1) * stride + taps - result, 0) // 2
        for (size, taps, result), stride in zip(sizes, attributes.stride, strict=True)
    ]


def transpose_conv_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe TRANSPOSE_CONV.

    Raises:
        UnsupportedError: a window would lie outside the input alone, or as for CONV_2D.
    """
    attributes = operator.attributes
    assert isinstance(attributes, TransposeConv)
    source, target = context.tensor(operator, FEATURES), context.output(operator)
    feature, result = context.feature(source), context.feature(target)
    kernel = kernel_of(context, operator, result.channels, BIAS)
    before = transposed_padding(attributes, feature, kernel, result)
    factors, outcome = output_factors(source, kernel, target), clamping(target, attributes.activation)
    zero = quantised.zero_point(source)

    def window(row: int, column: int, place: FeatureMap) -> list[ConvolutionLayer]:
        sizes = zip((row, column), kernel.weights.shape[1:3], attributes.stride, before, strict=True)
        taps = [phase_taps(*size) for size in sizes]
        part = replace(kernel, weights=_phase_weights(kernel, taps))
        _check_windows(feature, place, part, taps)
        layer = ConvolutionLayer(
            operator.index,
            f"{operator.kind} phase {row},{column}",
            feature,
            place,
            part.weights,
            part.zero_point,
            corrected_bias(part, zero),
            (1, 1),
            (1, 1),
            (taps[0].padding, taps[1].padding),
            zero,
            Requantise(Conversion(1, 0, 0)),
        )
        return scaled_layers(context, layer, part, factors, outcome)

    return list(interleaved(context, operator, result, attributes.stride, window))


def _phase_weights(kernel: Kernel, taps: list[Taps]) -> npt.NDArray[np.int8]:
    """Cut out the taps of a phase, in reverse order. A phase without taps gets a single one that counts for nothing."""
    found = kernel.weights[:, taps[0].chosen, taps[1].chosen][:, ::-1, ::-1]
    if 0 in found.shape[1:3]:
        outputs, _, _, channels = kernel.weights.shape
        return np.full((outputs, 1, 1, channels), kernel.zero_point, np.int8)
    return np.ascontiguousarray(found)


def _check_windows(source: FeatureMap, place: FeatureMap, kernel: Kernel, taps: list[Taps]) -> None:
    sizes = zip((source.height, source.width), (place.height, place.width), taps, strict=True)
    for size, outputs, tap in sizes:
        if outputs - 1 - tap.padding >= size:
            window = "x".join(map(str, kernel.weights.shape[1:3]))
            raise UnsupportedError(f"the last of {outputs} windows of {window} lies behind the {size} pixels")


def nearest_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe RESIZE_NEAREST_NEIGHBOR by whole factors: every phase is a copy; columns first, for they are fewer."""
    source, target = context.feature(context.tensor(operator, 0)), context.feature(context.output(operator))
    down, across = target.height // source.height, target.width // source.width
    wide = target if down == 1 else context.fresh(source.height, target.width, source.channels)
    layers: list[ConvolutionLayer] = []
    if across > 1:
        for column in range(across):
            layers += _spread(context, operator, source, wide, (across, column))
    else:
        wide = source
    if down > 1 or across == 1:
        layers += [copy_layer(context, operator, wide, target.every_row(down, row)) for row in range(down)]
    return layers


def bilinear_weights(phase: int, factor: int, attributes: Resize) -> tuple[list[int], int]:
    """Return what an output of a phase takes of the pixel before, its own and the next one, and the sum."""
    if factor == 1:
        return [0, 1, 0], 1
    if not attributes.half_pixel_centers:
        return [0, factor - phase, phase], factor
    shift = 2 * phase + 1 - factor
    return [max(-shift, 0), 2 * factor - abs(shift), max(shift, 0)], 2 * factor


def bilinear_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe RESIZE_BILINEAR by whole factors: 3x3 depthwise kernels over the map with its border repeated.

    Raises:
        UnsupportedError: weights do not fit a byte.
    """
    attributes = operator.attributes
    assert isinstance(attributes, Resize)
    source, target = context.feature(context.tensor(operator, 0)), context.feature(context.output(operator))
    factor = (target.height // source.height, target.width // source.width)
    bordered = context.fresh(source.height + 2, source.width + 2, source.channels)
    layers = list(_border(context, operator, source, bordered))
    zero = quantised.zero_point(context.output(operator))

    def window(row: int, column: int, place: FeatureMap) -> list[ConvolutionLayer]:
        down, rows = bilinear_weights(row, factor[0], attributes)
        across, columns = bilinear_weights(column, factor[1], attributes)
        taps = np.outer(down, across)
        if taps.max() > quantised.INT8_MAX:
            raise UnsupportedError(f"a factor of {factor[0]}x{factor[1]} needs weights up to {taps.max()}")
        layer = copy_layer(context, operator, bordered, place)
        scale = encode_scale(1 / (rows * columns), context.soc)
        return [
            replace(
                layer,
                label=f"{operator.kind} phase {row},{column}",
                weights=np.repeat(taps.astype(np.int8)[..., None], source.channels, 2),
                biases=layer.biases * (rows * columns),
                requantise=Requantise(Conversion(scale.multiplier, scale.shift, zero)),
            )
        ]

    return layers + list(interleaved(context, operator, target, factor, window))


def _border(
    context: Context, operator: Operator, source: FeatureMap, bordered: FeatureMap
) -> Iterator[ConvolutionLayer]:
    """Copy a map into the middle of a larger one, and its edges around it."""
    rows = bordered.row_slice(1, source.height)
    yield copy_layer(context, operator, source, rows.column_slice(1, source.width))
    for edge, place in ((0, 0), (source.width - 1, source.width + 1)):
        yield copy_layer(context, operator, source.column_slice(edge, 1), rows.column_slice(place, 1))
    for edge, place in ((1, 0), (source.height, source.height + 1)):
        yield copy_layer(context, operator, bordered.row_slice(edge, 1), bordered.row_slice(place, 1))
