"""Host tensors in the NPU's layout: pack and unpack are inverse, and bytes lie where spec 3.1 says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.program.layout import PlaneLayout, SurfaceLayout

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
