"""The output shapes of operators that only move values: views, slices, paddings, blocks; a part of :mod:`.shapes`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

from rocketnpu.errors import ModelError
from rocketnpu.graph import operators as ops
from rocketnpu.graph.needs import Shape, Tensors, axis_of, need, shape_of, values_of
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.values import strided_ranges

Rule = Callable[[Operator, Tensors, Tensors], "list[Shape] | None"]


def _reshape(_: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x, wanted, given = shape_of(inputs, 0), values_of(inputs, 1), shape_of(outputs, 0)
    if wanted is None:
        need(math.prod(x) == math.prod(given), f"{x} cannot be reshaped to {given}")
        return None
    rest = math.prod(size for size in wanted if size != -1)
    need(wanted.count(-1) <= 1 and min(wanted, default=0) >= -1, f"{x} is asked to become {wanted}")
    found = tuple(math.prod(x) // max(rest, 1) if size == -1 else size for size in wanted)
    need(math.prod(x) == math.prod(found), f"{x} cannot be reshaped to {wanted}")
    return [found]


def _squeeze(operator: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x, given = shape_of(inputs, 0), shape_of(outputs, 0)
    axes = {axis_of(axis, len(x)) for axis in getattr(operator.attributes, "axes", ())}
    if not axes:
        need([n for n in x if n != 1] == [n for n in given if n != 1], f"{x} does not become {given}")
        return None
    need(all(x[axis] == 1 for axis in axes), f"{x} cannot lose dimensions {sorted(axes)}")
    return [tuple(size for axis, size in enumerate(x) if axis not in axes)]


def _expand(_: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x, axes = shape_of(inputs, 0), values_of(inputs, 1)
    if axes is None or len(axes) != 1:
        given = shape_of(outputs, 0)
        need([n for n in x if n != 1] == [n for n in given if n != 1], f"{x} does not become {given}")
        return None
    axis = axis_of(axes[0], len(x) + 1)
    return [(*x[:axis], 1, *x[axis:])]


def _transpose(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, order = shape_of(inputs, 0), values_of(inputs, 1)
    if order is None:
        return None
    axes = [axis_of(axis, len(x)) for axis in order]
    need(sorted(axes) == list(range(len(x))), f"{order} is no order of {len(x)} dimensions")
    return [tuple(x[axis] for axis in axes)]


def _pad(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, edges = shape_of(inputs, 0), values_of(inputs, 1)
    need(shape_of(inputs, 1) == (len(x), 2), f"paddings of shape {shape_of(inputs, 1)} do not fit {x}")
    if edges is None:
        return None
    need(not edges or min(edges) >= 0, f"negative padding {edges}")
    return [tuple(size + edges[2 * axis] + edges[2 * axis + 1] for axis, size in enumerate(x))]


def _slice(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, begin, size = shape_of(inputs, 0), values_of(inputs, 1), values_of(inputs, 2)
    if begin is None or size is None:
        return None
    need(len(begin) == len(size) == len(x), f"slice {begin} of {size} does not fit {x}")
    found = [n - b if s == -1 else s for n, b, s in zip(x, begin, size, strict=True)]
    inside = all(min(b, s) >= 0 and b + s <= n for n, b, s in zip(x, begin, found, strict=True))
    need(inside, f"slice {begin} of {size} lies outside {x}")
    return [tuple(found)]


def _strided_slice(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    attributes, x = cast(ops.StridedSlice, operator.attributes), shape_of(inputs, 0)
    begin, end, steps = (values_of(inputs, position) for position in (1, 2, 3))
    if begin is None or end is None or steps is None:
        return None
    need(len(begin) == len(end) == len(steps), f"slice {begin}..{end} step {steps} is not of one length")
    need(0 not in steps, f"step 0 in {steps}")
    try:
        ranges = strided_ranges(attributes, x, (begin, end, steps))
    except ValueError as error:
        raise ModelError(f"slice {begin}..{end} of {x}: {error}") from None
    found: list[int] = []
    sizes = iter(enumerate(x))
    for part in ranges:
        if part is None:
            found.append(1)
            continue
        axis, size = next(sizes, (-1, 0))
        need(axis >= 0, f"slice {begin}..{end} has more dimensions than {x}")
        if isinstance(part, slice):
            found.append(len(range(*part.indices(size))))
        else:
            need(-size <= part < size, f"index {part} is outside dimension {axis} of {x}")
    return [tuple(found)]


def _split(_: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x, axes = shape_of(inputs, 1), values_of(inputs, 0)
    if axes is None:
        return None
    need(len(axes) == 1, f"SPLIT along {axes}")
    axis, parts = axis_of(axes[0], len(x)), len(outputs)
    need(x[axis] % parts == 0, f"dimension {axis} of {x} does not split into {parts}")
    return [(*x[:axis], x[axis] // parts, *x[axis + 1 :])] * parts


def _split_sizes(_: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x, sizes, axes = shape_of(inputs, 0), values_of(inputs, 1), values_of(inputs, 2)
    if sizes is None or axes is None:
        return None
    need(len(axes) == 1 and len(sizes) == len(outputs), f"SPLIT_V into {sizes} along {axes}")
    axis = axis_of(axes[0], len(x))
    need(sizes.count(-1) <= 1 and min(sizes) >= -1, f"SPLIT_V into {sizes}")
    rest = x[axis] - sum(size for size in sizes if size != -1)
    found = [rest if size == -1 else size for size in sizes]
    need(rest >= 0 and sum(found) == x[axis], f"dimension {axis} of {x} does not split into {sizes}")
    return [(*x[:axis], size, *x[axis + 1 :]) for size in found]


def _pack(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    shapes = [shape_of(inputs, position) for position in range(len(inputs))]
    need(len(set(shapes)) == 1, f"{shapes} do not stack")
    axis = axis_of(getattr(operator.attributes, "axis", 0), len(shapes[0]) + 1)
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _unpack(operator: Operator, inputs: Tensors, outputs: Tensors) -> list[Shape] | None:
    x = shape_of(inputs, 0)
    axis = axis_of(getattr(operator.attributes, "axis", 0), len(x))
    need(x[axis] == len(outputs), f"dimension {axis} of {x} does not unpack into {len(outputs)}")
    return [(*x[:axis], *x[axis + 1 :])] * len(outputs)


def _gather(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    attributes, x, indices = cast(ops.Gather, operator.attributes), shape_of(inputs, 0), shape_of(inputs, 1)
    axis, batch = axis_of(attributes.axis, len(x)), attributes.batch_dims
    need(0 <= batch <= min(axis, len(indices)), f"GATHER with {batch} dimensions in common along axis {axis}")
    return [(*x[:axis], *indices[batch:], *x[axis + 1 :])]


def _tile(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, times = shape_of(inputs, 0), values_of(inputs, 1)
    if times is None:
        return None
    need(len(times) == len(x) and min(times, default=0) >= 0, f"{x} cannot be repeated {times} times")
    return [tuple(size * count for size, count in zip(x, times, strict=True))]


def _broadcast_to(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, wanted = shape_of(inputs, 0), values_of(inputs, 1)
    if wanted is None:
        return None
    fits = len(wanted) >= len(x) and all(n in {1, w} for n, w in zip(x[::-1], wanted[::-1], strict=False))
    need(fits and min(wanted, default=0) >= 0, f"{x} does not broadcast to {wanted}")
    return [tuple(wanted)]


def _depth_to_space(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    if not isinstance(operator.attributes, ops.Block):
        return None
    (batch, rows, columns, channels), block = shape_of(inputs, 0, 4), operator.attributes.size
    need(block > 0 and channels % (block * block) == 0, f"{channels} channels make no blocks of {block}")
    return [(batch, rows * block, columns * block, channels // (block * block))]


def _space_to_depth(operator: Operator, inputs: Tensors, _: Tensors) -> list[Shape] | None:
    if not isinstance(operator.attributes, ops.Block):
        return None
    (batch, rows, columns, channels), block = shape_of(inputs, 0, 4), operator.attributes.size
    need(block > 0 and rows % block == 0 and columns % block == 0, f"{rows}x{columns} is not cut into {block}")
    return [(batch, rows // block, columns // block, channels * block * block)]


def _space_to_batch(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, blocks, edges = shape_of(inputs, 0), values_of(inputs, 1), values_of(inputs, 2)
    if blocks is None or edges is None:
        return None
    need(len(x) > len(blocks) > 0 and len(edges) == 2 * len(blocks), f"blocks {blocks} of {x} padded by {edges}")
    need(min(blocks) > 0 and min(edges) >= 0, f"blocks {blocks} padded by {edges}")
    padded = [n + edges[2 * a] + edges[2 * a + 1] for a, n in enumerate(x[1 : 1 + len(blocks)])]
    need(all(n % b == 0 for n, b in zip(padded, blocks, strict=True)), f"{padded} is not cut into {blocks}")
    inner = (n // b for n, b in zip(padded, blocks, strict=True))
    return [(x[0] * math.prod(blocks), *inner, *x[1 + len(blocks) :])]


def _batch_to_space(_: Operator, inputs: Tensors, __: Tensors) -> list[Shape] | None:
    x, blocks, edges = shape_of(inputs, 0), values_of(inputs, 1), values_of(inputs, 2)
    if blocks is None or edges is None:
        return None
    need(len(x) > len(blocks) > 0 and len(edges) == 2 * len(blocks), f"blocks {blocks} of {x} cropped by {edges}")
    need(min(blocks) > 0 and min(edges) >= 0, f"blocks {blocks} cropped by {edges}")
    need(x[0] % math.prod(blocks) == 0, f"a batch of {x[0]} makes no blocks of {blocks}")
    inner = [n * b - edges[2 * a] - edges[2 * a + 1] for a, (n, b) in enumerate(zip(x[1:], blocks, strict=False))]
    need(min(inner) > 0, f"nothing is left of {x}")
    return [(x[0] // math.prod(blocks), *inner, *x[1 + len(blocks) :])]


MOVED: Mapping[str, Rule] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
    "TRANSPOSE": _transpose,
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_sizes,
    "PACK": _pack,
    "UNPACK": _unpack,
    "GATHER": _gather,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
}
"""Shape rules by kind of operator."""
