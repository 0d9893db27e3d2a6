"""What a TP instruction asks for, checked before a byte is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from rocketnpu.errors import SimulationError

_FIXED = {
    "TILE_SEQUENCE": 0,
    "TILE_GLOBAL": 0,
    "IMAGE_GLOBAL": 1,
    "INT_TO_FLOAT": 1,
    "SQUARE": 0,
    "HORIZONTAL": 0,
    "VERTICAL": 0,
    "NON_MAXIMUM": 0,
    "MULTIPLY": 0,
    "FLOAT_TO_INT": 1,
    "SKIP_BORDER": 0,
    "OUT_GLOBAL": 1,
    "BRICK": 0,
    "Z_FILTER": 0,
    "SQUARE_PRESHIFT": 0,
    "IN_TYPE": 0,
    "OUT_TYPE": 0,
    "RELU": 0,
    "LAST": 1,
    "SWAP": 0,
    "FLOAT_ROUNDING": 1,
    "INT_ROUNDING": 1,
    "PRESHIFT": 0,
    "REORDER_BITS": 0,
    "REORDER_2": 0,
    "BORDER_MODE": 0,
    "BORDER_CONSTANT": 0,
    "COEFFICIENT_ZERO_POINT": 0,
    "CIRCULAR_IN": 0,
    "CIRCULAR_OUT": 0,
}
"""Fields that have one value in every known stream: what others do is not known (facts 7)."""
COUNTERS = 6
"""Counters with an end; a seventh runs on."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One loop of the writer."""

    count: int
    step: int
    """Bytes; of either sign."""


@dataclass(frozen=True, slots=True)
class TpConfig:
    """One scan of a tensor."""

    in_address: int
    columns: int
    rows: int
    planes: int
    in_stride: int
    in_slice: int
    planes_before: int
    planes_after: int
    x0: int
    y0: int
    x1: int
    """Last column and row of the window, themselves in it."""
    y1: int
    tile_columns: int
    tile_rows: int
    step_x: int
    """From tile to tile."""
    step_y: int
    out_address: int
    counters: tuple[Counter, ...]
    """The fastest first; the last has no end and a count of 0."""
    follows_tiles: bool
    """Whether counters 1 to 4 follow column, row and tile of the scan instead of running one after another."""
    in_zero_point: int
    out_zero_point: int
    lookup: int | None
    """Address of the table."""
    multiplier: int
    """In 2**-15, above one."""
    postshift: int

    @property
    def elements(self) -> int:
        """Values that the scan passes; tiles are cut off at the window's edge."""
        planes = self.planes_before + self.planes + self.planes_after
        return planes * (self.x1 - self.x0 + 1) * (self.y1 - self.y0 + 1)


def refuse(register: str, message: str) -> NoReturn:
    """Give up.

    Raises:
        SimulationError: always.
    """
    raise SimulationError(message, unit="TP", register=register)


def read_tp(fields: Mapping[str, int]) -> TpConfig:
    """Read an instruction's fields.

    Raises:
        SimulationError: it asks for something that is not known.
    """
    for name, wanted in _FIXED.items():
        if fields[name] != wanted:
            refuse(name, f"{fields[name]}; only {wanted} is known")
    follows_tiles, counters = _counters(fields)
    config = TpConfig(
        in_address=fields["IN_ADDRESS"],
        columns=fields["IN_X"],
        rows=fields["IN_Y"],
        planes=fields["IN_Z"],
        in_stride=fields["IN_STRIDE"],
        in_slice=fields["IN_SLICE"],
        planes_before=fields["OVERFETCH_BEFORE"],
        planes_after=fields["OVERFETCH_AFTER"],
        x0=fields["WINDOW_X0"],
        y0=fields["WINDOW_Y0"],
        x1=fields["WINDOW_X1"],
        y1=fields["WINDOW_Y1"],
        tile_columns=fields["TILE_X"],
        tile_rows=fields["TILE_Y"],
        step_x=fields["TILE_X_STEP"],
        step_y=fields["TILE_Y_STEP"],
        out_address=fields["OUT_ADDRESS"],
        counters=counters,
        follows_tiles=follows_tiles,
        in_zero_point=fields["IN_ZERO_POINT"],
        out_zero_point=fields["OUT_ZERO_POINT"],
        lookup=fields["LOOKUP_ADDRESS"] if fields["LOOKUP"] else None,
        multiplier=fields["MULTIPLIER"],
        postshift=_signed(fields["POSTSHIFT"], 7),
    )
    _check(config)
    return config


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _counters(fields: Mapping[str, int]) -> tuple[bool, tuple[Counter, ...]]:
    """Return whether the counters follow the tiles, and the counters."""
    counts = [fields[f"COUNT_{number}"] for number in range(COUNTERS)]
    steps = [_signed(fields[f"INCREMENT_{number}"], 32) for number in range(COUNTERS + 1)]
    follows = counts[1] == 0 and counts[2] == 0
    resets = [fields["RESET_1"], fields["RESET_2"]]
    if follows and (resets != [1, 1] or counts[0] != 1 or not counts[3] or not counts[4]):
        refuse("COUNT_1", f"counts {counts} with reset bits {resets}: not known")
    if not follows and 0 in counts:
        refuse(f"COUNT_{counts.index(0)}", "0: only counts 1 and 2 together are known to be 0")
    return follows, (*map(Counter, counts, steps), Counter(0, steps[COUNTERS]))


def _check(config: TpConfig) -> None:
    if not config.columns or not config.rows or not config.planes:
        refuse("IN_X", f"an image of {config.columns}x{config.rows}x{config.planes}")
    if config.x1 < config.x0 or config.y1 < config.y0:
        refuse("WINDOW_X1", f"a window from {config.x0}, {config.y0} to {config.x1}, {config.y1}")
    if not (config.tile_columns and config.tile_rows and config.step_x and config.step_y):
        refuse("TILE_X", "a tile of nothing")
    if (config.step_x, config.step_y) != (config.tile_columns, config.tile_rows):
        refuse("TILE_X_STEP", f"steps of {config.step_x}x{config.step_y}: tiles overlap or leave values out")
    if config.columns > config.in_stride or (config.planes > 1 and config.in_stride * config.rows > config.in_slice):
        refuse("IN_STRIDE", f"{config.in_stride}, {config.in_slice}: rows or planes overlap")
