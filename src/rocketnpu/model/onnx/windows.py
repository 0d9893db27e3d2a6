"""Conv and ConvTranspose, and what they have in common with pools: windows that slide over a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import DType, Padding, Quantisation
from rocketnpu.graph.operators import (
    Conv2D,
    DepthwiseConv2D,
    Pads,
    StridedSlice,
    TransposeConv,
)
from rocketnpu.model.onnx.clamps import activation_of, clamped
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import NotTakenError, Source, Step, spread
from rocketnpu.model.onnx.writer import Writer

Array = npt.NDArray[Any]
_MAX_PADDING = 15
"""Pixels that a convolution itself can add above and to the left; more are added by PAD."""
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Window:
    """A window over a map. Pairs are rows, columns."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Pads
    """Such that the last window ends with the padded map, or before its end."""
    size: tuple[int, int]
    """Of the map."""
    outputs: tuple[int, int]

    @property
    def is_same(self) -> bool:
        """Whether padding and outputs are those of TFLite's SAME."""
        return all(
            self.outputs[a] == -(-self.size[a] // self.stride[a]) and self.pads[a] == _same(self, a) for a in (0, 1)
        )

    @property
    def padding(self) -> Padding | None:
        """TFLite's word for the padding, or None where it has none."""
        if self.pads == ((0, 0), (0, 0)):
            return Padding.VALID
        return Padding.SAME if self.is_same else None


def _same(window: Window, axis: int) -> tuple[int, int]:
    reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1
    total = max((window.outputs[axis] - 1) * window.stride[axis] + reach - window.size[axis], 0)
    return total // 2, total - total // 2


def window_of(step: Step, size: tuple[int, int], kernel: tuple[int, ...]) -> Window:
    """Read a node's window; of one dimension it has one row.

    Raises:
        NotTakenError: its attributes contradict one another.
    """
    attributes = step.attributes
    kernel = tuple(int(k) for k in attributes.get("kernel_shape", kernel))
    rank = len(kernel)
    stride, dilation = (_numbers(attributes, name, [1] * rank) for name in ("strides", "dilations"))
    pads = _numbers(attributes, "pads", [0] * (2 * rank))
    if rank not in (1, 2) or len(stride) != rank or len(dilation) != rank or len(pads) != 2 * rank:
        raise NotTakenError(f"a window of {rank} dimensions")
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0 or max(*kernel, *stride, *dilation, *pads) > 1 << 15:
        raise NotTakenError(f"kernel {kernel}, strides {stride}, dilations {dilation}, pads {pads}")
    if rank == 1:
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
        pads = (0, pads[0], 0, pads[1])
    return _fitted(step, Window(kernel[:2], stride[:2], dilation[:2], ((0, 0), (0, 0)), size, (1, 1)), pads)  # type: ignore[arg-type]


def _numbers(attributes: Any, name: str, default: list[int]) -> tuple[int, ...]:
    return tuple(int(value) for value in attributes.get(name, default))


def _fitted(step: Step, window: Window, pads: tuple[int, ...]) -> Window:
    """Work out outputs, and padding that does not reach beyond the last window."""
    automatic = step.attributes.get("auto_pad", "NOTSET")
    ceiling = bool(step.attributes.get("ceil_mode", 0))
    found, outputs = [], []
    for axis in (0, 1):
        size, stride = window.size[axis], window.stride[axis]
        reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1
        before, behind = pads[axis], pads[axis + 2]
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size // stride)
            total = max((count - 1) * stride + reach - size, 0)
            before, behind = total // 2, total - total // 2
            if automatic == "SAME_LOWER":
                before, behind = behind, before
        else:
            if automatic == "VALID":
                before = behind = 0
            space = size + before + behind - reach
            count = (-(-space // stride) if ceiling else space // stride) + 1
            if ceiling and (count - 1) * stride >= size + before:
                count -= 1  # a window may not begin in the padding behind
        if count < 1:
            raise NotTakenError(f"a window of {reach} has no place in {size}")
        used = (count - 1) * stride + reach - size - before
        found.append((before, max(used, 0)))
        outputs.append(count)
    return Window(
        window.kernel, window.stride, window.dilation, (found[0], found[1]), window.size, (outputs[0], outputs[1])
    )


def map_of(out: Writer, source: Source) -> tuple[int, Layout]:
    """Return a value as a map NHWC.

    Raises:
        NotTakenError: it is no map.
    """
    shape = out.values.shapes.get(source.name)
    layout = None if shape is None else Layout.image(shape)
    if layout is None:
        raise NotTakenError(f"its input has shape {shape}, which is no map")
    return out.read(source, layout), layout


def mapped(layout: Layout, outputs: tuple[int, int], channels: int) -> Layout:
    """Return the layout of a map of so many rows, columns and channels, of the same rank as another."""
    shape = (layout.split[0], channels, *outputs)
    found = layout.like(tuple(shape[place] for place in layout.places))
    assert found is not None
    return found


def convolution(step: Step, out: Writer) -> None:
    """Write Conv as CONV_2D or DEPTHWISE_CONV_2D."""
    source, weights = step.source(0), step.source(1)
    data = _weights(weights)
    features, layout = map_of(out, source)
    if data.ndim != len(layout.places):
        raise NotTakenError(f"weights of shape {data.shape} for an input of shape {layout.value_shape}")
    window = window_of(step, (layout.shape[1], layout.shape[2]), data.shape[2:])
    data = data.reshape(*data.shape[:2], *window.kernel)
    groups, channels = int(step.attributes.get("group", 1)), layout.shape[3]
    if groups < 1 or channels != groups * data.shape[1] or data.shape[0] % groups:
        raise NotTakenError(f"{channels} channels, {groups} groups and weights of shape {data.shape}")
    features, pads = _padded(out, features, source, window)
    target = mapped(layout, window.outputs, data.shape[0])
    # A channel that reads a single channel is a depthwise kernel, unless there is but one.
    depthwise = data.shape[1] == 1 and groups > 1
    ordered = data.transpose(1, 2, 3, 0) if depthwise else data.transpose(0, 2, 3, 1)
    kernel = _kernel(out, step, ordered, 3 if depthwise else 0)
    bias = bias_of(out, step, 2, kernel, data.shape[0])
    activation, rest = activation_of(step)
    padding, explicit = (window.padding, None) if pads is None else (Padding.VALID, pads)
    padding = padding if padding is not None else Padding.VALID
    with clamped(out, step, target, rest) as result:
        if depthwise:
            out.operator(
                "DEPTHWISE_CONV_2D",
                [features, kernel, bias],
                [result],
                DepthwiseConv2D(
                    window.stride, padding, window.dilation, activation, data.shape[0] // channels, explicit
                ),
            )
        else:
            attributes = Conv2D(window.stride, padding, window.dilation, activation, explicit)
            out.operator("CONV_2D", [features, kernel, bias], [result], attributes)


def _weights(source: Source) -> Array:
    if source.data is None or source.quantisation is None:
        raise NotTakenError("its weights are computed" if source.data is None else "its weights are not quantised")
    if source.data.dtype.name not in ("int8", "uint8"):
        raise NotTakenError(f"its weights are {source.data.dtype.name}")
    if source.data.ndim not in (2, 3, 4):
        raise NotTakenError(f"its weights have shape {source.data.shape}")
    return source.data


def _padded(out: Writer, features: int, source: Source, window: Window) -> tuple[int, Pads | None]:
    """Return the features, padded by an operator of their own where the convolution cannot, and explicit padding."""
    if window.padding is not None:
        reach = max((k - 1) * d // 2 for k, d in zip(window.kernel, window.dilation, strict=True))
        if window.padding is Padding.VALID or reach <= _MAX_PADDING:
            return features, None
    fits = all(
        before <= _MAX_PADDING and max(before, behind) <= (kernel - 1) * dilation
        for (before, behind), kernel, dilation in zip(window.pads, window.kernel, window.dilation, strict=True)
    )
    return (features, window.pads) if fits else (add_padding(out, features, window.pads), ((0, 0), (0, 0)))


def add_padding(out: Writer, features: int, pads: Pads, value: int | None = None) -> int:
    """Write PAD (PADV2 where the bytes that are added are not the zero point), and return what it gives."""
    tensor = out.tensors[features]
    edges = [(0, 0), *pads, (0, 0)]
    shape = tuple(size + sum(edge) for size, edge in zip(tensor.shape, edges, strict=True))
    padded = out.add(f"{tensor.name} padded", shape, tensor.dtype, tensor.quantisation)
    inputs = [features, out.integers("paddings", edges)]
    if value is None:
        out.operator("PAD", inputs, [padded])
    else:
        data = np.array([value], tensor.dtype.value)
        out.operator("PADV2", [*inputs, out.add("padding", (1,), tensor.dtype, tensor.quantisation, data)], [padded])
    return padded


def _kernel(out: Writer, step: Step, ordered: Array, axis: int) -> int:
    """Write the weights, those with several scales as INT8, which alone have zero point 0."""
    weights = step.source(1)
    assert weights.quantisation is not None
    along = {0: 0, 3: 3}[axis]
    given = weights.quantisation
    if given.is_per_channel and given.axis != (1 if step.kind == "ConvTranspose" else 0):
        raise NotTakenError(f"its weights have scales along axis {given.axis}")
    dtype = DType(ordered.dtype.name)
    if given.is_per_channel or step.targets[0].dtype is DType.INT8:
        dtype = DType.INT8
    return out.constant(weights, ordered, dtype, along)


def bias_of(out: Writer, step: Step, position: int, kernel: int, channels: int) -> int:
    """Write a bias in steps of the accumulator, zeros where there is none.

    Raises:
        NotTakenError: it is computed, or beyond 32 bits in those steps.
    """
    features, weights = step.source(0).quantisation, out.tensors[kernel].quantisation
    assert features is not None
    assert weights is not None
    scales = (features.scales * weights.scales).astype(np.float32)
    source = step.sources[position] if position < len(step.sources) else None
    steps = np.zeros(channels, np.int64)
    if source is not None:
        steps = _accumulated(source, np.float64(features.scale) * weights.scales.astype(np.float64), channels)
    data = steps.astype(np.int32)
    quantisation = Quantisation(scales, np.zeros(len(scales), np.int64), 0)
    return out.add("bias" if source is None else source.name, (channels,), DType.INT32, quantisation, data)


def _accumulated(source: Source, scales: Array, channels: int) -> npt.NDArray[np.int64]:
    """Return a bias in steps of the accumulator."""
    if source.data is None:
        raise NotTakenError("its bias is computed")
    if source.data.size != 1 and (source.data.size, source.data.shape[-1]) != (channels, channels):
        raise NotTakenError(f"a bias of shape {source.data.shape} for {channels} channels")
    real = source.data.reshape(-1).astype(np.float64)
    if source.quantisation is not None:
        own, zero_points = spread(source.quantisation, 1)
        if not np.any(zero_points) and np.allclose(own, scales.astype(np.float32), rtol=1e-6, atol=0):
            return np.broadcast_to(source.data.reshape(-1).astype(np.int64), channels)
        real = (real - zero_points) * own.astype(np.float64)
    with np.errstate(all="ignore"):
        steps = np.broadcast_to(np.rint(real / scales), channels)
    if not np.all(np.isfinite(steps)) or np.any(steps < _INT32.min) or np.any(steps > _INT32.max):
        raise NotTakenError("its bias leaves 32 bits in steps of the accumulator: its weights have too small a scale")
    return steps.astype(np.int64)


def transposed_convolution(step: Step, out: Writer) -> None:
    """Write ConvTranspose as TRANSPOSE_CONV, cut where padding takes rows or columns away."""
    source, weights = step.source(0), step.source(1)
    data = _weights(weights)
    features, layout = map_of(out, source)
    if data.ndim != len(layout.places) or int(step.attributes.get("group", 1)) != 1:
        raise NotTakenError(f"{step.attributes.get('group', 1)} groups, weights of shape {data.shape}")
    size = (layout.shape[1], layout.shape[2])
    frame = _enlarged(step, size, data.shape[2:])
    data = data.reshape(*data.shape[:2], *frame.kernel)
    if data.shape[0] != layout.shape[3]:
        raise NotTakenError(f"{layout.shape[3]} channels for weights of shape {data.shape}")
    kernel = _kernel(out, step, data.transpose(1, 2, 3, 0), 0)
    bias = bias_of(out, step, 2, kernel, data.shape[1])
    whole = tuple((n - 1) * s + k for n, s, k in zip(size, frame.stride, frame.kernel, strict=True))
    target = mapped(layout, frame.outputs, data.shape[1])
    activation, rest = activation_of(step)
    cut = _cut(frame, whole)
    with clamped(out, step, target, rest) as result:
        made, padding, shape = result, Padding.SAME, target.shape
        if not frame.is_same:
            padding, shape = Padding.VALID, (layout.shape[0], *whole, data.shape[1])
            if cut is not None:
                tensor = out.tensors[result]
                made = out.add(f"{tensor.name} whole", shape, tensor.dtype, tensor.quantisation)
        attributes = TransposeConv(frame.stride, padding, activation)
        inputs = [out.integers("output shape", shape), kernel, features, bias]
        out.operator("TRANSPOSE_CONV", inputs, [made], attributes)
        if made != result:
            assert cut is not None
            limits = [out.integers(what, numbers) for what, numbers in zip(("begin", "end"), cut, strict=True)]
            steps = out.integers("strides", [1, 1, 1, 1])
            out.operator("STRIDED_SLICE", [made, *limits, steps], [result], StridedSlice(9, 9))


@dataclass(frozen=True)
class _Frame:
    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    outputs: tuple[int, int]
    is_same: bool


def _enlarged(step: Step, size: tuple[int, int], kernel: tuple[int, ...]) -> _Frame:
    attributes = step.attributes
    rank = len(kernel)
    stride, dilation, extra = (
        _numbers(attributes, name, [default] * rank)
        for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    pads = _numbers(attributes, "pads", [0] * (2 * rank))
    if rank not in (1, 2) or set(dilation) != {1} or len(pads) != 2 * rank or min(*kernel, *stride) < 1:
        raise NotTakenError(f"kernel {kernel}, strides {stride}, dilations {dilation}")
    if attributes.get("output_shape") or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotTakenError("the output's shape is given, not its padding")
    if len(stride) != rank or len(extra) != rank or min(*pads, *extra) < 0 or max(*pads, *stride, *kernel) > 1 << 15:
        raise NotTakenError(f"strides {stride}, pads {pads}, output padding {extra}")
    if rank == 1:
        kernel, stride, extra, pads = (1, *kernel), (1, *stride), (0, *extra), (0, pads[0], 0, pads[1])
    outputs, same = [], []
    for axis in (0, 1):
        whole = (size[axis] - 1) * stride[axis] + kernel[axis]
        outputs.append(whole - pads[axis] - pads[axis + 2] + extra[axis])
        if outputs[axis] < 1 or outputs[axis] > whole - pads[axis]:
            raise NotTakenError(f"pads {pads} and output padding {extra} for kernel {kernel} and strides {stride}")
        total = max(whole - size[axis] * stride[axis], 0)
        same.append(outputs[axis] == size[axis] * stride[axis] and pads[axis] == total // 2)
    return _Frame(kernel[:2], stride[:2], (pads[0], pads[1]), (outputs[0], outputs[1]), all(same))  # type: ignore[arg-type]


def _cut(frame: _Frame, whole: tuple[int, ...]) -> tuple[list[int], list[int]] | None:
    if frame.outputs == whole:
        return None
    ends = [first + count for first, count in zip(frame.before, frame.outputs, strict=True)]
    return [0, *frame.before, 0], [0, *ends, 0]
