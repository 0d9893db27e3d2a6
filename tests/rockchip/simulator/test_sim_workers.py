"""How rows are shared out to threads, and where a task's numbers for the compiled arithmetic come from."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_model import Window
from sim_streams import convolution
from sim_units import unit

from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.compiled.convolution import _extent, _runs
from rocketnpu.rockchip.simulator.compiled.workers import Workers
from rocketnpu.rockchip.simulator.units.cna_config import read_cna


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_row_is_done_once(count: int) -> None:
    workers = Workers(count)
    for rows in range(1, 20):
        done: list[tuple[int, int, str]] = []
        workers.share(lambda start, stop: done.append((start, stop, threading.current_thread().name)), rows)  # noqa: B023
        assert sorted(row for start, stop, _ in done for row in range(start, stop)) == list(range(rows))
        assert len(done) <= count
        assert max(stop - start for start, stop, _ in done) == -(-rows // count), "as even as may be"
        here = [start for start, _, name in done if name == threading.current_thread().name]
        assert here == [0], "the caller's thread does the first"


def test_what_fails_in_a_thread_fails_for_the_caller() -> None:
    def work(start: int, stop: int) -> None:
        if start:
            raise ArithmeticError(f"{start}..{stop}")

    with pytest.raises(ArithmeticError, match=r"2\.\.4"):
        Workers(2).share(work, 4)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_runs_of_a_window(height: int, width: int, down: int, across: int, depthwise: bool) -> None:
    """Each tap where it lies from the window's first, rows as one run where taps are neighbours."""
    lanes = 16 if depthwise else 6
    window = Window(before=(0, 0), out=(1, 1), dilation=(down, across))
    size = (height - 1) * down + 1, (width - 1) * across + 1
    stream = convolution(*size, 16, 16, window, (height, width), depthwise=depthwise)
    cna = read_cna(unit(stream, "CNA"), Checks(strict=True))
    offsets, pairs = _runs(cna, lanes)
    taps = [(y * down * size[1] + x * across) * lanes for y in range(height) for x in range(width)]
    if depthwise:
        assert pairs == 0
        assert offsets.tolist() == taps + taps[-1:] * (len(taps) % 2)
        return
    read = [offset + 2 * pair + one for offset in offsets.tolist() for pair in range(pairs) for one in (0, 1)]
    assert read == [tap + lane for tap in taps for lane in range(lanes)]
    assert len(offsets) == (height if across == 1 else height * width)


def test_the_bytes_that_a_view_reaches() -> None:
    area = np.zeros((10, 12), np.int16)
    start = area.ctypes.data
    assert _extent(area) == (start, start + 240)
    assert _extent(area[2:5, 3:7]) == (start + 2 * 24 + 6, start + 4 * 24 + 14)
    assert _extent(area[::-1, ::-1]) == (start, start + 240)
    assert _extent(area[5:2:-1, 3]) == (start + 3 * 24 + 6, start + 5 * 24 + 8)
