"""PAD, CONCATENATION, RESHAPE, SPLIT and SLICE: bytes that only move."""

from __future__ import annotations

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator
from rocketnpu.graph.maps import ROWS, joined_axis, map_ranges, sliced_tensor
from rocketnpu.graph.passes.fold_padding import map_pads, pad_value
from rocketnpu.graph.passes.rewrite import same_quantisation
from rocketnpu.verisilicon.evidence import Unproven
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.lowering.bytes import requantise_tasks
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.placement import is_linear, joined_inputs, joined_part, part_of
from rocketnpu.verisilicon.tasks.task import Move, MoveKind, Planes, Task


def pad_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe PAD: a copy into a larger map.

    Raises:
        UnsupportedError: channels are padded.
    """
    pads, value = map_pads(context.graph, operator), pad_value(context.graph, operator)
    source, target = context.tensor(operator, 0), context.output(operator)
    if pads is None or value is None:
        raise UnsupportedError("channels are padded: planes lie one behind another")
    return [
        Move(
            MoveKind.PAD,
            context.planes(source),
            context.planes(target),
            f"{operator.kind}: copy into a larger map",
            operator.index,
            fill=value + stored.SHIFT[source.dtype],
            top=pads[0][0],
            left=pads[1][0],
        )
    ]


def concatenation_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe CONCATENATION: copies of what is not made in place.

    Raises:
        UnsupportedError: an input of another scale has no look-up table that comes close.
    """
    target = context.output(operator)
    axis = joined_axis(context.graph, operator)
    tasks: list[Task] = []
    for tensor, first, count in joined_inputs(context.graph, operator):
        source, part = context.planes(tensor), joined_part(context.planes(target), axis, first, count)
        if part == source:
            continue
        fill = stored.zero_point(tensor)
        if part is None:
            if not same_quantisation(tensor, target):
                middle = context.fresh(source.channels, source.height, source.width)
                tasks += requantise_tasks(context, operator, tensor, target, Activation.NONE, middle)
                source, fill = middle, stored.zero_point(target)
            tasks.append(_placed(context, operator, source, fill, (axis, first)))
        elif same_quantisation(tensor, target):
            tasks.append(_copy(operator, source, part, fill))
        else:
            tasks += requantise_tasks(context, operator, tensor, target, Activation.NONE, part)
    return tasks


def _placed(context: Context, operator: Operator, source: Planes, fill: int, place: tuple[int, int]) -> Move:
    """Copy a map between the rows or columns of others; ``place`` is the axis and the first of them.

    Raises:
        UnsupportedError: the policy does not allow scans that leave gaps between rows.
    """
    axis, first = place
    return Move(
        MoveKind.PLACE,
        source,
        context.planes(context.output(operator)),
        f"{operator.kind}: copy into a part of the map",
        operator.index,
        fill=fill,
        top=first if axis == ROWS else 0,
        left=0 if axis == ROWS else first,
        rules=context.need(Unproven.PLACED_SCAN),
    )


def _copy(operator: Operator, source: Planes, target: Planes, fill: int) -> Move:
    return Move(MoveKind.PAD, source, target, f"{operator.kind}: copy", operator.index, fill=fill)


def slice_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe SPLIT or SLICE: a copy of a window of the map for each output.

    Raises:
        UnsupportedError: the policy does not allow windows inside a map.
    """
    tensor = context.tensor(operator, sliced_tensor(operator))
    source, fill = context.planes(tensor), stored.zero_point(tensor)
    tasks: list[Task] = []
    for number, part in zip(operator.outputs, map_ranges(context.graph, operator) or (), strict=True):
        target = context.features[number]
        whole = part_of(part, source)
        if whole is not None:
            if whole != target:
                tasks.append(_copy(operator, whole, target, fill))
            continue
        rules = context.need(Unproven.INNER_WINDOW)
        chosen = source.channel_slice(*part.channels)
        label = f"{operator.kind}: a window of the map"
        tasks.append(
            Move(
                MoveKind.PAD,
                chosen,
                target,
                label,
                operator.index,
                fill=fill,
                top=-part.rows[0],
                left=-part.columns[0],
                rules=rules,
            )
        )
    return tasks


def reshape_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe RESHAPE where the order of bytes in memory changes: by way of the host's order."""
    tensor = context.tensor(operator, 0)
    source, target = context.planes(tensor), context.planes(context.output(operator))
    fill = stored.zero_point(tensor)
    tasks: list[Task] = []
    if not is_linear(source.channels, source.plane):
        linear = is_linear(target.channels, target.plane)
        pixels = target if linear else context.fresh(1, source.plane, source.channels)
        label = f"{operator.kind}: planes to pixels"
        tasks.append(Move(MoveKind.TO_PIXELS, source, pixels, label, operator.index, fill=fill))
        source = pixels
    if not is_linear(target.channels, target.plane):
        label = f"{operator.kind}: pixels to planes"
        tasks.append(Move(MoveKind.TO_PLANES, source, target, label, operator.index, fill=fill))
    return tasks
