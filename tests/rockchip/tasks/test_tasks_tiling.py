"""Tiles cover the output exactly once, fit the buffer, and never make a runt."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.tasks.tiling import Axis, tilings


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    kernel, stride, dilation = draw(st.integers(1, 31)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    reach = (kernel - 1) * dilation + 1
    size = draw(st.integers(1, 300))
    before = draw(st.integers(0, min(15, reach - 1)))
    after = draw(st.integers(0, reach - 1))
    outputs = (size + before + after - reach) // stride + 1
    assume(outputs >= 1)
    return Axis(size, outputs, kernel, stride, dilation, before)


@given(axis=axes(), rows=st.integers(1, 400), unit=st.sampled_from((1, 2, 4, 8, 16)))
def test_tiles_cover_the_output_once_and_fit(axis: Axis, rows: int, unit: int) -> None:
    try:
        found = tilings(axis, rows, unit)
    except UnsupportedError:
        assert rows < axis.size, "a whole input that fits needs no cut"
        return
    assert len({len(tiles) for tiles in found}) == 1
    for tiles in found:
        covered = [row for part in tiles for row in range(part.output_first, part.output_first + part.output_count)]
        assert covered == list(range(axis.outputs))
        for part in tiles:
            assert 1 <= part.input_count <= rows
            assert part.input_first >= 0
            assert part.input_first + part.input_count <= axis.size
            assert part.input_count >= min(axis.reach, axis.size), "a runt hangs the chip"
    for tiles in found[1:]:
        assert all(part.output_count % unit == 0 for part in tiles[:-1])


@given(axis=axes(), rows=st.integers(1, 400), unit=st.sampled_from((1, 8)))
def test_each_output_finds_every_input_row_it_needs(axis: Axis, rows: int, unit: int) -> None:
    try:
        found = tilings(axis, rows, unit)
    except UnsupportedError:
        return
    for part in (part for tiles in found for part in tiles):
        for number in range(part.output_count):
            for tap in range(axis.kernel):
                wanted = (part.output_first + number) * axis.stride - axis.pad_before + tap * axis.dilation
                local = number * axis.stride - part.pad_before + tap * axis.dilation
                if 0 <= wanted < axis.size:
                    assert part.input_first + local == wanted
                    assert 0 <= local < part.input_count
                else:
                    assert not 0 <= local < part.input_count, "padding must lie outside the task's rows"


def test_the_stem_of_mobilenet() -> None:
    axis = Axis(size=224, outputs=112, kernel=3, stride=2, dilation=1, pad_before=0)
    parts = [
        (part.output_first, part.output_count, part.input_first, part.input_count) for part in tilings(axis, 91)[0]
    ]
    assert parts == [(0, 38, 0, 77), (38, 37, 76, 75), (75, 37, 150, 74)]


def test_a_window_that_does_not_fit_is_refused_with_numbers() -> None:
    with pytest.raises(UnsupportedError, match="reaches over 9 of 50 input rows, the convolution buffer holds 8"):
        tilings(Axis(size=50, outputs=42, kernel=9, stride=1, dilation=1, pad_before=0), 8)


def test_rows_are_dealt_out_in_whole_units() -> None:
    """14 columns: eight rows are 7 times 16 pixels, seven rows would waste 14 of 112."""
    axis = Axis(size=14, outputs=14, kernel=1, stride=1, dilation=1, pad_before=0)
    assert [[part.output_count for part in tiles] for tiles in tilings(axis, 9, 8)] == [[7, 7], [8, 6]]
    assert len(tilings(axis, 7, 8)) == 1, "eight rows do not fit"
