"""Operators that move values or see them in another shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import DType
from rocketnpu.graph.operators import Concatenation, MirrorPad, Reduce, Resize, StridedSlice
from rocketnpu.model.onnx.clamps import byte_of
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import NotTakenError, Step
from rocketnpu.model.onnx.values import scalars
from rocketnpu.model.onnx.windows import map_of
from rocketnpu.model.onnx.writer import Writer

Array = npt.NDArray[Any]


def unclamped(step: Step) -> None:
    """Refuse a clamp behind an operator that only moves values.

    Raises:
        NotTakenError: there is one.
    """
    if step.clamp is not None:
        raise NotTakenError("a clamp behind an operator that moves values")


def known_input(step: Step, out: Writer) -> tuple[int, Layout, tuple[int, ...]]:
    """Return the first input in a layout whose axes can be told, and its shape in the file."""
    number, layout = out.home(step.source(0))
    shape = out.values.shapes.get(step.source(0).name)
    if shape is None:
        raise NotTakenError("the shape of its input is known at run time only")
    if layout.is_flat:
        layout = Layout.plain(shape)
        number = out.read(step.source(0), layout)
    return number, layout, shape


def axis_of(step: Step, rank: int, default: int | None = None, name: str = "axis") -> int:
    """Return a node's axis, counted from the front.

    Raises:
        NotTakenError: there is none, or it is outside.
    """
    axis = step.attributes.get(name, default)
    if axis is None or not -rank <= int(axis) < rank:
        raise NotTakenError(f"axis {axis} of {rank}")
    return int(axis) % rank


def concatenation(step: Step, out: Writer) -> None:
    """Write Concat as CONCATENATION."""
    unclamped(step)
    _, layout, shape = known_input(step, out)
    axis = axis_of(step, len(shape))
    numbers, total = [], 0
    for position in range(len(step.sources)):
        source = step.source(position)
        own = source.data.shape if source.data is not None else out.values.shapes.get(source.name)
        seen = None if own is None else layout.like(own)
        if own is None or seen is None:
            raise NotTakenError(f"an operand of shape {own} beside {shape}")
        if source.data is None:
            numbers.append(_rescaled(out, out.read(source, seen), step))
        else:
            numbers.append(out.constant(source, seen.to_graph(source.data), step.targets[0].dtype))
        total += own[axis]
    target = layout.like((*shape[:axis], total, *shape[axis + 1 :]))
    assert target is not None
    result = out.result(step.targets[0], target)
    out.operator("CONCATENATION", numbers, [result], Concatenation(layout.axis(axis)))


def _rescaled(out: Writer, number: int, step: Step) -> int:
    """Return a tensor with the scale of a step's result: TFLite joins no INT8 tensors of several scales."""
    tensor, target = out.tensors[number], step.targets[0]
    if tensor.dtype is not DType.INT8 or target.quantisation.same_as(tensor.quantisation):
        return number
    made = out.add(f"{tensor.name} rescaled", tensor.shape, target.dtype, target.quantisation)
    out.operator("QUANTIZE", [number], [made])
    return made


def split(step: Step, out: Writer) -> None:
    """Write Split as SPLIT_V."""
    unclamped(step)
    number, layout, shape = known_input(step, out)
    axis = axis_of(step, len(shape), 0)
    given = step.constant(1)
    count = len(step.targets)
    sizes = list(scalars(given)) if given is not None else [int(n) for n in step.attributes.get("split", ())]
    if not sizes:
        each = -(-shape[axis] // count)
        sizes = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 1:
        raise NotTakenError(f"{shape[axis]} values do not split into {sizes}")
    results = []
    for target, size in zip(step.targets, sizes, strict=True):
        seen = layout.like((*shape[:axis], size, *shape[axis + 1 :]))
        assert seen is not None
        results.append(out.result(target, seen))
    inputs = [number, out.integers("sizes", sizes), out.integers("axis", [layout.axis(axis)])]
    out.operator("SPLIT_V", inputs, results)


def cut(step: Step, out: Writer) -> None:
    """Write Slice as STRIDED_SLICE."""
    unclamped(step)
    number, layout, shape = known_input(step, out)
    starts, ends, axes, steps = (_parameter(step, name, place) for place, name in enumerate(_SLICE, 1))
    if starts is None or ends is None or len(starts) != len(ends):
        raise NotTakenError("where it begins and ends is computed at run time")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    begin, end, stride = [0] * len(layout.shape), list(layout.shape), [1] * len(layout.shape)
    wanted = list(shape)
    for first, last, axis, by in zip(starts, ends, axes, steps, strict=False):
        if not -len(shape) <= axis < len(shape) or by < 1:
            raise NotTakenError(f"axis {axis} by steps of {by}")
        chosen = range(*slice(first, last, by).indices(shape[axis]))
        if not chosen:
            raise NotTakenError("nothing is left of it")
        place = layout.axis(axis % len(shape))
        begin[place], end[place], stride[place] = chosen.start, chosen[-1] + 1, by
        wanted[axis] = len(chosen)
    target = layout.like(tuple(wanted))
    assert target is not None
    result = out.result(step.targets[0], target)
    limits = [out.integers(name, numbers) for name, numbers in (("begin", begin), ("end", end), ("strides", stride))]
    out.operator("STRIDED_SLICE", [number, *limits], [result], StridedSlice())


_SLICE = ("starts", "ends", "axes", "steps")


def _parameter(step: Step, name: str, position: int) -> list[int] | None:
    """Return whole numbers that newer operators take as an input, and older ones as an attribute."""
    if name in step.attributes:
        return [int(value) for value in step.attributes[name]]
    data = step.constant(position)
    return None if data is None else list(scalars(data))


def pad(step: Step, out: Writer) -> None:
    """Write Pad as PAD, PADV2 where another value than zero is added, or MIRROR_PAD."""
    unclamped(step)
    number, layout, shape = known_input(step, out)
    edges = _edges(step, shape)
    mode = step.attributes.get("mode", "constant")
    if mode in ("reflect", "edge") and any(map(any, edges)):
        _mirrored(step, out, edges, mode)
        return
    if mode != "constant" and any(map(any, edges)):
        raise NotTakenError(f"mode {mode}")
    moved = [(0, 0)] * len(layout.shape)
    for axis, edge in enumerate(edges):
        moved[layout.axis(axis)] = edge
    target = layout.like(tuple(size + sum(edge) for size, edge in zip(shape, edges, strict=True)))
    assert target is not None
    result = out.result(step.targets[0], target)
    tensor = out.tensors[result]
    inputs = [number, out.integers("paddings", moved)]
    assert tensor.quantisation is not None
    limits = np.iinfo(tensor.dtype.value)
    added = byte_of(added_value(step), tensor.quantisation.scale, tensor.quantisation.zero_point, limits)
    if added == tensor.quantisation.zero_point:
        out.operator("PAD", inputs, [result])
        return
    data = np.array([added], tensor.dtype.value)
    constant = out.add("padding", (1,), tensor.dtype, tensor.quantisation, data)
    out.operator("PADV2", [*inputs, constant], [result])


def added_value(step: Step) -> float:
    """Return the real number that Pad adds: an input, an attribute of the oldest Pad, or 0.

    Raises:
        NotTakenError: it is computed.
    """
    value = step.sources[2] if len(step.sources) > 2 else None
    if value is None:
        return float(step.attributes.get("value", 0.0))
    if value.data is None or value.data.size != 1:
        raise NotTakenError("the value that it adds is computed")
    real = float(value.data.reshape(-1)[0])
    if value.quantisation is None:
        return real
    return (real - value.quantisation.zero_point) * value.quantisation.scale


def _mirrored(step: Step, out: Writer, edges: Sequence[tuple[int, int]], mode: str) -> None:
    """Write a border that mirrors the map as MIRROR_PAD; one of its edge is a mirror of one pixel, again and again."""
    number, layout = map_of(out, step.source(0))
    shape = list(layout.value_shape)
    left = [list(edge) for edge in edges]
    if mode == "reflect" and any(max(edge) >= size for edge, size in zip(edges, shape, strict=True)):
        raise NotTakenError(f"pads {list(edges)} of a map of shape {shape}")
    most = max(map(max, edges)) if mode == "edge" else 1
    if most > _MOST_EDGES:
        raise NotTakenError(f"an edge repeated {most} times, at most {_MOST_EDGES}")
    for turn in range(most):
        now = [[min(n, 1) for n in edge] if mode == "edge" else edge for edge in left]
        left = [[n - m for n, m in zip(edge, taken, strict=True)] for edge, taken in zip(left, now, strict=True)]
        moved = [(0, 0)] * len(layout.shape)
        for axis, (before, behind) in enumerate(now):
            moved[layout.axis(axis)] = (before, behind)
            shape[axis] += before + behind
        target = layout.like(tuple(shape))
        assert target is not None
        tensor = out.tensors[number]
        last = turn == most - 1
        result = (
            out.result(step.targets[0], target)
            if last
            else out.add(f"{tensor.name} wider", target.shape, tensor.dtype, tensor.quantisation)
        )
        inputs = [number, out.integers("paddings", moved)]
        out.operator("MIRROR_PAD", inputs, [result], MirrorPad(symmetric=mode == "edge"))
        number = result


_MOST_EDGES = 8
"""How often an edge is repeated, at most: each time is an operator."""


def _edges(step: Step, shape: Sequence[int]) -> list[tuple[int, int]]:
    pads, axes = _parameter(step, "pads", 1), _parameter(step, "axes", 3)
    axes = list(range(len(shape))) if axes is None else axes
    if pads is None or len(pads) != 2 * len(axes) or min(pads, default=0) < 0 or max(pads, default=0) > 1 << 15:
        raise NotTakenError(f"pads {pads}")
    edges = [(0, 0)] * len(shape)
    for place, axis in enumerate(axes):
        if not -len(shape) <= axis < len(shape):
            raise NotTakenError(f"axis {axis} of {len(shape)}")
        edges[axis] = (pads[place], pads[place + len(axes)])
    return edges


def mean(step: Step, out: Writer) -> None:
    """Write ReduceMean as MEAN."""
    if step.clamp is not None:
        raise NotTakenError("a clamp behind a mean")
    number, layout, shape = known_input(step, out)
    axes = _parameter(step, "axes", 1)
    if axes is None or not axes:
        raise NotTakenError("a mean over everything")
    if any(not -len(shape) <= axis < len(shape) for axis in axes):
        raise NotTakenError(f"axes {axes} of {len(shape)} dimensions")
    gone = {axis % len(shape) for axis in axes}
    kept = layout.like(tuple(1 if axis in gone else size for axis, size in enumerate(shape)))
    assert kept is not None
    inputs = [number, out.integers("axes", sorted(layout.axis(axis) for axis in gone))]
    if step.attributes.get("keepdims", 1):
        out.operator("MEAN", inputs, [out.result(step.targets[0], kept)], Reduce(keep_dims=True))
        return
    target = step.targets[0]
    between = out.add(target.name, kept.shape, target.dtype, target.quantisation)
    out.operator("MEAN", inputs, [between], Reduce(keep_dims=True))
    wanted = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    rest = [axis for axis in layout.order if layout.split[axis] != 1 and axis not in {layout.places[a] for a in gone}]
    if rest != sorted(rest):
        raise NotTakenError("what is left of a map lies in another order")
    result = out.result(target, Layout.plain(wanted))
    out.operator("RESHAPE", [between, out.integers("shape", wanted)], [result])


def resize(step: Step, out: Writer) -> None:
    """Write Resize of a map's rows and columns."""
    unclamped(step)
    features, layout = map_of(out, step.source(0))
    wanted = out.values.shapes.get(step.targets[0].name)
    target = None if wanted is None else Layout.image(wanted)
    if target is None or target.shape[0] != layout.shape[0] or target.shape[3] != layout.shape[3]:
        raise NotTakenError(f"a map of shape {layout.value_shape} becomes {wanted}")
    if not all((*layout.shape, *target.shape)):
        raise NotTakenError(f"a map of shape {layout.value_shape} becomes {wanted}, which is nothing")
    mode = step.attributes.get("mode", "nearest")
    # The first Resize had no attribute for it, and counted from the corner.
    usual = "half_pixel" if out.values.opset >= _COORDINATES else "asymmetric"
    where = step.attributes.get("coordinate_transformation_mode", usual)
    if step.attributes.get("antialias", 0) or step.attributes.get("axes"):
        raise NotTakenError("it is told axes, or to smooth")
    _check_factors(step, out, layout.value_shape, target.value_shape)
    attributes = _nearest(step, layout, target, where) if mode == "nearest" else _linear(mode, where, target)
    kind = "RESIZE_NEAREST_NEIGHBOR" if mode == "nearest" else "RESIZE_BILINEAR"
    inputs = [features, out.integers("size", target.shape[1:3])]
    out.operator(kind, inputs, [out.result(step.targets[0], target)], attributes)


_COORDINATES = 11
"""Operator set in which Resize is told how to count pixels; before it, factors are its second input."""


def _check_factors(step: Step, out: Writer, shape: Sequence[int], wanted: Sequence[int]) -> None:
    """Refuse factors that do not give whole pixels: ONNX counts by the factor, TFLite by what became of the size."""
    factors = step.constant(2 if out.values.opset >= _COORDINATES else 1)
    if factors is None or not factors.size:
        return
    found = factors.reshape(-1).astype(np.float64).tolist()
    if len(found) != len(shape) or any(n * by != m for n, by, m in zip(shape, found, wanted, strict=True)):
        raise NotTakenError(f"factors {found[:8]} of {list(shape)} are not those of {list(wanted)}")


def _linear(mode: str, where: str, target: Layout) -> Resize:
    if mode != "linear":
        raise NotTakenError(f"mode {mode}")
    if where == "align_corners":
        return Resize(align_corners=True)
    if where == "asymmetric":
        return Resize()
    if where == "half_pixel" or (where == "pytorch_half_pixel" and min(target.shape[1:3]) > 1):
        return Resize(half_pixel_centers=True)
    raise NotTakenError(f"coordinates by {where}")


def _nearest(step: Step, layout: Layout, target: Layout, where: str) -> Resize:
    """Check that every pixel is repeated as TFLite does."""
    mode = step.attributes.get("nearest_mode", "round_prefer_floor")
    if mode not in _ROUNDINGS:
        raise NotTakenError(f"pixels by {mode}")
    for size, wanted in zip(layout.shape[1:3], target.shape[1:3], strict=True):
        places = np.arange(wanted, dtype=np.float64)
        scale = size / wanted
        if where in ("half_pixel", "pytorch_half_pixel"):
            places = (places + 0.5) * scale - 0.5
        elif where == "asymmetric":
            places = places * scale
        elif where == "align_corners":
            places = places * ((size - 1) / (wanted - 1) if wanted > 1 else 0.0)
        else:
            raise NotTakenError(f"coordinates by {where}")
        rounded = _ROUNDINGS[mode](places)
        if not np.array_equal(np.clip(rounded, 0, size - 1), np.floor(np.arange(wanted) * scale)):
            raise NotTakenError(f"{size} become {wanted} pixels in a way that TFLite does not know")
    return Resize()


_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
