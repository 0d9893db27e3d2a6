"""The integer model of the chip: what a convolution layer's output must be, computed without layouts, tiles or tasks.

Plain NHWC arithmetic in wide integers after spec section 5 and addendum 1.1. It shares with the compiler the layer's
numbers (weights, biases, multipliers) and nothing else, and with the simulator not even those: equal bytes mean that
packing, tiling, register values and the simulator's addressing and arithmetic all agree.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.tasks.convolution import ConvolutionLayer
from rocketnpu.tasks.requantise import CHANNEL_SHIFT
from rocketnpu.tasks.task import Combine

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


def round_shift(values: Int64, shift: int) -> Int64:
    """Divide by ``2**shift``, to nearest, ties to even (addendum 2.2)."""
    if shift == 0:
        return values
    return (values + ((1 << (shift - 1)) - 1) + (values >> shift & 1)) >> shift


def layer_output(layer: ConvolutionLayer, source: Int8, addend: Int8 | None = None) -> Int8:
    """Compute a layer's stored output.

    Args:
        layer: the layer; ``source`` and ``target`` of it are used for their sizes only.
        source: stored input, shape ``(height, width, channels)``.
        addend: stored second operand of a fused addition, of the output's shape.

    Returns:
        Stored output, shape ``(height, width, channels)``.
    """
    total = np.clip(_accumulate(layer, source) + layer.biases, -(1 << 31), (1 << 31) - 1)
    requantise = layer.requantise
    if requantise.channel_multipliers is not None:
        total = round_shift(total * requantise.channel_multipliers, CHANNEL_SHIFT)
        total = np.clip(total, -(1 << 31), (1 << 31) - 1)
    total = total + requantise.lift
    if addend is not None and layer.addend is not None:
        assert layer.addend.combine is Combine.ADD
        second = (addend.astype(np.int64) + layer.addend.offset) * layer.addend.scale
        total = total + round_shift(second, layer.addend.shift)
    if requantise.relu:
        total = np.maximum(total, 0)
    if requantise.ceiling is not None:
        total = np.minimum(total, requantise.ceiling)
    conversion = requantise.conversion
    result = round_shift(total * conversion.multiplier, conversion.shift) + conversion.offset
    return np.clip(result, -128, 127).astype(np.int8)


def _accumulate(layer: ConvolutionLayer, source: Int8) -> Int64:
    """Sum products over the window; float64 holds them exactly, for they stay far below 2**53."""
    window = _windows(layer, source).astype(np.float64)
    weights = layer.weights.astype(np.float64) - layer.weight_zero_point
    if layer.depthwise:
        each: Int64 = np.einsum("yxcij,ijc->yxc", window, weights, optimize=True).astype(np.int64)
        return each
    rows, columns = window.shape[:2]
    flat = window.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
    sums = flat @ weights.reshape(len(weights), -1).T
    exact: Int64 = sums.reshape(rows, columns, -1).astype(np.int64)
    return exact


def _windows(layer: ConvolutionLayer, source: Int8) -> Int8:
    """Return the padded input as ``(output rows, output columns, channels, kernel rows, kernel columns)``."""
    target = (layer.target.height, layer.target.width)
    pads = []
    for axis in range(2):
        reach = (layer.window[axis] - 1) * layer.dilation[axis] + 1
        needed = (target[axis] - 1) * layer.stride[axis] + reach
        before = layer.padding[axis]
        pads.append((before, max(needed - before - source.shape[axis], 0)))
    padded = np.pad(source, (*pads, (0, 0)), constant_values=layer.pad_value)
    reach_y, reach_x = ((k - 1) * d + 1 for k, d in zip(layer.window, layer.dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(padded, (reach_y, reach_x), axis=(0, 1))
    view = view[:: layer.stride[0], :: layer.stride[1], :, :: layer.dilation[0], :: layer.dilation[1]]
    return view[: target[0], : target[1]]
