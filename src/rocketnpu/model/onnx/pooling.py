"""MaxPool, AveragePool and GlobalAveragePool."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph import Activation, DType, Padding, Quantisation
from rocketnpu.graph.operators import DepthwiseConv2D, Pool2D, Reduce
from rocketnpu.model.onnx.clamps import activation_of, clamped
from rocketnpu.model.onnx.step import NotTakenError, Step
from rocketnpu.model.onnx.windows import Window, add_padding, map_of, mapped, window_of
from rocketnpu.model.onnx.writer import Writer


def maximum_pool(step: Step, out: Writer) -> None:
    """Write MaxPool as MAX_POOL_2D, with a border of the lowest bytes where TFLite has no word for its padding."""
    if len(step.targets) != 1:
        raise NotTakenError("its indices are asked for")
    _pool(step, out, "MAX_POOL_2D", lowest=True)


def average_pool(step: Step, out: Writer) -> None:
    """Write AveragePool as AVERAGE_POOL_2D, with a border of zeros where they count."""
    _pool(step, out, "AVERAGE_POOL_2D", lowest=False)


def _pool(step: Step, out: Writer, kind: str, *, lowest: bool) -> None:
    features, layout = map_of(out, step.source(0))
    window = window_of(step, (layout.shape[1], layout.shape[2]), ())
    if window.dilation != (1, 1):
        raise NotTakenError(f"dilations {window.dilation}")
    padding = window.padding
    if not lowest and padding is not Padding.VALID and step.attributes.get("count_include_pad", 0):
        if step.attributes.get("ceil_mode", 0):
            raise NotTakenError("its last windows reach beyond the padding that counts")
        padding = None
    elif not lowest and padding is None:
        raise NotTakenError(f"pads {window.pads}, which do not count: TFLite has no such average")
    if padding is None:
        tensor = out.tensors[features]
        value = int(np.iinfo(tensor.dtype.value).min) if lowest else None
        features, padding = add_padding(out, features, window.pads, value), Padding.VALID
    activation, rest = activation_of(step)
    target = mapped(layout, window.outputs, layout.shape[3])
    with clamped(out, step, target, rest) as result:
        same = step.targets[0].quantisation.same_as(out.tensors[features].quantisation)
        if lowest or same or padding is not Padding.VALID:
            out.operator(kind, [features], [result], Pool2D(window.stride, padding, window.kernel, activation))
        else:
            _as_convolution(out, features, result, window, activation)


def _as_convolution(out: Writer, features: int, result: int, window: Window, activation: Activation) -> None:
    """Write an average as DEPTHWISE_CONV_2D with kernels of ones: TFLite's average keeps the scale of its input."""
    tensor, channels = out.tensors[features], out.tensors[features].shape[3]
    assert tensor.quantisation is not None
    step, cells = tensor.quantisation.scale, window.kernel[0] * window.kernel[1]
    share, nothing = np.float32(1 / cells), np.zeros(1, np.int64)
    ones = np.ones((1, *window.kernel, channels), np.int8)
    scale = Quantisation(np.array([share], np.float32), nothing)
    weights = out.add("shares", ones.shape, DType.INT8, scale, ones)
    accumulator = Quantisation(np.array([step * share], np.float32), nothing)
    bias = out.add("no bias", (channels,), DType.INT32, accumulator, np.zeros(channels, np.int32))
    attributes = DepthwiseConv2D(window.stride, Padding.VALID, (1, 1), activation)
    out.operator("DEPTHWISE_CONV_2D", [features, weights, bias], [result], attributes)


def global_average(step: Step, out: Writer) -> None:
    """Write GlobalAveragePool as MEAN over rows and columns."""
    features, layout = map_of(out, step.source(0))
    target = mapped(layout, (1, 1), layout.shape[3])
    activation, rest = activation_of(step)
    if activation is not Activation.NONE:
        raise NotTakenError("a clamp behind a mean")
    with clamped(out, step, target, rest) as result:
        out.operator("MEAN", [features, out.integers("axes", [1, 2])], [result], Reduce(keep_dims=True))
