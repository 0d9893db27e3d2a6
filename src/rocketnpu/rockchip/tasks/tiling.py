"""Cut an operator into tasks along the height, so that each task's input rows fit the convolution buffer.

Worked example, the stem of MobileNetV1: 224 rows, 3x3, stride 2, no padding at the top. Ten data banks hold 91 rows of
56 entries, 45 output rows. Three tasks are needed; cut evenly they make 38, 37 and 37 rows. Which cut is taken is for
:mod:`rocketnpu.rockchip.tasks.choice` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rocketnpu.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a sliding window."""

    size: int
    """Input rows."""
    outputs: int
    """Output rows."""
    kernel: int
    stride: int
    dilation: int
    pad_before: int

    @property
    def reach(self) -> int:
        """Input rows from the first to the last tap of a window."""
        return (self.kernel - 1) * self.dilation + 1

    def span(self, first: int, count: int) -> tuple[int, int]:
        """Return first and last input row that output rows ``first .. first + count - 1`` read, padding left out."""
        low = first * self.stride - self.pad_before
        high = (first + count - 1) * self.stride - self.pad_before + self.reach - 1
        return max(low, 0), min(high, self.size - 1)


@dataclass(frozen=True, slots=True)
class Tile:
    """Output rows of one task and the input rows they need."""

    output_first: int
    output_count: int
    input_first: int
    input_count: int
    pad_before: int
    """Padding above ``input_first`` that the task itself must add."""


def tilings(axis: Axis, rows: int, unit: int = 1) -> tuple[tuple[Tile, ...], ...]:
    """Cut an axis so that no task reads more than ``rows`` input rows: in as few and as even tasks as possible, and in
    tasks of whole units.

    No task reads fewer rows than its kernel reaches over unless the whole input has fewer: such runts are reported to
    hang the chip (spec 10.1, 4.3), while whole inputs that are shorter than the kernel run on it (the published pass
    lists have 3x3 kernels on 2x2 and 1x1 maps: mobiledet-082, -094).

    Args:
        axis: what to cut.
        rows: how many input rows fit the buffer.
        unit: output rows that are computed at once, so that others cost as much as a whole unit.

    Raises:
        UnsupportedError: not even one output row's window fits, or no cut avoids a runt.
    """
    needed = min(axis.reach, axis.size)
    if rows >= needed:
        generous = (rows - needed + 2 * axis.reach) // axis.stride + 1
        for parts in range(-(-axis.outputs // generous), axis.outputs + 1):
            even = _cut(axis, _even(axis.outputs, parts))
            if _fits(even, needed, rows):
                whole = (_cut(axis, heights) for heights in _whole_units(axis.outputs, parts, unit))
                return (even, *(tiles for tiles in whole if tiles != even and _fits(tiles, needed, rows)))
    raise UnsupportedError(
        f"no cut into tasks found: a window reaches over {axis.reach} of {axis.size} input rows, "
        f"the convolution buffer holds {rows}"
    )


def _fits(tiles: Sequence[Tile], needed: int, rows: int) -> bool:
    return all(needed <= tile.input_count <= rows for tile in tiles)


def _even(outputs: int, parts: int) -> list[int]:
    ends = [-(-outputs * part // parts) for part in range(parts + 1)]
    return [end - first for first, end in pairwise(ends)]


def _whole_units(outputs: int, parts: int, unit: int) -> Iterator[list[int]]:
    """Yield heights of as many parts that are multiples of ``unit``, but for the last."""
    if unit == 1 or parts == 1:
        return
    units = -(-outputs // unit)
    heights = [height * unit for height in _even(units, parts)]
    heights[-1] -= units * unit - outputs
    if min(heights) > 0:
        yield heights


def _cut(axis: Axis, heights: Sequence[int]) -> tuple[Tile, ...]:
    tiles, first = [], 0
    for count in heights:
        low, high = axis.span(first, count)
        if high < low:
            raise UnsupportedError(f"output rows {first}..{first + count - 1} read nothing but padding")
        pad = max(0, axis.pad_before - first * axis.stride)
        tiles.append(Tile(first, count, low, high - low + 1, pad))
        first += count
    return tuple(tiles)
