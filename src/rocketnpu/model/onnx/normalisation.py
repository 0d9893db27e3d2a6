"""BatchNormalization that no convolution has taken in: a factor and an offset for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import DType, Padding, Quantisation
from rocketnpu.graph.operators import DepthwiseConv2D
from rocketnpu.model.onnx.clamps import activation_of, clamped
from rocketnpu.model.onnx.step import NotTakenError, Source, Step, spread
from rocketnpu.model.onnx.windows import map_of
from rocketnpu.model.onnx.writer import Writer

Array = npt.NDArray[Any]
_MOST_BIAS = 1 << 28
"""Steps of a bias, at most: sums stay far inside 32 bits."""
_FINEST = 2.0**-20
"""Of a step of the result: no factor need be finer than that."""


def batch(step: Step, out: Writer) -> None:
    """Write BatchNormalization of a map as DEPTHWISE_CONV_2D 1x1 whose weight scales are the factors."""
    if len(step.targets) != 1 or step.attributes.get("training_mode", 0):
        raise NotTakenError("it is in training")
    features, layout = map_of(out, step.source(0))
    channels, source = layout.shape[3], out.tensors[features].quantisation
    gain, offset, mean, variance = (_reals(step.source(place), channels) for place in range(1, 5))
    with np.errstate(all="ignore"):
        factor = gain / np.sqrt(variance + float(step.attributes.get("epsilon", 1e-5)))
        moved = offset - mean * factor
    if not (np.isfinite(factor).all() and np.isfinite(moved).all()) or source is None:
        raise NotTakenError("a factor or an offset of it is not finite")
    finest = _FINEST * step.targets[0].quantisation.scale / source.scale
    scales = np.maximum(np.maximum(np.abs(factor) / 127, np.abs(moved) / (source.scale * _MOST_BIAS)), finest)
    scales = scales.astype(np.float32)
    if not np.isfinite(scales).all():
        raise NotTakenError("a factor of it is beyond single precision")
    steps = scales.astype(np.float64)
    nothing = np.zeros(channels, np.int64)
    data = np.clip(np.rint(factor / steps), -127, 127).astype(np.int8).reshape(1, 1, 1, channels)
    weights = out.add("factors", data.shape, DType.INT8, Quantisation(scales, nothing, 3), data)
    biases = np.rint(moved / (source.scale * steps)).astype(np.int32)
    accumulator = Quantisation((scales * np.float32(source.scale)).astype(np.float32), nothing, 0)
    bias = out.add("offsets", (channels,), DType.INT32, accumulator, biases)
    activation, rest = activation_of(step)
    with clamped(out, step, layout, rest) as result:
        attributes = DepthwiseConv2D((1, 1), Padding.VALID, (1, 1), activation)
        out.operator("DEPTHWISE_CONV_2D", [features, weights, bias], [result], attributes)


def _reals(source: Source, channels: int) -> npt.NDArray[np.float64]:
    if source.data is None or source.data.size != channels:
        raise NotTakenError(f"a parameter of it is computed, or is not one of {channels}")
    if source.quantisation is None:
        return source.data.astype(np.float64).reshape(-1)
    scales, zero_points = spread(source.quantisation, source.data.ndim)
    found = (source.data.astype(np.int64) - zero_points) * scales.astype(np.float64)
    return np.asarray(found, np.float64).reshape(-1)
