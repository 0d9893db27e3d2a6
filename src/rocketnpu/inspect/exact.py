"""Convolutions in integers of 64 bits: where LiteRT's own accumulators wrap around, this is what the model says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import Activation, Graph, Operator, Padding
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D
from rocketnpu.graph.passes.widen_scales import Channels, layer_channels

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
_INT32 = 1 << 31
_SIX = 6.0


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Where a layer's accumulators leave 32 bits."""

    exact: Array
    """The outputs, computed in 64 bits and rounded once."""
    mask: npt.NDArray[np.bool_]
    """Outputs whose accumulator LiteRT's 32 bits do not hold."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels that have such outputs."""
        return tuple(int(n) for n in np.flatnonzero(self.mask.reshape(-1, self.mask.shape[-1]).any(0)))


def wrapped(graph: Graph, operator: Operator, values: Mapping[int, Array]) -> Wrapped | None:
    """Return a layer's exact outputs where some of its accumulators leave 32 bits, or None where none can.

    Args:
        graph: the model's.
        operator: a CONV_2D or DEPTHWISE_CONV_2D of bytes with a scale for each channel; None is returned for others.
        values: the input's, by tensor number.
    """
    attributes = operator.attributes
    if not isinstance(attributes, Conv2D | DepthwiseConv2D) or operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    channels = layer_channels(graph, operator)
    if channels is None or (channels.reach() < _INT32).all() or attributes.pads is not None:
        return None
    total = _accumulators(graph, operator, channels, values)
    if total is None:
        return None
    mask = (total >= _INT32) | (total < -_INT32)
    if not mask.any():
        return None
    return Wrapped(_finished(graph, operator, channels, total), mask)


def _accumulators(graph: Graph, operator: Operator, channels: Channels, values: Mapping[int, Array]) -> Int64 | None:
    attributes, weights = operator.attributes, graph.input_of(operator, 1)
    assert isinstance(attributes, Conv2D | DepthwiseConv2D)
    source = graph.input_of(operator, 0)
    assert source.quantisation is not None
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    if weights.shape[3] != source.shape[3]:  # groups and depth multipliers
        return None
    kernel, shape = weights.shape[1:3], graph.tensors[operator.outputs[0]].shape
    steps = values[source.index].astype(np.float64) - source.quantisation.zero_point
    padded, flat = _padded(steps, shape, kernel, attributes), channels.weights.astype(np.float64)
    # Sums of products of bytes are whole numbers far below 2**53, so double precision holds them exactly.
    total = np.broadcast_to(channels.biases.astype(np.float64), shape).copy()
    taps = flat.reshape(len(flat), *kernel, -1)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            top, left = y * attributes.dilation[0], x * attributes.dilation[1]
            rows = slice(top, top + (shape[1] - 1) * attributes.stride[0] + 1, attributes.stride[0])
            columns = slice(left, left + (shape[2] - 1) * attributes.stride[1] + 1, attributes.stride[1])
            view = padded[:, rows, columns]
            total += view * taps[:, y, x, 0] if depthwise else view @ taps[:, y, x].T
    return total.astype(np.int64)


def _padded(
    steps: Array, shape: tuple[int, ...], kernel: tuple[int, ...], attributes: Conv2D | DepthwiseConv2D
) -> Array:
    edges = [(0, 0)]
    for axis in range(2):
        reach = (kernel[axis] - 1) * attributes.dilation[axis] + 1
        needed = (shape[1 + axis] - 1) * attributes.stride[axis] + reach
        missing = max(needed - steps.shape[1 + axis], 0)
        before = missing // 2 if attributes.padding is Padding.SAME else 0
        edges.append((before, missing - before))
    return np.pad(steps, [*edges, (0, 0)])


def _finished(graph: Graph, operator: Operator, channels: Channels, total: Int64) -> Array:
    output = graph.tensors[operator.outputs[0]]
    assert output.quantisation is not None
    zero, scale = output.quantisation.zero_point, output.quantisation.scale
    limits = np.iinfo(output.dtype.value)
    low, high = int(limits.min), int(limits.max)
    activation = getattr(operator.attributes, "activation", Activation.NONE)
    if activation in (Activation.RELU, Activation.RELU6):
        low = max(low, zero)
    if activation is Activation.RELU6:
        high = min(high, zero + round(_SIX / scale))
    found: Array = np.clip(np.rint(total * channels.factors) + zero, low, high).astype(limits.dtype)
    return found
