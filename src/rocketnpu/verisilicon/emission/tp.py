"""The TP instruction of a move (facts 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rocketnpu.verisilicon.emission.words import Hole, Instruction
from rocketnpu.verisilicon.registers.tp import TP
from rocketnpu.verisilicon.tasks.task import Move, MoveKind, Planes

LOOKUP_TILE = 64, 16
"""Columns and rows of a tile of a look-up (facts 7)."""
COUNTERS = 6
_UNUSED_END = 0x3FFFFFF
_WORDS = {name: number for number, name in enumerate(TP.block.registers)}
Fields = dict[str, int]
Loops = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What is read, in which order, and where it goes: counters of (count, increment), the fastest first."""

    columns: int
    rows: int
    planes: int
    x0: int
    y0: int
    width: int
    height: int
    tile: tuple[int, int]
    """Columns, rows."""
    loops: Loops
    last: int = 0
    """Increment of the counter without end."""
    reset: tuple[str, ...] = ()


def tp_instruction(task: Move) -> Instruction:
    """Write a move's instruction.

    Raises:
        RegisterFieldError: a value does not fit its field.
    """
    scan = _SCANS[task.kind](task.source, task.target, task)
    loops = (*scan.loops, *((1, 0),) * (COUNTERS - len(scan.loops)))
    fields = {
        "IN_X": scan.columns,
        "IN_Y": scan.rows,
        "IN_Z": scan.planes,
        "IN_STRIDE": scan.columns,
        "IN_SLICE": scan.columns * scan.rows,
        "WINDOW_X0": scan.x0,
        "WINDOW_Y0": scan.y0,
        "WINDOW_X1": scan.x0 + scan.width - 1,
        "WINDOW_Y1": scan.y0 + scan.height - 1,
        "TILE_X": scan.tile[0],
        "TILE_Y": scan.tile[1],
        "TILE_X_STEP": scan.tile[0],
        "TILE_Y_STEP": scan.tile[1],
        **{f"COUNT_{number}": count for number, (count, _) in enumerate(loops)},
        **{f"INCREMENT_{number}": step for number, (_, step) in enumerate(loops)},
        f"INCREMENT_{COUNTERS}": scan.last,
        **dict.fromkeys(scan.reset, 1),
        **dict.fromkeys(("IMAGE_GLOBAL", "INT_TO_FLOAT", "FLOAT_TO_INT", "OUT_GLOBAL", "LAST"), 1),
        **dict.fromkeys(("FLOAT_ROUNDING", "INT_ROUNDING"), 1),
        **dict.fromkeys(("CIRCULAR_IN_END", "CIRCULAR_OUT_END"), _UNUSED_END),
        "IN_ZERO_POINT": task.fill,
        "OUT_ZERO_POINT": task.fill,
    }
    # What is placed begins inside its target.
    first = task.top * task.target.width + task.left if task.kind is MoveKind.PLACE else 0
    holes = {_WORDS["WORD10"]: Hole(task.source.at), _WORDS["WORD13"]: Hole(task.target.at + first)}
    if task.lookup is not None:
        fields |= dict.fromkeys(("LOOKUP", "LOAD_LOOKUP", "LOOKUP_GLOBAL", "LOOKUP_SIGN"), 1)
        fields |= {"IN_ZERO_POINT": task.lookup.in_zero_point, "OUT_ZERO_POINT": task.lookup.out_zero_point}
        holes[_WORDS["WORD11"]] = Hole(task.lookup.table)
    return Instruction("TP", TP.encode(fields), holes)


def _pad(source: Planes, target: Planes, task: Move) -> Scan:
    width, height = target.width, target.height
    return Scan(
        *(source.width, source.height, source.channels, -task.left, -task.top, width, height, (width, height)),
        ((1, 0), (width, 1), (height, width)),
        width * height,
    )


def _place(source: Planes, target: Planes, task: Move) -> Scan:
    del task
    width, height = source.width, source.height
    return Scan(
        *(width, height, source.channels, 0, 0, width, height, (width, height)),
        ((1, 0), (width, 1), (height, target.width)),
        target.plane,
    )


def _to_pixels(source: Planes, target: Planes, task: Move) -> Scan:
    del target, task
    width, height, channels = source.width, source.height, source.channels
    rows = height * channels
    return Scan(
        *(width, rows, 1, 0, 0, width, rows, (1, 1)),
        ((width, channels), (1, 0), (height, width * channels), (channels, 1)),
    )


def _to_planes(source: Planes, target: Planes, task: Move) -> Scan:
    del source, task
    width, height, channels = target.width, target.height, target.channels
    return Scan(
        *(channels, width, height, 0, 0, channels, width, (1, width)),
        ((width, 1), (channels, width * height), (height, width)),
    )


def _quarter(source: Planes, target: Planes, task: Move) -> Scan:
    width, height, plane = target.width, target.height, target.plane
    return Scan(
        *(source.width, source.height, source.channels, -task.left, -task.top),
        *(2 * width, 2 * height, (2 * width, 2 * height)),
        ((2, plane), (width, 1), (2, 2 * plane), (height, width)),
        4 * plane,
        ("RESET_1", "RESET_3"),
    )


def _look_up(source: Planes, target: Planes, task: Move) -> Scan:
    del target, task
    width, height = source.width, source.height
    across, down = LOOKUP_TILE
    loops = ((1, 0), (0, 1), (0, width), (-(-width // across), across), (-(-height // down), down * width))
    return Scan(
        *(width, height, source.channels, 0, 0, width, height, LOOKUP_TILE),
        loops,
        width * height,
        ("RESET_1", "RESET_2"),
    )


_SCANS: Mapping[MoveKind, Callable[[Planes, Planes, Move], Scan]] = {
    MoveKind.PAD: _pad,
    MoveKind.PLACE: _place,
    MoveKind.TO_PIXELS: _to_pixels,
    MoveKind.TO_PLANES: _to_planes,
    MoveKind.QUARTER: _quarter,
    MoveKind.LOOKUP: _look_up,
}
