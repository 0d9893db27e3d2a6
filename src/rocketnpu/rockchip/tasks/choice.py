"""Which cut of a convolution is taken: the one that takes the least time by estimate.

Alternatives differ in how the banks of the buffer are shared, in how often weights are fetched, in how many tasks there
are, and in how rows are dealt out to them: 16 output pixels are computed at a time, so eight and six rows of 14 pixels
take less than seven and seven. Among equals the first is taken, which is what Mesa would do; so the choice is the same
each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.cbuf import Share
from rocketnpu.rockchip.tasks.cycles import ConvolutionShape
from rocketnpu.rockchip.tasks.tiling import Axis, Tile, tilings
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.setting import MAINLINE, VENDOR
from rocketnpu.rockchip.timing.work import PIXEL_BLOCK, cycles


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to cut a convolution."""

    room: Share
    tiles: tuple[Tile, ...]
    cycles: int
    """Estimated, starts included."""

    def __str__(self) -> str:
        rows = "+".join(str(tile.output_count) for tile in self.tiles)
        weights = "weights stay" if self.room.reuse_weights else "weights stream"
        return f"{rows} rows, at most {self.room.data_banks} banks of features, {weights}: {self.cycles:,} cycles"


def start_cycles(target: str) -> int:
    """Return the cycles that the start of a task costs under a policy's target; the simulator stands for a board."""
    chosen = VENDOR if target == "vendor" else MAINLINE
    return round(chosen.start_us * chosen.clock_hz / 1e6)


def alternatives(
    shape: ConvolutionShape, axis: Axis, rooms: Sequence[tuple[Share, int]], start: int, soc: Soc
) -> list[Alternative]:
    """Return all that are considered, the cheapest first.

    Args:
        shape: the convolution.
        axis: its rows.
        rooms: shares of the buffer, each with how many input rows it holds.
        start: cycles from the end of a task to the start of the next.
        soc: the chip.

    Raises:
        UnsupportedError: no share leaves room for a window; the message is the first one's.
    """
    unit = PIXEL_BLOCK // gcd(PIXEL_BLOCK, shape.target.width)
    found: list[Alternative] = []
    failed: UnsupportedError | None = None
    for room, rows in rooms:
        try:
            for tiles in tilings(axis, rows, unit):
                found.append(Alternative(room, tiles, _cycles(shape, room, tiles, start, soc)))
        except UnsupportedError as error:
            failed = failed or error
    if not found:
        assert failed is not None
        raise failed
    return sorted(found, key=lambda one: one.cycles)


def _cycles(shape: ConvolutionShape, room: Share, tiles: Sequence[Tile], start: int, soc: Soc) -> int:
    total = 0
    for number, tile in enumerate(tiles):
        fetches = number == 0 or not room.reuse_weights
        total += start + cycles(shape.work(tile.input_count, tile.output_count, fetches, soc), NETWORK_FIT).total
    return total
