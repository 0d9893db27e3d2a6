"""The convolution buffer's arithmetic against what silicon and CI lists show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cbuf import data_banks, row_entries, share


@pytest.mark.parametrize(
    ("width", "channels", "entries"),
    [
        (224, 3, 56),
        (112, 32, 56),
        (56, 128, 112),
        (1, 1024, 16),
        (40, 40, 40),  # three slots take a whole entry each pixel; Mesa's special case for this one shape
        (14, 48, 14),
        (8, 33, 8),
        (8, 24, 4),
        (7, 1, 2),
    ],
)
def test_row_entries(width: int, channels: int, entries: int) -> None:
    assert row_entries(width, channels, RK3588) == entries


@pytest.mark.parametrize("blocks", [7, 21, 35])
def test_rows_are_whole_entries(blocks: int) -> None:
    """144 rows of one pixel and 32 * blocks bytes: bank counts computed from bytes corrupt exactly these on silicon
    (addendum 7.1).
    """
    entries = row_entries(1, 32 * blocks, RK3588)
    assert data_banks(144, entries, RK3588) == -(-144 * 32 * blocks // 32768) + 1


@pytest.mark.parametrize(("rows", "banks"), [(188, 7), (189, 8), (193, 8)])
def test_the_sweep_over_rows(rows: int, banks: int) -> None:
    assert data_banks(rows, row_entries(1, 1184, RK3588), RK3588) == banks


@given(weights=st.integers(1, 4 << 20), group=st.integers(1, 400_000))
def test_a_share_leaves_room_for_weights(weights: int, group: int) -> None:
    try:
        found = share(weights, min(group, weights), RK3588)
    except UnsupportedError:
        assert min(group, weights) > 11 * 32768
        return
    left = (RK3588.cbuf_banks - found.data_banks) * RK3588.cbuf_bank_bytes
    assert found.data_banks >= 1
    assert left >= (weights if found.reuse_weights else min(group, weights))
