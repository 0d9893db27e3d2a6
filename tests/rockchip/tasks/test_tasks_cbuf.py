"""The convolution buffer's arithmetic against what silicon and CI lists show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cbuf import data_banks, row_entries, shares


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


@given(weights=st.integers(1, 4 << 20), group=st.integers(1, 400_000), depthwise=st.booleans())
def test_a_share_leaves_room_for_weights(weights: int, group: int, depthwise: bool) -> None:
    group = weights if depthwise else min(group, weights)
    try:
        found = shares(weights, group, depthwise, RK3588)
    except UnsupportedError:
        assert group > 11 * 32768
        return
    for one in found:
        left = (RK3588.cbuf_banks - one.data_banks) * RK3588.cbuf_bank_bytes
        assert one.data_banks >= 1
        assert left >= (weights if one.reuse_weights else group)
        assert one.reuse_weights or one.data_banks <= 7, "streaming is known to run with five banks of weights"


def test_mesas_share_comes_first_and_others_give_features_more() -> None:
    """512 kernels of 512 bytes fill eight banks: Mesa leaves three to features, four are free."""
    found = shares(512 * 512, 32 * 512, False, RK3588)
    assert [(one.data_banks, one.reuse_weights) for one in found] == [(3, True), (4, True), (7, False)]
