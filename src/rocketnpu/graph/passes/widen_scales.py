"""Channels whose weights are next to nothing get a wider scale, so that their bias fits the accumulator."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.passes.rewrite import Accepts, anything, fresh_tensor, rewrite
from rocketnpu.graph.quantisation import Quantisation
from rocketnpu.graph.tensors import DType, Tensor

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MAX_CHANGE = 1 / 32
"""Output steps by which a channel may change before it is rounded. Beside what channel scales may be off (0.7) and
what LiteRT's second rounding takes (0.25), rounded values still differ by 1 at most."""
_ROOM = 1 << 30
"""Half of what an accumulator of 32 bits holds on either side: what it may reach without any need of this pass."""
_SPREAD = 128
"""How much smaller than the largest factor of its layer a channel's may be: its 14-bit multiplier then has 7 bits."""
_MOST = 40
"""Largest power of two by which a scale is widened; beyond it every weight and every 32-bit bias is zero."""
_LIMITS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255)}
"""Of features; quantisers of ONNX write UINT8 features beside INT8 weights."""
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2}
"""Position of the bias."""


def widen_scales(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Multiply the weight scale of dead channels by a power of two, and divide their weights and biases by it.

    Quantisers give a channel whose weights are nearly zero so small a scale that its bias fills or exceeds 32 bits, or
    that its factor cannot stand beside its neighbours. Such a channel is all bias. Its new weights and bias are
    the old ones rounded; what that changes is bounded for every possible input, from the residues themselves, and stays
    below :data:`MAX_CHANGE` of an output step, or the channel is left alone.
    """
    for operator in graph.operators:
        if operator.kind in _BIAS:
            graph = _widened(graph, operator, accepts)
    return graph


@dataclass(frozen=True)
class Channels:
    """The numbers of a layer, by output channel."""

    weights: Int64
    """``(channels, taps)``."""
    biases: Int64
    factors: Float64
    """Accumulator to output steps."""
    lowest: int
    """Smallest and largest input less its zero point."""
    highest: int

    def reach(self) -> Float64:
        """Return the largest magnitude of each accumulator, whichever order the sum is made in."""
        largest = max(-self.lowest, self.highest) + 128
        total: Float64 = np.abs(self.weights).sum(1) * float(largest) + np.abs(self.biases)
        return total

    def change(self, exponents: Int64) -> Float64:
        """Bound what each channel's output changes by, in steps, if its scale grows by ``2**exponents``."""
        weights = self.weights - _rounded(self.weights, exponents[:, None])
        biases = self.biases - _rounded(self.biases, exponents)
        above = (np.maximum(weights, 0) * self.highest + np.minimum(weights, 0) * self.lowest).sum(1) + biases
        below = (np.maximum(weights, 0) * self.lowest + np.minimum(weights, 0) * self.highest).sum(1) + biases
        worst: Float64 = np.maximum(np.abs(above), np.abs(below)) * self.factors
        return worst

    def of(self, chosen: npt.NDArray[np.bool_]) -> Channels:
        """Return some of the channels."""
        return replace(self, weights=self.weights[chosen], biases=self.biases[chosen], factors=self.factors[chosen])


def _rounded(values: Int64, exponents: Int64) -> Int64:
    """Round to multiples of a power of two, half up."""
    return _divided(values, exponents) << exponents


def _divided(values: Int64, exponents: Int64) -> Int64:
    half = np.where(exponents > 0, 1 << np.maximum(exponents - 1, 0), 0)
    return (values + half) >> exponents


def widening(channels: Channels) -> Int64:
    """Return for each channel the power of two by which its scale is widened; 0 for those that need or allow none."""
    found = np.zeros(len(channels.biases), np.int64)
    wanted = channels.factors.max(initial=0.0) / _SPREAD
    needy = (channels.reach() >= _ROOM) | (channels.factors < wanted)
    needy &= channels.factors > 0
    if not needy.any():
        return found
    part = channels.of(needy)
    best = np.zeros(len(part.biases), np.int64)
    for exponent in range(1, _MOST + 1):
        # No further than needed: factors that are as large as wanted need no more.
        open_still = np.ldexp(part.factors, best.astype(np.int32)) < wanted
        open_still |= np.ldexp(part.reach(), -best.astype(np.int32)) >= _ROOM
        good = part.change(np.full(len(best), exponent)) <= MAX_CHANGE
        best = np.where(open_still & good, exponent, best)
    found[needy] = best
    return found


def _widened(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    channels = layer_channels(graph, operator)
    exponents = None if channels is None else widening(channels)
    if channels is None or exponents is None or not exponents.any():
        return graph
    weights, bias = graph.input_of(operator, 1), graph.input_of(operator, _BIAS[operator.kind])
    number = fresh_tensor(graph)
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    smaller = _divided(channels.weights, exponents[:, None]).astype(np.int8)
    data = smaller.T.reshape(weights.shape) if depthwise else smaller.reshape(weights.shape)
    wider = replace(weights, index=number, data=data, quantisation=_scaled(weights, exponents))
    biases = _divided(channels.biases, exponents).astype(np.int32).reshape(bias.shape)
    lighter = replace(bias, index=number + 1, data=biases, quantisation=_scaled(bias, exponents))
    inputs = (operator.inputs[0], wider.index, lighter.index, *operator.inputs[3:])
    made = replace(operator, inputs=inputs)
    candidate = rewrite(graph, {operator.index: (made,)}, (wider, lighter))
    return candidate if accepts(candidate, made) else graph


def _scaled(tensor: Tensor, exponents: Int64) -> Quantisation | None:
    quantisation = tensor.quantisation
    if quantisation is None or len(quantisation.scales) != len(exponents):
        return quantisation
    return replace(quantisation, scales=np.ldexp(quantisation.scales, exponents.astype(np.int32)))


def layer_channels(graph: Graph, operator: Operator) -> Channels | None:
    """Return the numbers of a layer with a weight scale for each output channel and zero points of 0, else None."""
    bias, source = operator.input(_BIAS[operator.kind]), graph.input_of(operator, 0)
    weights, target = graph.input_of(operator, 1), graph.tensors[operator.outputs[0]]
    if bias is None or weights.data is None or weights.quantisation is None or weights.dtype is not DType.INT8:
        return None
    biases, quantisation = graph.tensors[bias].data, weights.quantisation
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    if biases is None or not quantisation.is_per_channel or quantisation.zero_points.any() or quantisation.axis != axis:
        return None
    if source.quantisation is None or target.quantisation is None or source.dtype not in _LIMITS:
        return None
    if not target.quantisation.scale > 0 or biases.size != len(quantisation.scales):
        return None
    flat = np.moveaxis(weights.data.astype(np.int64), axis, 0).reshape(len(quantisation.scales), -1)
    factors = source.quantisation.scale * quantisation.scales.astype(np.float64) / target.quantisation.scale
    low, high = (limit - source.quantisation.zero_point for limit in _LIMITS[source.dtype])
    return Channels(flat, biases.astype(np.int64).reshape(-1), factors, low, high)
