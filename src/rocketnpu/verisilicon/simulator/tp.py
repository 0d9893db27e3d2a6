"""The tensor processors: a window scans a tensor, counters say where each value is written (facts 7).

The scan passes planes, tiles from top to bottom and left to right, rows of a tile, columns of a row. Outside the image
it reads the input's zero point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.memory import Memory
from rocketnpu.verisilicon.coefficients.kernels import Bytes
from rocketnpu.verisilicon.simulator.lookup import ENTRIES, byte_function
from rocketnpu.verisilicon.simulator.tp_config import Counter, TpConfig, refuse


def run_tp(config: TpConfig, memory: Memory) -> None:
    """Run one scan.

    Raises:
        SimulationError: it leaves mapped memory, or writes in a way that is not known.
    """
    room = memory.find(config.out_address, config.out_address + 1)
    if room is None:
        refuse("OUT_ADDRESS", f"0x{config.out_address:x} lies in no buffer")
    if config.elements > room[0].size:
        refuse("WINDOW_X1", f"a scan of {config.elements:,} values for a buffer of {room[0].size:,} bytes")
    table = None
    if config.lookup is not None:
        table = memory.view(config.lookup, (ENTRIES,), unit="TP", register="LOOKUP_ADDRESS", dtype="<u4")
    function = byte_function(config, table)
    scan = _scanned(config, memory)
    loops = _tile_loops(config, scan) if config.follows_tiles else _counted_loops(config, scan.size)
    values = function[scan].reshape([count for count, _ in loops])
    _check_distinct(loops)
    target = memory.view(
        config.out_address,
        values.shape,
        [step for _, step in loops],
        unit="TP",
        register="OUT_ADDRESS",
        write=True,
    )
    np.copyto(target, values)


def _scanned(config: TpConfig, memory: Memory) -> Bytes:
    """Return the bytes in the order of the scan: ``(planes, tiles down, tiles across, rows, columns)``.

    Raises:
        SimulationError: outside mapped memory; the window is no whole number of tiles.
    """
    image = memory.view(
        config.in_address,
        (config.planes, config.rows, config.columns),
        (config.in_slice, config.in_stride, 1),
        unit="TP",
        register="IN_ADDRESS",
    )
    window = _window(config, image)
    planes, rows, columns = window.shape
    down, across = -(-rows // config.tile_rows), -(-columns // config.tile_columns)
    if rows % config.tile_rows or columns % config.tile_columns:
        if not config.follows_tiles:
            size = f"{config.tile_columns}x{config.tile_rows}"
            refuse("TILE_X", f"a window of {columns}x{rows} is no whole number of tiles of {size}: not known")
        return window.reshape(planes, 1, 1, rows, columns)
    tiles = window.reshape(planes, down, config.tile_rows, across, config.tile_columns)
    return tiles.transpose(0, 1, 3, 2, 4)


def _window(config: TpConfig, image: Bytes) -> Bytes:
    """Return the window's values, zero point where it leaves the image."""
    before, after = config.planes_before, config.planes_after
    inside_rows = slice(max(config.y0, 0), max(min(config.y1 + 1, config.rows), 0))
    inside_columns = slice(max(config.x0, 0), max(min(config.x1 + 1, config.columns), 0))
    part = image[:, inside_rows, inside_columns]
    shape = (before + config.planes + after, config.y1 - config.y0 + 1, config.x1 - config.x0 + 1)
    if part.shape == shape:
        return part
    window = np.full(shape, config.in_zero_point, np.uint8)
    top, left = inside_rows.start - config.y0, inside_columns.start - config.x0
    window[before : before + config.planes, top : top + part.shape[1], left : left + part.shape[2]] = part
    return window


Loops = list[tuple[int, int]]
"""Counts and steps, the slowest first."""


def _counted_loops(config: TpConfig, elements: int) -> Loops:
    """Return the counters as loops over all elements; the last has as many rounds as are needed."""
    loops: Loops = []
    left = elements
    for counter in config.counters:
        count = min(counter.count, left) if counter.count else left
        if left % count:
            message = f"{elements} values are no whole number of rounds of {counter.count}: not known"
            refuse("COUNT_0", message)
        loops.append((count, counter.step))
        left //= count
    return loops[::-1]


def _tile_loops(config: TpConfig, scan: npt.NDArray[Any]) -> Loops:
    """Return the loops of a scan whose counters follow its tiles.

    Raises:
        SimulationError: the tile counters do not count the tiles.
    """
    along, down, across, below = (config.counters[number] for number in (1, 2, 3, 4))
    planes, tiles_down, tiles_across, rows, columns = scan.shape
    wanted = (
        -(-(config.x1 - config.x0 + 1) // config.tile_columns),
        -(-(config.y1 - config.y0 + 1) // config.tile_rows),
    )
    if (across.count, below.count) != wanted or config.counters[5].count != 1:
        refuse("COUNT_3", f"{across.count}x{below.count} tiles, the window has {wanted[0]}x{wanted[1]}")
    if (tiles_down, tiles_across) == (1, 1) and wanted != (1, 1):
        _check_seamless(config, along, down, across, below)
    last = config.counters[-1].step
    return [
        (planes, last),
        (tiles_down, below.step),
        (tiles_across, across.step),
        (rows, down.step),
        (columns, along.step),
    ]


def _check_seamless(config: TpConfig, along: Counter, down: Counter, across: Counter, below: Counter) -> None:
    """See that tiles at the window's edge, which are smaller, continue the others."""
    if across.step != along.step * config.tile_columns or below.step != down.step * config.tile_rows:
        refuse("INCREMENT_3", "tiles do not lie beside each other, and those at the edge are smaller: not known")


def _check_distinct(loops: Loops) -> None:
    """Refuse loops that write a byte twice: which write would be the last is not known."""
    reach = 0
    for count, step in sorted(((c, abs(s)) for c, s in loops if c > 1), key=lambda loop: loop[1]):
        if step <= reach:
            refuse("INCREMENT_0", f"{count} steps of {step} bytes write places twice")
        reach += (count - 1) * step
