"""Packed weights, byte for byte where spec 3.5 says they lie."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.weights import pack_biases, pack_convolution, pack_depthwise, pack_records


@given(
    kernels=st.integers(1, 40).map(lambda half: 2 * half),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    channels=st.integers(1, 80),
    seed=st.integers(0, 1 << 30),
)
def test_convolution_order(kernels: int, height: int, width: int, channels: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-128, 128, (kernels, height, width, channels), np.int8)
    full = -(-channels // 16) * 16
    expected = bytearray()
    for first in range(0, kernels, 32):
        for lane in range(0, full, 32):
            for y in range(height):
                for x in range(width):
                    for kernel in range(first, min(first + 32, kernels)):
                        for channel in range(lane, min(lane + 32, full)):
                            value = weights[kernel, y, x, channel] if channel < channels else 7
                            expected.append(int(value) & 0xFF)
    assert pack_convolution(weights, 7, RK3588) == bytes(expected)


@given(height=st.integers(1, 3), width=st.integers(1, 3), channels=st.integers(1, 150), seed=st.integers(0, 1 << 30))
def test_depthwise_order(height: int, width: int, channels: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-128, 128, (height, width, channels), np.int8)
    full = -(-channels // 16) * 16
    expected = bytearray()
    for first in range(0, full, 64):
        for y in range(height):
            for x in range(width):
                for channel in range(first, min(first + 64, full)):
                    expected.append(int(weights[y, x, channel] if channel < channels else -9) & 0xFF)
    assert pack_depthwise(weights, -9, RK3588) == bytes(expected)


def test_biases_are_padded_with_zero() -> None:
    assert np.frombuffer(pack_biases(np.array([1, -2, 3]), 8), "<i4").tolist() == [1, -2, 3, 0, 0, 0, 0, 0]


def test_records() -> None:
    data = pack_records(np.arange(10) - 5, np.arange(10) + 100, 32, RK3588)
    assert len(data) == 4 * 64
    first, second = np.frombuffer(data[:32], "<i4"), np.frombuffer(data[64:96], "<i4")
    assert first.tolist() == [-5, -4, -3, -2, -1, 0, 1, 2]
    assert second.tolist() == [3, 4, 0, 0, 0, 0, 0, 0]
    assert np.frombuffer(data[32:48], "<i2").tolist() == [0] * 8
    assert np.frombuffer(data[48:64], "<i2").tolist() == list(range(100, 108))
    assert np.frombuffer(data[112:128], "<i2").tolist() == [108, 109, 1, 1, 1, 1, 1, 1]
