"""Reshape and its like, and Transpose: the same memory where that can be, else moved as little as need be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.moving import known_input, unclamped
from rocketnpu.model.onnx.step import NotTakenError, Step
from rocketnpu.model.onnx.writer import Writer

Shape = tuple[int, ...]
Blocks = list[tuple[list[int], list[int]]]


def reshape(step: Step, out: Writer) -> None:
    """Write Reshape, Flatten, Squeeze, Unsqueeze and Identity as RESHAPE.

    Maps that become rows lie as they did, pixel by pixel; whoever reads the row knows it. Axes of a map that are split
    lie as they did too; where axes are merged to those of a map, a TRANSPOSE brings them side by side first.
    """
    unclamped(step)
    number, layout = out.home(step.source(0))
    wanted = out.values.shapes.get(step.targets[0].name)
    shape = out.values.shapes.get(step.source(0).name)
    if wanted is None or shape is None or math.prod(wanted) != math.prod(shape):
        raise NotTakenError("its new shape is computed at run time")
    target = _seen(layout, shape, wanted)
    if target is None:
        before, target = _merged(shape, wanted) or (Layout.plain(shape), Layout.plain(wanted))
        number = out.read(step.source(0), before)
    result = out.result(step.targets[0], target)
    out.operator("RESHAPE", [number, out.integers("shape", target.shape)], [result])


def _seen(layout: Layout, shape: Shape, wanted: Shape) -> Layout | None:
    """Return the layout under which the same memory is a value of another shape, or None where it is none."""
    image = Layout.image(wanted) if len(wanted) in (3, 4) else None
    if layout.is_plain:
        # Where a map has one pixel it is NHWC and NCHW alike. Tokens in front of a batch of 1 are no batch of maps.
        return image if image is not None and image.is_plain and wanted[0] == 1 else Layout.plain(wanted)
    if [size for size in wanted if size != 1] == [size for size in layout.split if size != 1]:
        return image if image is not None and image.same_order(layout) else None
    rows = math.prod(layout.split[:1])
    if len(wanted) == 2 and wanted[0] == rows == 1:
        return layout.flattened(*wanted)
    return None if layout.is_flat else _divided(layout, shape, wanted)


def _divided(layout: Layout, shape: Shape, wanted: Shape) -> Layout | None:
    """Return the layout of a value some of whose axes are split, each where it was; None for other reshapes."""
    blocks = blocks_of(shape, wanted)
    if blocks is None or any(len(old) > 1 for old, _ in blocks):
        return None
    parts = {layout.places[old[0]]: new for old, new in blocks if old}
    order = [axis for place in layout.order for axis in parts.get(place, [])]
    order += [axis for old, new in blocks if not old for axis in new]
    return _ordered(wanted, order)


def _merged(shape: Shape, wanted: Shape) -> tuple[Layout, Layout] | None:
    """Return a layout under which a value is a map of another shape, some of whose axes are several of its own."""
    image, blocks = Layout.image(wanted) if len(wanted) in (3, 4) else None, blocks_of(shape, wanted)
    if image is None or blocks is None or any(len(new) > 1 for _, new in blocks):
        return None
    parts = {image.places[new[0]]: old for old, new in blocks if new}
    order = [axis for old, new in blocks if not new for axis in old]
    order += [axis for place in image.order for axis in parts.get(place, [])]
    return _ordered(shape, order), image


def _ordered(shape: Shape, order: Sequence[int]) -> Layout:
    return Layout(shape, tuple(order), tuple(shape[axis] for axis in order), tuple(range(len(shape))))


def blocks_of(old: Shape, new: Shape) -> Blocks | None:
    """Return which axes became which: the smallest blocks of neighbours with as many elements on both sides.

    Axes of size 1 that come or go are blocks with nothing on the other side. None where sizes do not match.
    """
    blocks: Blocks = []
    at = [0, 0]
    while at[0] < len(old) or at[1] < len(new):
        ones = [at[side] < len(shape) and shape[at[side]] == 1 for side, shape in enumerate((old, new))]
        if ones[0] != ones[1]:
            side = ones.index(True)
            blocks.append(([at[0]], []) if side == 0 else ([], [at[1]]))
            at[side] += 1
            continue
        block, sizes = ([], []), [0, 0]  # type: tuple[list[int], list[int]], list[int]
        while not block[0] or sizes[0] != sizes[1]:
            for side in (0, 1) if not block[0] else (int(sizes[1] < sizes[0]),):
                shape = (old, new)[side]
                if at[side] >= len(shape):
                    return None
                sizes[side] = (sizes[side] or 1) * shape[at[side]]
                block[side].append(at[side])
                at[side] += 1
        blocks.append(block)
    return blocks


def transpose(step: Step, out: Writer) -> None:
    """Write Transpose: the same memory, of which the file thinks in another order."""
    unclamped(step)
    number, layout, shape = known_input(step, out)
    order = step.attributes.get("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise NotTakenError(f"an order of {order} for {len(shape)} dimensions")
    target = layout.transposed(tuple(int(axis) for axis in order))
    assert target is not None
    result = out.result(step.targets[0], target)
    out.operator("RESHAPE", [number, out.integers("shape", target.shape)], [result])
