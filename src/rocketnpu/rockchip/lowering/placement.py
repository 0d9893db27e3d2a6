"""Where tensors lie: in regions of their own, in each other's memory where operators only see it differently, and
next to one another where they are to be joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.graph.maps import (
    CHANNELS,
    COLUMNS,
    ROWS,
    SLICES,
    joined_axis,
    map_ranges,
    map_shape,
    sliced_tensor,
    window_padding,
)
from rocketnpu.graph.operators import Conv2D, ConvAdd
from rocketnpu.graph.passes.rewrite import same_quantisation
from rocketnpu.policy import Policy
from rocketnpu.rockchip.evidence import TABLE, Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.slices import part_of
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.setting import MAINLINE, VENDOR
from rocketnpu.rockchip.timing.work import Kind, Work, cycles, multiply_cycles

VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that only see the same bytes in another shape."""
HOST_NS = 2.0
"""Nanoseconds in which the host converts a byte of a picture: 0.3 ms for 150,528 (one project's estimate; timing 3)."""
Features = dict[int, FeatureMap]


def is_view(graph: Graph, operator: Operator) -> bool:
    """Say whether an operator's output is its input's memory: reshapes, and QUANTIZE from UINT8 to INT8 and back."""
    if operator.kind in VIEWS:
        return True
    if operator.kind != "QUANTIZE":
        return False
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    if source.dtype not in quantised.SHIFT or target.dtype not in quantised.SHIFT:
        return False
    same_zero = quantised.zero_point(source) == quantised.zero_point(target)
    return same_zero and quantised.scale(source) == quantised.scale(target)


def computes_nothing(graph: Graph, operator: Operator, soc: Soc) -> bool:
    """Say whether an operator needs no task: a view, or slices that all lie in the memory of what they are cut from."""
    if operator.kind not in SLICES:
        return is_view(graph, operator)
    shape = map_shape(graph.input_of(operator, sliced_tensor(operator)))
    ranges = map_ranges(graph, operator)
    if shape is None or ranges is None:
        return False
    source = FeatureMap.packed("", *shape, soc.slot)
    return all(part_of(part, source) is not None for part in ranges)


def place(graph: Graph, soc: Soc, policy: Policy) -> Features:
    """Give each tensor that is a feature map a place."""
    features: Features = {}
    for number, tensor in graph.tensors.items():
        shape = map_shape(tensor)
        if shape is not None and not tensor.is_constant:
            features[number] = FeatureMap.packed(f"t{number}", *shape, soc.slot)
    features.update(_pictures(graph, soc, policy))
    for operator in reversed(graph.operators):
        # The last joins first, so that what is joined twice lies inside the larger map.
        if operator.kind == "CONCATENATION":
            _join(graph, operator, features, soc)
    for operator in graph.operators:
        if operator.kind in SLICES:
            _cut(graph, operator, features)
        elif operator.outputs and is_view(graph, operator):
            _see(operator, features)
    return features


def _pictures(graph: Graph, soc: Soc, policy: Policy) -> Features:
    """Place inputs of few channels: in cells, or packed where that is allowed and what its convolution takes longer is
    less than the host's conversion.
    """
    found = celled(graph, soc)
    if not TABLE.allows(Unproven.PACKED_PICTURE, policy):
        return found
    board = VENDOR if policy.target == "vendor" else MAINLINE
    for number, packed in pictures(graph, soc).items():
        saved = _saved_cycles(graph, number, packed, found[number], soc) if number in found else 0
        if board.us(saved) * 1e3 <= prod(graph.tensors[number].shape) * HOST_NS:
            found[number] = packed
    return found


def _saved_cycles(graph: Graph, number: int, packed: FeatureMap, cells: FeatureMap, soc: Soc) -> int:
    """Estimate the cycles by which convolutions of a picture are quicker on cells, all rows as one task."""
    saved = 0
    for reader, _ in _readers(graph, number) or ():
        attributes, output = reader.attributes, graph.tensors[reader.outputs[0]].shape
        assert isinstance(attributes, Conv2D)
        _, height, width, _ = graph.input_of(reader, 1).shape
        padding = window_padding(attributes, (packed.height, packed.width), (height, width))
        _, smaller = cell_window((height, width), padding)
        for feature, taps, sign in ((packed, height * width, 1), (cells, prod(smaller), -1)):
            work = Work(
                Kind.CONVOLUTION,
                features=feature.height * feature.width * feature.slot,
                multiply=multiply_cycles(output[1] * output[2], taps, -(-output[3] // soc.kernel_group)),
                values=prod(output),
                stored=prod(output),
            )
            saved += sign * cycles(work, NETWORK_FIT).total
    return saved


def cell_window(size: Sequence[int], padding: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what a window of stride 2 is on cells of two by two pixels: pixels of its first cell in front of it, and
    the cells that it reaches into. Pairs are rows, columns.
    """
    skipped = (padding[0] % 2, padding[1] % 2)
    return skipped, ((size[0] + skipped[0] + 1) // 2, (size[1] + skipped[1] + 1) // 2)


def pictures(graph: Graph, soc: Soc) -> Features:
    """Find inputs that may stay as the host has them: few channels, rows of whole slots, read by dense convolutions.

    Rows of other lengths are padded in recorded streams (spec 3.4); that would be a copy again.
    """
    found: Features = {}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        shape = map_shape(tensor)
        if shape is None or number in graph.outputs:
            continue
        _, width, channels = shape
        whole = width >= soc.slot and width * channels % soc.slot == 0
        if channels <= soc.packed_channels and whole and _read_as_picture(graph, number, soc.packed_pixels // width):
            feature = FeatureMap.packed(f"t{number}", *shape, channels)
            found[number] = replace(feature, unsigned=tensor.dtype is DType.UINT8)
    return found


def celled(graph: Graph, soc: Soc) -> Features:
    """Find inputs of few channels that are read by convolutions of stride 2 alone, and place them in cells.

    Read so at stride 1 (:func:`~rocketnpu.rockchip.lowering.convolution.cell_kernel`), a picture has a quarter of the
    slots, and a kernel of 3x3 taps becomes one of 2x2: less to load and to multiply, for no more work on the host.
    """
    found: Features = {}
    for number in graph.inputs:
        shape = map_shape(graph.tensors[number])
        if shape is None or number in graph.outputs:
            continue
        height, width, channels = shape
        if height % 2 == 0 and width % 2 == 0 and 4 * channels <= soc.slot and _read_in_cells(graph, number):
            feature = FeatureMap.packed(f"t{number}", height // 2, width // 2, 4 * channels, soc.slot)
            found[number] = replace(feature, in_cells=True)
    return found


def _readers(graph: Graph, number: int) -> list[tuple[Operator, int]] | None:
    """Return what reads a tensor or a view of the same shape, each with the tensor that it reads.

    None where the graph returns such a view, or nobody reads one.
    """
    found: list[tuple[Operator, int]] = []
    waiting = [number]
    while waiting:
        seen = waiting.pop()
        readers = graph.consumers.get(seen, ())
        if not readers or seen in graph.outputs:
            return None
        for reader in readers:
            if _same_map(graph, reader, seen):
                waiting.append(reader.outputs[0])
            else:
                found.append((reader, seen))
    return found


def _read_in_cells(graph: Graph, number: int) -> bool:
    """Say whether all that read a tensor are dense convolutions of stride 2."""
    readers = _readers(graph, number)
    for reader, seen in readers or ():
        attributes = reader.attributes
        if not isinstance(attributes, Conv2D) or (attributes.stride, attributes.dilation) != ((2, 2), (1, 1)):
            return False
        if reader.inputs.index(seen) != 0 or reader.inputs.count(seen) > 1:
            return False
        if graph.input_of(reader, 1).shape[-1] != graph.tensors[seen].shape[-1]:
            return False
    return readers is not None


def _same_map(graph: Graph, reader: Operator, number: int) -> bool:
    """Say whether an operator's output is a tensor's memory in the same shape."""
    return is_view(graph, reader) and graph.tensors[reader.outputs[0]].shape == graph.tensors[number].shape


def _read_as_picture(graph: Graph, number: int, rows: int) -> bool:
    """Say whether all that read a tensor are dense convolutions whose windows reach over at most so many rows."""
    readers = _readers(graph, number)
    for reader, seen in readers or ():
        attributes = reader.attributes
        if isinstance(attributes, ConvAdd):
            attributes = attributes.convolution
        if not isinstance(attributes, Conv2D) or reader.inputs.index(seen) != 0 or reader.inputs.count(seen) > 1:
            return False
        _, height, _, channels = graph.input_of(reader, 1).shape
        if channels != graph.tensors[seen].shape[-1] or (height - 1) * attributes.dilation[0] + 1 > rows:
            return False
    return readers is not None


def _see(operator: Operator, features: Features) -> None:
    source, target = operator.inputs[0], operator.outputs[0]
    if source is None or source not in features or target not in features:
        return
    seen, wanted = features[source], features[target]
    if seen.in_cells:  # then only views of the same shape read it
        features[target] = seen
        return
    if (wanted.height * wanted.width, wanted.channels) == (seen.height * seen.width, seen.channels):
        features[target] = seen.reshaped(wanted.height, wanted.width)


def _cut(graph: Graph, operator: Operator, features: Features) -> None:
    source = features.get(operator.inputs[sliced_tensor(operator)] or 0)
    ranges = map_ranges(graph, operator)
    if source is None or ranges is None:
        return
    for number, part in zip(operator.outputs, ranges, strict=True):
        features[number] = part_of(part, source) or features[number]


def joined_slice(target: FeatureMap, axis: int, first: int, count: int) -> FeatureMap | None:
    """Return the part of a joined map that an input becomes, or None where it starts inside a group of channels.

    Columns of a map of several rows have gaps between their rows, so they can be written but not read.
    """
    if axis == CHANNELS:
        return None if first % target.slot else target.channel_slice(first, count)
    if axis == ROWS:
        return target.row_slice(first, count)
    return replace(
        target,
        at=target.at + first * target.slot,
        width=count,
        line_gap=0 if target.height == 1 else target.width - count,
    )


def _join(graph: Graph, operator: Operator, features: Features, soc: Soc) -> None:
    """Place inputs of CONCATENATION where they are to be in its output, if whoever makes them may write there.

    Writers fill whole groups of channels, so the surfaces behind a slice are overwritten when it is made. What lies
    there must be made later (recorded on two relatives; addendum 6.7): joined channels lie inside as long as each input
    is made after the one before it. The copies that CONCATENATION itself makes come last of all, in the order of their
    channels.
    """
    target = operator.outputs[0]
    if target not in features:
        return
    axis, size = joined_axis(graph, operator), map_shape(graph.tensors[target])
    if axis not in (ROWS, CHANNELS) and not (axis == COLUMNS and size is not None and size[0] == 1):
        return
    places = {other.index: place for place, other in enumerate(graph.operators)}
    first, before = 0, -1
    for position in range(len(operator.inputs)):
        tensor = graph.input_of(operator, position)
        count = (map_shape(tensor) or (0, 0, 0))[3 + axis]
        place = places[operator.index]
        slot = joined_slice(features[target], axis, first, count)
        maker = graph.producers.get(tensor.index)
        if (
            slot is not None
            and maker is not None
            and _may_lie_inside(graph, operator, tensor, features, soc)
            and (axis != CHANNELS or _made(graph, maker, places) > before)
        ):
            features[tensor.index], place = slot, places[maker.index]
        before = place
        first += count


def _may_lie_inside(graph: Graph, operator: Operator, tensor: Tensor, features: Features, soc: Soc) -> bool:
    """Say whether an input of CONCATENATION can be written in place: an operator makes it, with the output's scale, in
    memory that nothing else decides about.
    """
    maker, target = graph.producers[tensor.index], graph.tensors[operator.outputs[0]]
    if maker.kind in SLICES or is_view(graph, maker) or operator.inputs.count(tensor.index) > 1:
        return False
    placed = features.get(tensor.index)
    own = placed is not None and placed.at.region == f"t{tensor.index}"
    whole = (
        joined_axis(graph, operator) != CHANNELS
        or tensor.shape[-1] % soc.slot == 0
        or operator.inputs[-1] == tensor.index
    )
    return own and whole and same_quantisation(tensor, target)


def _made(graph: Graph, maker: Operator, places: dict[int, int]) -> int:
    """Return the place of the first operator that writes into the output of ``maker``."""
    found, waiting = places[maker.index], [maker]
    while waiting:
        one = waiting.pop()
        found = min(found, places[one.index])
        if one.kind == "CONCATENATION":
            makers = (graph.producers.get(n) for n in dict.fromkeys(one.inputs) if n is not None)
            waiting += [maker for maker in makers if maker is not None]
    return found
