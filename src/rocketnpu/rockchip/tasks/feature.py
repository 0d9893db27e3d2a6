"""Feature maps as tasks see them: a place in some named region of memory, and a geometry.

A region is memory without an address yet; :mod:`rocketnpu.program` decides which buffer holds it, and where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.program.constants import Location
from rocketnpu.rockchip.soc import Soc


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of ``height * width`` pixels of ``channels`` 8-bit channels, in surfaces of ``slot`` each (spec 3.1)."""

    at: Location
    height: int
    width: int
    channels: int
    surface_pitch: int
    """Bytes from one surface to the next."""
    slot: int
    """Bytes of a pixel in one surface: so many channels it holds."""
    line_gap: int = 0
    """Pixel slots left out after each row. Only what convolutions read and write may have some."""
    unsigned: bool = False
    """Whether its bytes are the host's unsigned ones, which the input converter makes signed."""
    in_cells: bool = False
    """Whether each of its pixels holds two by two of the host's: rows, then columns, then channels."""

    @classmethod
    def packed(cls, region: str, height: int, width: int, channels: int, slot: int) -> FeatureMap:
        """Make a map that starts its region, with surfaces back to back as Mesa lays them."""
        return cls(Location(region), height, width, channels, height * width * slot, slot)

    @property
    def surfaces(self) -> int:
        """Number of surfaces."""
        return -(-self.channels // self.slot)

    @property
    def surface_slots(self) -> int:
        """Pixel slots from one surface to the next."""
        return self.surface_pitch // self.slot

    @property
    def line_bytes(self) -> int:
        """Bytes from one row of a surface to the next."""
        return (self.width + self.line_gap) * self.slot

    def end(self, surfaces: int | None = None) -> int:
        """Return the offset in the region behind the last byte of so many surfaces, all of them if not said."""
        last = (self.surfaces if surfaces is None else surfaces) - 1
        return self.at.offset + last * self.surface_pitch + (self.height - 1) * self.line_bytes + self.width * self.slot

    def row(self, number: int) -> Location:
        """Return where row ``number`` of the first surface starts."""
        return self.at + number * self.line_bytes

    def channel_slice(self, first: int, count: int) -> FeatureMap:
        """Cut out channels. ``first`` is a multiple of the slot, for surfaces cannot be cut."""
        if first % self.slot:
            raise ValueError(f"a channel slice starts at a multiple of {self.slot}, not at {first}")
        return replace(self, at=self.at + first // self.slot * self.surface_pitch, channels=count)

    def row_slice(self, first: int, count: int) -> FeatureMap:
        """Cut out rows."""
        return replace(self, at=self.row(first), height=count)

    def column_slice(self, first: int, count: int) -> FeatureMap:
        """Cut out columns: the rest of each row becomes a gap."""
        gap = self.width - count if self.height > 1 else 0
        return replace(self, at=self.at + first * self.slot, width=count, line_gap=gap)

    def every_row(self, step: int, first: int) -> FeatureMap:
        """See every ``step``-th row from the ``first`` on; those between are gaps."""
        count = -(-(self.height - first) // step)
        return replace(self, at=self.row(first), height=count, line_gap=(step - 1) * self.width if count > 1 else 0)

    def every_pixel(self, step: int, first: int) -> FeatureMap:
        """See every ``step``-th pixel from the ``first`` on as a single column; those between are gaps.

        All rows are one run of pixels, so that is the same column of each ``step`` where their width is a multiple.
        """
        count = -(-(self.height * self.width - first) // step)
        return replace(
            self, at=self.at + first * self.slot, height=count, width=1, line_gap=step - 1 if count > 1 else 0
        )

    def reshaped(self, height: int, width: int) -> FeatureMap:
        """See the same pixels in other rows: a surface is one run of pixels."""
        if self.line_gap or height * width != self.height * self.width:
            raise ValueError(f"{self.height}x{self.width} pixels cannot be seen as {height}x{width}")
        return replace(self, height=height, width=width)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels} at {self.at}"


def cells(picture: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """See a picture ``[rows, columns, channels]`` as cells ``[rows / 2, columns / 2, 4 * channels]``."""
    rows, columns, channels = picture.shape
    parted = picture.reshape(rows // 2, 2, columns // 2, 2, channels).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(parted).reshape(rows // 2, columns // 2, 4 * channels)


def is_packed(feature: FeatureMap, soc: Soc) -> bool:
    """Say whether a map's pixels lie as the host has them, channel by channel, not in slots (spec 3.4)."""
    return feature.slot < soc.slot
