"""Host tensors in the NPU's layout: pack and unpack are inverse, and bytes lie where spec 3.1 says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.program.layout import SurfaceLayout

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
