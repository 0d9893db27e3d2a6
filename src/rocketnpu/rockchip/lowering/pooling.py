"""MAX_POOL_2D: windows of the pooling unit, or convolutions that keep a running maximum.

A task of the pooling unit alone never raises an interrupt that the mainline kernel accepts, so a job that ends with one
runs into its time limit (addendum 4.6). There, and where a window is too large for the unit, each cell of the window is
a convolution whose kernel is 1 at that cell; the EW stage takes the maximum with what the cells before gave. Rows and
columns go one after the other, for the maximum does not mind. Both ways are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Padding
from rocketnpu.graph.maps import same_padding
from rocketnpu.graph.operators import Pool2D
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.average import used_stride
from rocketnpu.rockchip.lowering.blocks import dense_blocks
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.elementwise import BLOCK
from rocketnpu.rockchip.lowering.identity import clamp_layer
from rocketnpu.rockchip.lowering.scales.operands import operand
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import PoolingLayer, fits_unit, window_span
from rocketnpu.rockchip.tasks.task import Combine

Bounds = tuple[int, int]
EVERYTHING: Bounds = (quantised.INT8_MIN, quantised.INT8_MAX)


@dataclass(frozen=True)
class Pool:
    """Geometry of a pool between two maps. Pairs are rows, columns."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    pad_value: int = quantised.INT8_MIN
    """As stored; the lowest byte never wins."""


def pool_geometry(context: Context, operator: Operator) -> Pool:
    """Read an operator's window; a stride along an axis with a single output counts as 1."""
    attributes = operator.attributes
    assert isinstance(attributes, Pool2D)
    source, target = context.feature(context.tensor(operator, 0)), context.feature(context.output(operator))
    stride = used_stride(attributes, target)
    if attributes.pads is not None:
        value = quantised.zero_point(context.output(operator))
        if attributes.border is not None:
            value = attributes.border - quantised.SHIFT[context.output(operator).dtype]
        return Pool(attributes.kernel, stride, (attributes.pads[0][0], attributes.pads[1][0]), value)
    if attributes.padding is Padding.VALID:
        return Pool(attributes.kernel, stride, (0, 0))
    above, left = (
        same_padding(size, kernel, step, 1)[1]
        for size, kernel, step in zip((source.height, source.width), attributes.kernel, attributes.stride, strict=True)
    )
    return Pool(attributes.kernel, stride, (above, left))


def max_pool_layers(context: Context, operator: Operator) -> list[ConvolutionLayer | PoolingLayer]:
    """Describe MAX_POOL_2D as windows of the pooling unit where the target has it and they fit, else as convolutions.

    Raises:
        UnsupportedError: the window suits neither.
    """
    attributes, output = operator.attributes, context.output(operator)
    assert isinstance(attributes, Pool2D)
    source, target = context.feature(context.tensor(operator, 0)), context.feature(output)
    pool = pool_geometry(context, operator)
    bounds = quantised.activation_range(attributes.activation, output)
    if context.policy.target == "mainline" or _too_large(pool, source, target) is not None:
        return [*_running_maxima(context, operator, pool, bounds)]
    middle = target if bounds == EVERYTHING else context.fresh(target.height, target.width, target.channels)
    layer = PoolingLayer(
        operator.index,
        f"{operator.kind} {pool.kernel[0]}x{pool.kernel[1]}",
        source,
        middle,
        pool.kernel,
        pool.stride,
        pool.padding,
        pool.pad_value,
        (Unproven.POOLING_UNIT,),
    )
    return [layer] if middle is target else [layer, clamp_layer(context, operator, middle, target, bounds)]


def _too_large(pool: Pool, source: FeatureMap, target: FeatureMap) -> str | None:
    sizes, outputs = (source.height, source.width), (target.height, target.width)
    down, across = (
        window_span(sizes[axis], pool.kernel[axis], pool.stride[axis], pool.padding[axis], 0, outputs[axis])
        for axis in range(2)
    )
    return fits_unit(pool.kernel, pool.stride, (down, across))


def _running_maxima(context: Context, operator: Operator, pool: Pool, bounds: Bounds) -> list[ConvolutionLayer]:
    """Describe a pool as convolutions: along the columns first, then along the rows, with a clamp in the last one."""
    soc = context.soc
    if max(pool.kernel) > soc.max_kernel or max(pool.stride) > soc.max_stride or max(pool.padding) > soc.max_padding:
        raise UnsupportedError(
            f"window {pool.kernel[0]}x{pool.kernel[1]} with stride {pool.stride[0]}x{pool.stride[1]} and padding "
            f"{max(pool.padding)}: convolutions take {soc.max_kernel}, {soc.max_stride} and {soc.max_padding}"
        )
    source, target = context.feature(context.tensor(operator, 0)), context.feature(context.output(operator))
    across = Pool((1, pool.kernel[1]), (1, pool.stride[1]), (0, pool.padding[1]), pool.pad_value)
    down = Pool((pool.kernel[0], 1), (pool.stride[0], 1), (pool.padding[0], 0), pool.pad_value)
    does_nothing = Pool((1, 1), (1, 1), (0, 0), pool.pad_value)
    if down == does_nothing:
        return _taps(context, operator, across, (source, target), bounds)
    if across == does_nothing:
        return _taps(context, operator, down, (source, target), bounds)
    middle = context.fresh(source.height, target.width, source.channels)
    return [
        *_taps(context, operator, across, (source, middle), EVERYTHING),
        *_taps(context, operator, down, (middle, target), bounds),
    ]


def _taps(
    context: Context, operator: Operator, pool: Pool, maps: tuple[FeatureMap, FeatureMap], bounds: Bounds
) -> list[ConvolutionLayer]:
    """Describe a pool along one axis: a convolution for each cell of its window, the last one with the clamp."""
    source, target = maps
    count = pool.kernel[0] * pool.kernel[1]
    layers: list[ConvolutionLayer] = []
    best: FeatureMap | None = None
    for tap in range(count):
        last = tap == count - 1
        # Never in place: a running maximum is read while the next one is written.
        result = target if last else context.fresh(target.height, target.width, target.channels)
        low, high = bounds if last else EVERYTHING
        layer = clamp_layer(context, operator, source, result, (low, high))
        weights = np.zeros((count, source.channels), np.int8)
        weights[tap] = 1
        layer = replace(
            layer,
            label=f"{operator.kind} cell {tap + 1} of {pool.kernel[0]}x{pool.kernel[1]}",
            weights=weights.reshape(*pool.kernel, source.channels),
            stride=pool.stride,
            padding=pool.padding,
            pad_value=pool.pad_value,
        )
        if best is not None:
            guest = operand(best, -low, 1.0, Combine.MAXIMUM, context.soc)
            layer = replace(layer, addend=guest, rules=(Unproven.ELEMENTWISE_MAXIMUM,))
        layers += dense_blocks(layer, BLOCK)
        best = result
    return layers
