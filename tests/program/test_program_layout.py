"""Host tensors in the NPU's layout: pack and unpack are inverse, and bytes lie where spec 3.1 says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.program.layout import CellLayout, PlaneLayout, SurfaceLayout

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 50))


@given(shape=SHAPES, extra=st.integers(0, 3), offset=st.integers(0, 5), flip=st.booleans(), seed=st.integers(0, 999))
def test_pack_and_unpack(shape: tuple[int, int, int], extra: int, offset: int, flip: bool, seed: int) -> None:
    height, width, channels = shape
    layout = SurfaceLayout(height, width, channels, offset * 16, (height * width + extra) * 16, flip, 16)
    tensor = np.random.default_rng(seed).integers(0, 256, (1, *shape), np.uint8)
    memory = np.full(layout.end + 32, 0xAA, np.uint8)
    layout.pack(tensor, memory)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                place = layout.offset + c // 16 * layout.surface_pitch + (y * width + x) * 16 + c % 16
                assert memory[place] == tensor[0, y, x, c] ^ (0x80 if flip else 0)
    assert (memory[: layout.offset] == 0xAA).all()
    assert (memory[layout.end :] == 0xAA).all()
    back = np.zeros_like(tensor)
    layout.unpack(memory, back)
    assert np.array_equal(back, tensor)


@given(shape=SHAPES, offset=st.integers(0, 70), flip=st.booleans(), seed=st.integers(0, 999))
def test_planes_pack_and_unpack(shape: tuple[int, int, int], offset: int, flip: bool, seed: int) -> None:
    height, width, channels = shape
    layout = PlaneLayout(height, width, channels, offset, flip)
    tensor = np.random.default_rng(seed).integers(0, 256, (1, *shape), np.uint8)
    memory = np.full(layout.end + 32, 0xAA, np.uint8)
    layout.check(tensor.size, memory.size)
    layout.pack(tensor, memory)
    wanted = tensor[0].transpose(2, 0, 1).ravel() ^ np.uint8(0x80 if flip else 0)
    assert np.array_equal(memory[offset : layout.end], wanted)
    assert (memory[:offset] == 0xAA).all()
    assert (memory[layout.end :] == 0xAA).all()
    back = np.zeros_like(tensor)
    layout.unpack(memory, back)
    assert np.array_equal(back, tensor)


@pytest.mark.parametrize(
    ("layout", "elements", "size"),
    [
        (PlaneLayout(2, 3, 4, 0, False), 23, 100),
        (PlaneLayout(2, 3, 4, 77, False), 24, 100),
        (PlaneLayout(2, 3, 4, -1, False), 24, 100),
        (PlaneLayout(0, 3, 4, 0, False), 0, 100),
    ],
)
def test_planes_outside_their_buffer_are_refused(layout: PlaneLayout, elements: int, size: int) -> None:
    with pytest.raises(ValueError, match="layout"):
        layout.check(elements, size)


SURFACES = SurfaceLayout(2, 3, 20, 32, 100, False, 16)
CELLS = CellLayout(4, 6, 3, 32, False, 16)
PLANES = PlaneLayout(2, 3, 4, 32, False)


def test_the_last_byte_of_a_layout() -> None:
    assert (SURFACES.surfaces, SURFACES.end) == (2, 32 + 100 + 96)
    assert (CELLS.end, PLANES.end) == (32 + 96, 32 + 24)


@pytest.mark.parametrize(
    ("layout", "elements", "size"),
    [
        (SURFACES, 120, 228),
        (replace(SURFACES, offset=0), 120, 196),
        (replace(SURFACES, surface_pitch=96), 120, 224),
        (replace(SURFACES, channels=16, surface_pitch=0), 96, 128),
        (replace(SURFACES, channels=1, slot=1, surface_pitch=0), 6, 38),
        (CELLS, 72, 128),
        (replace(CELLS, channels=4, offset=0), 96, 96),
        (PLANES, 24, 56),
        (replace(PLANES, offset=0), 24, 24),
        (PlaneLayout(1, 1, 1, 0, True), 1, 1),
    ],
)
def test_layouts_that_just_fit(layout: SurfaceLayout | CellLayout | PlaneLayout, elements: int, size: int) -> None:
    layout.check(elements, size)
    for less in ((elements - 1, size), (elements + 1, size), (elements, size - 1)):
        with pytest.raises(ValueError, match="layout"):
            layout.check(*less)


@pytest.mark.parametrize(
    ("layout", "elements"),
    [
        (replace(SURFACES, surface_pitch=95), 120),
        (replace(SURFACES, offset=-1), 120),
        (replace(SURFACES, channels=16, surface_pitch=-1), 96),
        (replace(SURFACES, slot=0), 120),
        (replace(SURFACES, height=0), 0),
        (replace(SURFACES, width=0), 0),
        (replace(SURFACES, height=-2, width=-3), 120),
        (replace(CELLS, height=3), 54),
        (replace(CELLS, width=5), 60),
        (replace(CELLS, channels=5), 120),
        (replace(CELLS, slot=15), 72),
        (replace(CELLS, slot=11), 72),
        (replace(CELLS, offset=31), 72),
        (replace(CELLS, offset=-2), 72),
        (replace(CELLS, channels=0), 0),
        (replace(PLANES, offset=-1), 24),
        (replace(PLANES, channels=0), 0),
    ],
)
def test_layouts_that_hold_no_tensor(layout: SurfaceLayout | CellLayout | PlaneLayout, elements: int) -> None:
    with pytest.raises(ValueError, match=r"layout|overlap|makes no cells"):
        layout.check(elements, 1 << 20)


@pytest.mark.parametrize("layout", [SURFACES, replace(SURFACES, channels=16), CELLS, PLANES], ids=lambda one: one.kind)
def test_nothing_is_copied_to_or_from_a_buffer_that_ends_too_early(
    layout: SurfaceLayout | CellLayout | PlaneLayout,
) -> None:
    tensor = np.zeros((1, layout.height, layout.width, layout.channels), np.uint8)
    layout.pack(tensor, np.zeros(layout.end, np.uint8))
    for copy in (layout.pack, lambda tensor, memory: layout.unpack(memory, tensor)):
        with pytest.raises(ValueError, match="ends at byte"):
            copy(tensor, np.zeros(layout.end - 1, np.uint8))


@given(pitch=st.integers(1, 3), channels=st.integers(1, 50), slot=st.sampled_from([1, 4, 8, 16]), flip=st.booleans())
def test_a_single_pixel(pitch: int, channels: int, slot: int, flip: bool) -> None:
    layout = SurfaceLayout(1, 1, channels, 7, pitch * slot, flip, slot)
    tensor = np.arange(channels, dtype=np.uint8).reshape(1, 1, 1, channels)
    memory = np.full(layout.end + 5, 0xAA, np.uint8)
    layout.pack(tensor, memory)
    places = [7 + c // slot * pitch * slot + c % slot for c in range(channels)]
    assert memory[places].tolist() == (tensor.reshape(-1) ^ (0x80 if flip else 0)).tolist()
    untouched = np.delete(memory, places)
    assert (untouched == 0xAA).all()
    back = np.zeros_like(tensor)
    layout.unpack(memory, back)
    np.testing.assert_array_equal(back, tensor)
