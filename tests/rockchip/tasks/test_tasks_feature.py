"""Maps seen in part: every byte of a slice is where it was in the whole."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.pooling import Span, fits_unit, window_span

SLOT = 16
SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 70))


def places(found: FeatureMap) -> list[list[list[int]]]:
    """Return the offset of each pixel slot: surfaces, rows, columns."""
    return [
        [
            [
                found.at.offset
                + surface * found.surface_pitch
                + row * (found.width + found.line_gap) * SLOT
                + column * SLOT
                for column in range(found.width)
            ]
            for row in range(found.height)
        ]
        for surface in range(-(-found.channels // SLOT))
    ]


@given(SIZES, st.data())
def test_slices_see_the_bytes_of_the_whole(size: tuple[int, int, int], data: st.DataObject) -> None:
    height, width, channels = size
    whole = FeatureMap.packed("r", height, width, channels, SLOT)
    seen = places(whole)
    first = data.draw(st.integers(0, height - 1))
    count = data.draw(st.integers(1, height - first))
    assert places(whole.row_slice(first, count)) == [surface[first : first + count] for surface in seen]
    step = data.draw(st.integers(1, 4))
    assert places(whole.every_row(step, first)) == [surface[first::step] for surface in seen]
    left = data.draw(st.integers(0, width - 1))
    columns = data.draw(st.integers(1, width - left))
    cut = whole.column_slice(left, columns)
    assert places(cut) == [[row[left : left + columns] for row in surface] for surface in seen]
    assert cut.end() == places(cut)[-1][-1][-1] + SLOT
    pixel = data.draw(st.integers(0, height * width - 1))
    column = [list(chain(*surface))[pixel::step] for surface in seen]
    assert places(whole.every_pixel(step, pixel)) == [[[place] for place in surface] for surface in column]
    assert whole.every_row(step, height - 1).line_gap == 0
    assert whole.every_pixel(step, height * width - 1).line_gap == 0
    surface = data.draw(st.integers(0, len(seen) - 1))
    inside = data.draw(st.integers(1, channels - surface * SLOT))
    assert places(whole.channel_slice(surface * SLOT, inside)) == seen[surface : surface + -(-inside // SLOT)]
    flat = whole.reshaped(1, height * width)
    assert places(flat) == [[list(chain(*surface))] for surface in seen]
    assert whole.end() == flat.end() == seen[-1][-1][-1] + SLOT
    assert whole.end(1) == seen[0][-1][-1] + SLOT


def test_what_is_no_slice_is_refused() -> None:
    whole = FeatureMap.packed("r", 4, 6, 40, SLOT)
    with pytest.raises(ValueError, match="multiple of 16, not at 8"):
        whole.channel_slice(8, 16)
    with pytest.raises(ValueError, match="4x6 pixels cannot be seen as 5x5"):
        whole.reshaped(5, 5)
    with pytest.raises(ValueError, match="4x3 pixels cannot be seen as 3x4"):
        whole.column_slice(1, 3).reshaped(3, 4)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 6), st.integers(0, 5), st.data())
def test_windows_read_what_they_cover(size: int, kernel: int, stride: int, padding: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 4))
    count = data.draw(st.integers(1, 4))
    cells = [place for n in range(first, first + count) for place in range(n * stride, n * stride + kernel)]
    covered = range(min(cells) - padding, max(cells) - padding + 1)
    inside = [place for place in covered if 0 <= place < size]
    if not inside:
        return
    found = window_span(size, kernel, stride, padding, first, count)
    before = sum(place < 0 for place in covered)
    after = sum(place >= size for place in covered)
    assert found == Span(inside[0], len(inside), before, after)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "said"),
    [
        ((16, 16), (16, 16), (7, 7, 7, 7), None),
        ((17, 1), (2, 3), (0, 0, 0, 0), "window 17x1 with stride 2x3, at most 16 is possible"),
        ((1, 17), (2, 3), (0, 0, 0, 0), "window 1x17 with stride 2x3, at most 16 is possible"),
        ((2, 3), (17, 1), (0, 0, 0, 0), "window 2x3 with stride 17x1, at most 16 is possible"),
        ((2, 3), (1, 17), (0, 0, 0, 0), "window 2x3 with stride 1x17, at most 16 is possible"),
        ((9, 9), (1, 1), (8, 0, 0, 0), "padding of 8, at most 7 is possible"),
        ((9, 9), (1, 1), (0, 0, 0, 8), "padding of 8, at most 7 is possible"),
    ],
)
def test_what_the_pooling_units_fields_hold(kernel, stride, padding: tuple[int, ...], said: str | None) -> None:
    spans = Span(0, 9, padding[0], padding[1]), Span(0, 9, padding[2], padding[3])
    assert fits_unit(kernel, stride, spans) == said
