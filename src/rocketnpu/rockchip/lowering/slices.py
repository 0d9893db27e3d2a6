"""Slices of maps as maps in the same memory."""

from __future__ import annotations

from rocketnpu.graph.maps import MapRange
from rocketnpu.rockchip.tasks.feature import FeatureMap


def part_of(part: MapRange, source: FeatureMap) -> FeatureMap | None:
    """Return a part as a map in the source's memory, or None where it is none: groups of channels are cut, or pixels
    inside rows left out.
    """
    pixels = pixels_of(part, source)
    return None if pixels is None or part.channels[0] % source.slot else pixels.channel_slice(*part.channels)


def pixels_of(part: MapRange, source: FeatureMap) -> FeatureMap | None:
    """Return a part with all channels as a map in the source's memory, or None where pixels are left out."""
    if part.columns == (0, source.width):
        return source.row_slice(*part.rows)
    if source.height > 1:
        return None
    return source.reshaped(source.width, 1).row_slice(*part.columns).reshaped(1, part.columns[1])
