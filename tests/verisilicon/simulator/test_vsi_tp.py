"""The tensor processors: every kind of job that is known, written out element by element."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vsi_machine import FILL, IMAGE, TABLE, TARGET, TP, Rig

from rocketnpu.errors import SimulationError
from rocketnpu.verisilicon.simulator.lookup import from_fp21, looked_up, to_fp21

SIZE = st.integers(1, 9)


def tp_fields(size, window=None, tile=None, counts=(), steps=(), last=0, **changes):
    """Fields of a scan; ``size`` is (planes, rows, columns), the window (x0, y0, x1, y1)."""
    planes, rows, columns = size
    x0, y0, x1, y1 = window or (0, 0, columns - 1, rows - 1)
    tile = tile or (x1 - x0 + 1, y1 - y0 + 1)
    fields = {
        "IN_ADDRESS": IMAGE,
        "OUT_ADDRESS": TARGET,
        "IN_X": columns,
        "IN_Y": rows,
        "IN_Z": planes,
        "IN_STRIDE": columns,
        "IN_SLICE": columns * rows,
        "WINDOW_X0": x0,
        "WINDOW_Y0": y0,
        "WINDOW_X1": x1,
        "WINDOW_Y1": y1,
        "TILE_X": tile[0],
        "TILE_Y": tile[1],
        "TILE_X_STEP": tile[0],
        "TILE_Y_STEP": tile[1],
        "INCREMENT_6": last,
        **dict.fromkeys(("IMAGE_GLOBAL", "INT_TO_FLOAT", "FLOAT_TO_INT", "OUT_GLOBAL", "LAST"), 1),
        **dict.fromkeys(("FLOAT_ROUNDING", "INT_ROUNDING"), 1),
        "CIRCULAR_IN_END": 0x3FFFFFF,
        "CIRCULAR_OUT_END": 0x3FFFFFF,
    }
    for number in range(6):
        fields[f"COUNT_{number}"] = counts[number] if number < len(counts) else 1
        fields[f"INCREMENT_{number}"] = steps[number] & 0xFFFFFFFF if number < len(steps) else 0
    return fields | changes


def image_of(rig, size, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    rig.image[: image.size] = image.ravel()
    return image


@given(SIZE, SIZE, SIZE, st.integers(0, 99))
def test_transposing_pixels_to_planes_and_back(height, width, channels, seed):
    rig = Rig()
    image = image_of(rig, (height, width, channels), seed)
    counts, steps = (width, channels, height), (1, height * width, width)
    rig.run(TP, tp_fields((height, width, channels), tile=(1, width), counts=counts, steps=steps))
    wanted = image.transpose(2, 0, 1).ravel()
    assert np.array_equal(rig.target[: wanted.size], wanted)
    assert (rig.target[wanted.size :] == FILL).all()
    rig.image[: wanted.size] = wanted
    rig.run(
        TP,
        tp_fields(
            (1, height * channels, width),
            tile=(1, 1),
            counts=(width, 1, height, channels),
            steps=(channels, 0, width * channels, 1),
            last=width * height * channels,
        ),
    )
    assert np.array_equal(rig.target[: wanted.size], image.ravel())


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1), st.integers(0, 255))
def test_reshuffling_into_four_maps(half_height, half_width, channels, before, zero):
    """Pixels of even and odd rows and columns go to maps of their own; outside the image lies the zero point."""
    rig = Rig()
    size = (channels, 2 * half_height - before, 2 * half_width - before)
    image = image_of(rig, size)
    plane = half_height * half_width
    fields = tp_fields(
        size,
        window=(-before, -before, 2 * half_width - before - 1, 2 * half_height - before - 1),
        counts=(2, half_width, 2, half_height),
        steps=(plane, 1, 2 * plane, half_width),
        last=4 * plane,
        IN_ZERO_POINT=zero,
        OUT_ZERO_POINT=zero,
    )
    rig.run(TP, fields)
    padded = np.full((channels, 2 * half_height, 2 * half_width), zero, np.uint8)
    padded[:, before:, before:] = image
    wanted = np.stack([padded[:, row::2, column::2] for row in (0, 1) for column in (0, 1)], axis=1)
    assert np.array_equal(rig.target[: wanted.size], wanted.ravel())


@given(SIZE, SIZE, st.integers(1, 3), st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(0, 1))
def test_padding(rows, columns, planes, around, extra):
    rig = Rig()
    image = image_of(rig, (planes, rows, columns))
    top, bottom, left, right = around
    height, width = rows + top + bottom, columns + left + right
    fields = tp_fields(
        (planes, rows, columns),
        window=(-left, -top, columns - 1 + right, rows - 1 + bottom),
        counts=(1, width, height),
        steps=(0, 1, width),
        last=width * height,
        IN_ZERO_POINT=9,
        OUT_ZERO_POINT=9,
        OVERFETCH_BEFORE=extra,
        OVERFETCH_AFTER=extra,
    )
    rig.run(TP, fields)
    around_all = ((extra, extra), (top, bottom), (left, right))
    wanted = np.pad(image, around_all, constant_values=9).ravel()
    assert np.array_equal(rig.target[: wanted.size], wanted)


def lookup_fields(rows, columns, planes, **changes):
    across, down = -(-columns // 64), -(-rows // 16)
    return tp_fields(
        (planes, rows, columns),
        tile=(64, 16),
        counts=(1, 0, 0, across, down),
        steps=(0, 1, columns, 64, 16 * columns),
        last=rows * columns,
        **{"RESET_1": 1, "RESET_2": 1, "LOOKUP": 1, "LOOKUP_ADDRESS": TABLE} | changes,
    )


@pytest.mark.parametrize(("rows", "columns", "planes"), [(16, 64, 1), (5, 7, 3), (33, 130, 2), (20, 3, 1), (1, 1, 500)])
def test_looking_up_with_the_identity_table_changes_nothing(rows, columns, planes):
    """Maps of several tiles, those at the edge cut off."""
    rig = Rig()
    image = image_of(rig, (planes, rows, columns))
    rig.table.view("<u4")[:] = np.arange(1024) << 11
    rig.run(TP, lookup_fields(rows, columns, planes, IN_ZERO_POINT=77, OUT_ZERO_POINT=77))
    assert np.array_equal(rig.target[: image.size], image.ravel())
    assert (rig.target[image.size :] == FILL).all()


def test_looking_up_relu_and_a_scale():
    """A table whose negative half is zero, and the multiplier and shift behind it."""
    rig = Rig()
    rig.image[:256] = np.arange(256)
    table = np.arange(1024) << 11
    table[512:] = 0
    rig.table.view("<u4")[:] = table
    rig.run(TP, lookup_fields(4, 64, 1, IN_ZERO_POINT=100, OUT_ZERO_POINT=20, MULTIPLIER=1 << 14, POSTSHIFT=1))
    values = np.maximum(np.arange(256) - 100, 0) * 1.5 / 2
    assert np.array_equal(rig.target[:256], np.minimum(np.floor(values + 0.5) + 20, 255).astype(np.uint8))


def test_the_float_of_the_tables():
    assert from_fp21(np.array([0, 15 << 15, 16 << 15 | 1 << 14, 1 << 20 | 14 << 15], np.uint32)).tolist() == [
        0.0,
        1.0,
        3.0,
        -0.5,
    ]
    numbers = np.arange(-255, 256)
    assert np.array_equal(from_fp21(to_fp21(numbers).astype(np.uint32)), numbers)
    steps = np.arange(1024, dtype=np.uint32) << 11
    assert np.allclose(looked_up(numbers, steps), numbers)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SQUARE": 1}, "TP.SQUARE: 1; only 0 is known"),
        ({"LAST": 0}, "TP.LAST: 0; only 1 is known"),
        ({"COUNT_2": 0}, "TP.COUNT_2: 0"),
        ({"COUNT_1": 0, "COUNT_2": 0}, "TP.COUNT_1: counts"),
        ({"COUNT_0": 3}, "16 values are no whole number of rounds of 3"),
        ({"INCREMENT_0": 0}, "4 steps of 0 bytes write places twice"),
        ({"TILE_X": 3, "TILE_X_STEP": 3}, "no whole number of tiles of 3x4"),
        ({"TILE_X_STEP": 3}, "tiles overlap or leave values out"),
        ({"TILE_X": 0, "TILE_X_STEP": 0}, "a tile of nothing"),
        ({"WINDOW_X1": -1}, "a window from 0, 0 to -1, 3"),
        ({"IN_STRIDE": 3}, "rows or planes overlap"),
        ({"IN_Z": 0}, "an image of 4x4x0"),
        ({"OUT_ADDRESS": 0}, "TP.OUT_ADDRESS: 0x0 lies in no buffer"),
        ({"OUT_ADDRESS": TARGET + (1 << 16) - 4}, "TP.OUT_ADDRESS: write of"),
        ({"IN_ADDRESS": 0}, "TP.IN_ADDRESS: read of"),
        ({"WINDOW_X1": 32767, "WINDOW_Y1": 32767, "TILE_X": 1, "TILE_X_STEP": 1}, "a scan of"),
        ({"LOOKUP": 1, "LOOKUP_ADDRESS": 4}, "TP.LOOKUP_ADDRESS: read of"),
    ],
)
def test_what_is_not_known_is_refused(changes, said):
    rig = Rig()
    fields = tp_fields((1, 4, 4), counts=(4, 4), steps=(1, 4), last=16)
    with pytest.raises(SimulationError) as caught:
        rig.run(TP, fields | changes)
    assert said in str(caught.value)
    assert (rig.target == FILL).all()


@given(SIZE, SIZE, SIZE, st.integers(0, 8), st.integers(0, 8))
def test_a_window_inside_the_image(rows, columns, planes, top, left):
    rig = Rig()
    top, left = top % rows, left % columns
    image = image_of(rig, (planes, rows, columns))
    height, width = rows - top, columns - left
    window = (left, top, columns - 1, rows - 1)
    rig.run(
        TP,
        tp_fields((planes, rows, columns), window, counts=(1, width, height), steps=(0, 1, width), last=width * height),
    )
    assert np.array_equal(rig.target[: planes * height * width], image[:, top:, left:].ravel())
    assert (rig.target[planes * height * width :] == FILL).all()
