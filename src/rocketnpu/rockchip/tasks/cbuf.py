"""The convolution buffer: how much of it rows and kernels occupy, and how its banks are shared out."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap, is_packed

STREAMING_DATA_BANKS = 7
"""Banks for features while weights stream through the rest: Mesa's 7 and 5 (spec 4.2), known to run."""


def map_entries(feature: FeatureMap, soc: Soc) -> int:
    """Return the 64-byte units that one row of a map occupies, whether it is packed or not."""
    if is_packed(feature, soc):
        return -(-feature.width * soc.packed_lanes // soc.cbuf_entry_bytes)
    return row_entries(feature.width, feature.channels, soc)


def row_entries(width: int, channels: int, soc: Soc) -> int:
    """Return the 64-byte units that one input row occupies.

    A unit takes four pixel slots; three left-over slots of a pixel use a whole unit (spec 3.3: CI lists of RK3588).
    """
    slots = -(-channels // soc.slot)
    per_entry = soc.cbuf_entry_bytes // soc.slot
    rest = slots % per_entry
    tail = width if rest == per_entry - 1 else -(-rest * width // per_entry)
    return slots // per_entry * width + tail


def check_row(width: int, channels: int, soc: Soc) -> None:
    """Refuse rows whose last channels the chip would read from the wrong place (outside 2.6b).

    Raises:
        UnsupportedError: the row is too long, with its length and the limit.
    """
    row = (-(-channels // soc.cbuf_entry_bytes) - 1) * width
    if row > soc.max_row:
        raise UnsupportedError(
            f"{width} pixels of {channels} channels make a row of {row} whole entries, the chip reads {soc.max_row}"
        )


def data_banks(rows: int, entries: int, soc: Soc) -> int:
    """Return the banks that ``rows`` input rows need: rows are whole entries, banks whole (addendum 7.1)."""
    return -(-rows * entries // soc.cbuf_bank_entries)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the buffer that features may use in each task of an operator."""

    data_banks: int
    reuse_weights: bool
    """Whether all weights stay in the buffer, so that later tasks need not fetch them again."""

    def rows(self, feature: FeatureMap, soc: Soc) -> int:
        """Return how many rows of a map fit."""
        fit = self.data_banks * soc.cbuf_bank_entries // map_entries(feature, soc)
        return min(fit, soc.packed_pixels // feature.width) if is_packed(feature, soc) else fit


def shares(weight_bytes: int, group_bytes: int, depthwise: bool, soc: Soc) -> tuple[Share, ...]:
    """Return the ways to divide the banks between features and weights, Mesa's own first.

    Weights that stay in the buffer need banks for all of them: Mesa leaves one to spare, but silicon asks for no more
    than that they lie in their banks (addendum 7.2; vendor streams fill theirs to the brim, spec 4.4). Larger ones
    stream a kernel group at a time, and at least one group must fit (spec 4.1, 4.2); of a depthwise task, whose only
    kernel has all channels, that is the whole kernel (addendum 7.3).

    Args:
        weight_bytes: all kernels of the task.
        group_bytes: one kernel group.
        depthwise: whether each channel is convolved by itself.
        soc: the chip.

    Raises:
        UnsupportedError: one kernel group is larger than the buffer leaves room for.
    """
    group = -(-group_bytes // soc.cbuf_bank_bytes)
    if group >= soc.cbuf_banks:
        raise UnsupportedError(
            f"a group of kernels takes {group_bytes} bytes, the convolution buffer leaves room for "
            f"{(soc.cbuf_banks - 1) * soc.cbuf_bank_bytes}"
        )
    whole = -(-weight_bytes // soc.cbuf_bank_bytes)
    found = []
    if whole + 2 < soc.cbuf_banks:
        found.append(Share(soc.cbuf_banks - whole - 1, True))
    else:
        found.append(Share(min(STREAMING_DATA_BANKS, soc.cbuf_banks - group), False))
    if whole < soc.cbuf_banks:
        found.append(Share(soc.cbuf_banks - whole, True))
    if not depthwise:
        found.append(Share(min(STREAMING_DATA_BANKS, soc.cbuf_banks - group), False))
    return tuple(dict.fromkeys(found))
