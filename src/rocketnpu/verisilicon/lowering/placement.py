"""Where tensors lie: in regions of their own, in each other's memory where operators only see it differently, and next
to one another where they are to be joined or added.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.graph.maps import CHANNELS, COLUMNS, ROWS, SLICES, MapRange, joined_axis, map_ranges, map_shape
from rocketnpu.graph.maps import sliced_tensor as sliced_position
from rocketnpu.graph.passes.rewrite import same_quantisation
from rocketnpu.program.constants import Location
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.tasks.task import Planes

VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that only see the same values in another shape."""
SUMS = ("ADD", "SUB")
Features = dict[int, Planes]


def is_linear(channels: int, plane: int) -> bool:
    """Say whether a map lies in the host's order, pixel by pixel, though it lies plane by plane."""
    return channels == 1 or plane == 1


def is_view(graph: Graph, operator: Operator) -> bool:
    """Say whether an operator's output is its input's memory: reshapes that keep the order of values in memory, and
    QUANTIZE from UINT8 to INT8 and back.
    """
    if operator.kind not in (*VIEWS, "QUANTIZE") or not operator.outputs:
        return False
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    if operator.kind == "QUANTIZE":
        if source.dtype not in stored.SHIFT or target.dtype not in stored.SHIFT:
            return False
        same = stored.zero_point(source) == stored.zero_point(target)
        return same and stored.scale(source) == stored.scale(target)
    shapes = map_shape(source), map_shape(target)
    if shapes[0] is None or shapes[1] is None:
        return False
    (rows, columns, channels), (height, width, depth) = shapes[0], shapes[1]
    same = (rows * columns, channels) == (height * width, depth)
    return same or (is_linear(channels, rows * columns) and is_linear(depth, height * width))


def computes_nothing(graph: Graph, operator: Operator) -> bool:
    """Say whether an operator needs no task: a view, or slices that lie in the memory of what they are cut from."""
    if operator.kind not in SLICES:
        return is_view(graph, operator)
    source = sliced(graph, operator)
    ranges = map_ranges(graph, operator)
    return source is not None and ranges is not None and all(part_of(part, source) is not None for part in ranges)


def sliced(graph: Graph, operator: Operator) -> Planes | None:
    """Return what is cut as a map in no region; None where it is no map."""
    shape = map_shape(graph.input_of(operator, sliced_position(operator)))
    return None if shape is None else Planes(Location(""), shape[2], shape[0], shape[1])


def part_of(part: MapRange, source: Planes) -> Planes | None:
    """Return a part of a map in the map's memory, or None where its bytes do not lie side by side."""
    rows, columns, channels = part.rows, part.columns, part.channels
    if rows == (0, source.height) and columns == (0, source.width):
        return source.channel_slice(*channels)
    if channels[1] == 1 and columns == (0, source.width):
        return source.channel_slice(*channels).row_slice(*rows)
    if channels[1] == 1 and rows[1] == 1:
        row = source.channel_slice(*channels).row_slice(*rows)
        return replace(row, at=row.at + columns[0], width=columns[1])
    return None


def joined_part(target: Planes, axis: int, first: int, count: int) -> Planes | None:
    """Return the part of a joined map that an input becomes, or None where its bytes do not lie side by side."""
    whole = MapRange((0, target.height), (0, target.width), (0, target.channels))
    changed = {ROWS: "rows", COLUMNS: "columns", CHANNELS: "channels"}[axis]
    return part_of(replace(whole, **{changed: (first, count)}), target)


def place(graph: Graph) -> Features:
    """Give each tensor that is a map a place."""
    features: Features = {}
    for number, tensor in graph.tensors.items():
        shape = map_shape(tensor)
        if shape is not None and not tensor.is_constant:
            features[number] = Planes(Location(f"t{number}"), shape[2], shape[0], shape[1])
    for operator in reversed(graph.operators):
        # The last joins first, so that what is joined twice lies inside the larger map.
        if operator.kind == "CONCATENATION":
            _join(graph, operator, features)
    for operator in graph.operators:
        if operator.kind in SLICES:
            _cut(graph, operator, features)
        elif is_view(graph, operator):
            _see(operator, features)
    users = Counter(planes.at.region for planes in features.values())
    for operator in graph.operators:
        if operator.kind in SUMS:
            _pair(graph, operator, features, users)
    return features


def joined_inputs(graph: Graph, operator: Operator) -> list[tuple[Tensor, int, int]]:
    """Return the inputs of CONCATENATION, each with its first index along the axis and how many it has."""
    axis, first, found = joined_axis(graph, operator), 0, []
    for position in range(len(operator.inputs)):
        tensor = graph.input_of(operator, position)
        count = (map_shape(tensor) or (0, 0, 0))[3 + axis]
        found.append((tensor, first, count))
        first += count
    return found


def _join(graph: Graph, operator: Operator, features: Features) -> None:
    """Place inputs of CONCATENATION where they are to be in its output, if an operator makes them with its scale."""
    target = graph.tensors[operator.outputs[0]]
    axis = joined_axis(graph, operator)
    if target.index not in features or axis not in (ROWS, COLUMNS, CHANNELS):
        return
    for tensor, first, count in joined_inputs(graph, operator):
        maker, placed = graph.producers.get(tensor.index), features.get(tensor.index)
        if maker is None or placed is None or operator.inputs.count(tensor.index) > 1:
            continue
        if maker.kind in SLICES or is_view(graph, maker) or not same_quantisation(tensor, target):
            continue
        part = joined_part(features[target.index], axis, first, count)
        if part is not None and placed.at.region == f"t{tensor.index}":
            features[tensor.index] = part


def _cut(graph: Graph, operator: Operator, features: Features) -> None:
    source = features.get(operator.inputs[sliced_position(operator)] or 0)
    ranges = map_ranges(graph, operator)
    if source is None or ranges is None:
        return
    parts = [part_of(part, source) for part in ranges]
    for number, part in zip(operator.outputs, parts, strict=True):
        if part is not None and all(parts):
            features[number] = part


def _see(operator: Operator, features: Features) -> None:
    source, target = operator.inputs[0], operator.outputs[0]
    if source is None or source not in features or target not in features:
        return
    wanted = features[target]
    features[target] = features[source].reshaped(wanted.channels, wanted.height, wanted.width)


def _pair(graph: Graph, operator: Operator, features: Features, users: Counter[str]) -> None:
    """Place the second operand of a sum behind the first, where both have regions of their own.

    ``users`` counts the maps in each region.
    """
    numbers = [number for number in operator.inputs if number is not None]
    if len(set(numbers)) != 2 or any(number not in features for number in numbers):
        return
    one, other = (features[number] for number in numbers)
    given = [number in graph.inputs for number in numbers]
    if (one.channels, one.height, one.width) != (other.channels, other.height, other.width) or given[0] != given[1]:
        return
    regions = [features[number].at.region for number in numbers]
    if regions == [f"t{number}" for number in numbers] and all(users[region] == 1 for region in regions):
        features[numbers[1]] = replace(other, at=one.at + one.size)
        users.update({regions[0]: 1, regions[1]: -1})
