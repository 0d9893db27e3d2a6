"""Feature maps as tasks see them: a place in some named region of memory, and a geometry.

A region is memory without an address yet; :mod:`rocketnpu.program` decides which buffer holds it, and where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rocketnpu.soc import ATOM


@dataclass(frozen=True, slots=True)
class Location:
    """A byte inside a region."""

    region: str
    offset: int = 0

    def __add__(self, distance: int) -> Location:
        return Location(self.region, self.offset + distance)

    def __str__(self) -> str:
        return f"{self.region}+0x{self.offset:x}" if self.offset else self.region


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of ``height * width`` pixels with ``channels`` 8-bit channels, in surfaces of 16 channels (spec 3.1)."""

    at: Location
    height: int
    width: int
    channels: int
    surface_pitch: int
    """Bytes from one surface to the next."""

    @classmethod
    def packed(cls, region: str, height: int, width: int, channels: int) -> FeatureMap:
        """Make a map that starts its region, with surfaces back to back as Mesa lays them."""
        return cls(Location(region), height, width, channels, height * width * ATOM)

    @property
    def surfaces(self) -> int:
        """Number of surfaces."""
        return -(-self.channels // ATOM)

    @property
    def line_bytes(self) -> int:
        """Bytes of one row of one surface."""
        return self.width * ATOM

    def row(self, number: int) -> Location:
        """Return where row ``number`` of the first surface starts."""
        return self.at + number * self.line_bytes

    def channel_slice(self, first: int, count: int) -> FeatureMap:
        """Cut out channels. ``first`` is a multiple of 16, for surfaces cannot be cut."""
        if first % ATOM:
            raise ValueError(f"a channel slice starts at a multiple of {ATOM}, not at {first}")
        return replace(self, at=self.at + first // ATOM * self.surface_pitch, channels=count)

    def reshaped(self, height: int, width: int) -> FeatureMap:
        """See the same pixels in other rows: a surface is one run of pixels."""
        if height * width != self.height * self.width:
            raise ValueError(f"{self.height}x{self.width} pixels cannot be seen as {height}x{width}")
        return replace(self, height=height, width=width)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels} at {self.at}"
