"""PAD, CONCATENATION, SPLIT and SLICE where no view will do: convolutions that bring values to another place.

A convolution writes whole pixels of 16 channels. Values that stay in their lane move through a depthwise kernel with a
single 1; others through a dense kernel that selects a channel. Where channels of several inputs meet in one pixel, each
layer selects its own and the EW stage adds what the layers before it have selected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Tensor
from rocketnpu.graph.maps import CHANNELS, joined_axis, map_ranges, map_shape, sliced_tensor
from rocketnpu.graph.passes.fold_padding import pad_value, paddings
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.identity import FINE, identity_layer
from rocketnpu.rockchip.lowering.placement import joined_slice
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.lowering.scales.operands import operand
from rocketnpu.rockchip.lowering.slices import part_of, pixels_of
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import encode_scale
from rocketnpu.rockchip.tasks.task import Combine, Conversion, Elementwise

BLOCK = 128
"""Channels of a selecting layer."""
MAX_RATIO = 64
"""Largest scale of an input over the output's where several inputs meet in a pixel: what was selected before then comes
through the EW stage unchanged, for its rounding is an eighth of a step."""


@dataclass(frozen=True)
class Selection:
    """Which channels a layer picks, and what it makes of them."""

    source: FeatureMap
    chosen: Sequence[int | None]
    """For each output channel the input's channel, or None for none."""
    zeros: tuple[int, int]
    """Stored zero points of input and output."""
    factor: float = 1.0
    """Input steps to output steps."""
    fill: int | None = None
    """Stored value of channels that nothing is picked for, if it is not the zero point."""
    before: FeatureMap | None = None
    """What earlier layers have selected, of the output's shape: zero points where they have not."""


def selection_layers(
    context: Context, operator: Operator, selection: Selection, target: FeatureMap
) -> Iterator[ConvolutionLayer]:
    """Describe a selection as dense layers, in the order of the output's channels.

    Raises:
        UnsupportedError: the factor cannot be expressed.
    """
    for first in range(0, target.channels, BLOCK):
        chosen = selection.chosen[first : first + BLOCK]
        part = replace(selection, chosen=chosen)
        yield _selection_layer(context, operator, part, target.channel_slice(first, len(chosen)))


def _selection_layer(
    context: Context, operator: Operator, selection: Selection, target: FeatureMap
) -> ConvolutionLayer:
    source, zero, output_zero = selection.source, *selection.zeros
    picked = [(place, channel) for place, channel in enumerate(selection.chosen) if channel is not None]
    low = min((channel for _, channel in picked), default=0) // source.slot * source.slot
    high = max((channel for _, channel in picked), default=0) + 1
    # Where something is added, eight fraction bits keep its rounding out of sight.
    value = 1 if selection.factor == 1.0 else FINE
    stored, idle = (1, 0) if value == 1 else (127, -128)
    weights = np.full((target.channels, 1, 1, high - low), idle, np.int8)
    rest = 0 if selection.fill is None else selection.fill - output_zero
    biases = np.full(target.channels, rest, np.int64)
    for place, channel in picked:
        weights[place, 0, 0, channel - low] = stored
        biases[place] = -zero * value
    scale = encode_scale(selection.factor / value, context.soc)
    return ConvolutionLayer(
        operator.index,
        operator.kind,
        source.channel_slice(low, high - low),
        target,
        weights,
        idle,
        biases,
        (1, 1),
        (1, 1),
        (0, 0),
        zero,
        Requantise(Conversion(scale.multiplier, scale.shift, output_zero)),
        _selected_before(context, selection, value),
    )


def _selected_before(context: Context, selection: Selection, value: int) -> Elementwise | None:
    if selection.before is None:
        return None
    if selection.factor > MAX_RATIO:
        raise UnsupportedError(f"an input's scale is {selection.factor:.3g} times the output's, at most {MAX_RATIO}")
    return operand(selection.before, -selection.zeros[1], value / selection.factor, Combine.ADD, context.soc)


def pad_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe PAD and PADV2: kernels that hold a single 1 at the right place, and the convolution's own padding.

    The kernel is just large enough that no window lies in the padding alone. Added channels are kernels of zeros with
    a bias.

    Raises:
        UnsupportedError: the paddings or the value are computed at run time, or a batch is padded.
    """
    graph, source, target = context.graph, context.tensor(operator, 0), context.output(operator)
    edges, value = paddings(graph, operator), pad_value(graph, operator)
    if edges is None or value is None:
        raise UnsupportedError("paddings or value are computed at run time")
    batch, rows, columns, channels = [(0, 0)] * (4 - len(edges)) + edges
    if any(batch):
        raise UnsupportedError(f"the batch is padded by {batch}")
    stored = value - quantised.SHIFT[target.dtype]
    steps = list(_pad_steps(rows, columns, context.soc.max_padding))
    layers, current = [], context.feature(source)
    for number, (above, left) in enumerate(steps):
        last = number + 1 == len(steps) and not any(channels)
        size = (current.height + sum(above), current.width + sum(left))
        wider = context.feature(target) if last else context.fresh(*size, current.channels)
        layers.append(_pad_layer(context, operator, current, wider, (above, left, stored)))
        current = wider
    if any(channels) or not steps:
        zero = quantised.zero_point(target)
        chosen = [None] * channels[0] + list(range(current.channels)) + [None] * channels[1]
        selection = Selection(current, chosen, (zero, zero), fill=stored)
        layers += selection_layers(context, operator, selection, context.feature(target))
    return layers


Edge = tuple[int, int]


def _pad_steps(rows: Edge, columns: Edge, limit: int) -> Iterator[tuple[Edge, Edge]]:
    """Cut paddings into steps of at most ``limit`` rows and columns in all."""
    left = [list(rows), list(columns)]
    while any(map(any, left)):
        step = []
        for edge in left:
            before = min(edge[0], limit)
            behind = min(edge[1], limit - before)
            edge[0], edge[1] = edge[0] - before, edge[1] - behind
            step.append((before, behind))
        yield step[0], step[1]


def _pad_layer(
    context: Context, operator: Operator, source: FeatureMap, target: FeatureMap, pads: tuple[Edge, Edge, int]
) -> ConvolutionLayer:
    rows, columns, value = pads
    layer = identity_layer(context, operator, source, target, 1, quantised.zero_point(context.output(operator)))
    weights = np.zeros((sum(rows) + 1, sum(columns) + 1, source.channels), np.int8)
    weights[rows[1], columns[1]] = 1
    padding = (sum(rows), sum(columns))
    return replace(layer, label=f"{operator.kind} {rows}x{columns}", weights=weights, padding=padding, pad_value=value)


def concatenation_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe what CONCATENATION still has to move: inputs that do not lie in its output already.

    Raises:
        UnsupportedError: a scale cannot be expressed.
    """
    target, axis = context.feature(context.output(operator)), joined_axis(context.graph, operator)
    pieces, first = [], 0
    for position in range(len(operator.inputs)):
        tensor = context.tensor(operator, position)
        count = (map_shape(tensor) or (0, 0, 0))[3 + axis]
        pieces.append(Piece(tensor, first, count, joined_slice(target, axis, first, count)))
        first += count
    if axis == CHANNELS:
        return list(_joined_channels(context, operator, pieces, target))
    return [
        _moved(context, operator, piece)
        for piece in pieces
        if piece.slot is not None and context.feature(piece.tensor) != piece.slot
    ]


@dataclass(frozen=True)
class Piece:
    """An input of CONCATENATION."""

    tensor: Tensor
    first: int
    count: int
    slot: FeatureMap | None
    """Where it belongs; None where it starts inside a group of channels."""

    def overlaps(self, surface: int, channels: int) -> bool:
        """Say whether it has channels in a surface of the output, which holds so many."""
        return self.first < (surface + 1) * channels and surface * channels < self.first + self.count


def _moved(context: Context, operator: Operator, piece: Piece) -> ConvolutionLayer:
    output = context.output(operator)
    assert piece.slot is not None
    zero = quantised.zero_point(piece.tensor)
    layer = identity_layer(context, operator, context.feature(piece.tensor), piece.slot, 1, zero)
    factor = encode_scale(quantised.scale(piece.tensor) / quantised.scale(output), context.soc)
    return replace(layer, requantise=clamped(factor, output, Activation.NONE))


def _joined_channels(
    context: Context, operator: Operator, pieces: Sequence[Piece], target: FeatureMap
) -> Iterator[ConvolutionLayer]:
    """Fill surfaces from the first to the last; a run of surfaces of one input at a time."""
    surface = 0
    while surface < target.surfaces:
        owners = [piece for piece in pieces if piece.overlaps(surface, target.slot)]
        count = 1
        while len(owners) == 1 and surface + count < target.surfaces:
            if [piece for piece in pieces if piece.overlaps(surface + count, target.slot)] != owners:
                break
            count += 1
        inside = len(owners) == 1 and context.feature(owners[0].tensor) == owners[0].slot
        if not inside:
            first = surface * target.slot
            run = target.channel_slice(first, min(count * target.slot, target.channels - first))
            yield from _filled(context, operator, owners, run, first)
        surface += count


def _filled(
    context: Context, operator: Operator, owners: Sequence[Piece], target: FeatureMap, first: int
) -> Iterator[ConvolutionLayer]:
    """Fill some surfaces of the output, which begin at channel ``first``, from all inputs that have channels there."""
    output = context.output(operator)
    before = None
    for number, piece in enumerate(owners):
        channels = (channel - piece.first for channel in range(first, first + target.channels))
        selection = Selection(
            context.feature(piece.tensor),
            [channel if 0 <= channel < piece.count else None for channel in channels],
            (quantised.zero_point(piece.tensor), quantised.zero_point(output)),
            quantised.scale(piece.tensor) / quantised.scale(output),
            before=before,
        )
        last = number + 1 == len(owners)
        before = target if last else context.fresh(target.height, target.width, target.channels)
        yield from selection_layers(context, operator, selection, before)


def slice_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe slices that leave out columns or begin inside a group of channels; all others are views."""
    source = context.feature(context.tensor(operator, sliced_tensor(operator)))
    zero = quantised.zero_point(context.output(operator))
    layers: list[ConvolutionLayer] = []
    for number, part in zip(operator.outputs, map_ranges(context.graph, operator) or (), strict=True):
        pixels = pixels_of(part, source) or source.row_slice(*part.rows).column_slice(*part.columns)
        if part_of(part, source) is None:
            selection = Selection(pixels, range(part.channels[0], sum(part.channels)), (zero, zero))
            layers += selection_layers(context, operator, selection, context.features[number])
    return layers
