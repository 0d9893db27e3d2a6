import numpy as np
import pytest
from sim_model import pack_depthwise, pack_regular

from rocketnpu.rockchip.simulator.units.weights import (
    EXACT_FLOAT32,
    MAX_INPUT,
    KernelShape,
    StoredWeights,
    WeightCache,
    decode_depthwise,
    decode_regular,
)


def random(shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


@pytest.mark.parametrize("kernels", [1, 2, 31, 32, 33, 64, 70])
@pytest.mark.parametrize("channels", [16, 32, 48, 64, 80])
def test_regular_order(kernels, channels):
    weights = random((kernels, 2, 3, channels))
    shape = KernelShape(2, 3, channels, kernels, depthwise=False)
    decoded = decode_regular(pack_regular(weights).view(np.int8), shape)
    assert np.array_equal(decoded, weights.transpose(1, 2, 3, 0))


@pytest.mark.parametrize("channels", [16, 32, 48, 64, 80, 112, 128])
def test_depthwise_order(channels):
    weights = random((3, 2, channels))
    shape = KernelShape(3, 2, channels, 1, depthwise=True)
    assert np.array_equal(decode_depthwise(pack_depthwise(weights).view(np.int8), shape), weights)


@pytest.mark.parametrize("channels", [16, 512, 4096])
def test_parts_are_exact_in_float32(channels):
    weights = np.full((32, 1, 1, channels), -128, np.int8)
    shape = KernelShape(1, 1, channels, 32, depthwise=False)
    net = StoredWeights(pack_regular(weights), shape).net(32, np.full(32, -128))
    assert net.bound == 256 * channels * MAX_INPUT
    assert sum(part.stop - part.start for part in net.parts) == channels
    for part in net.parts:
        assert np.abs(net.matrix[part]).sum(axis=0).max() * MAX_INPUT < EXACT_FLOAT32


def test_the_cache_notices_new_bytes():
    shape = KernelShape(1, 1, 16, 3, depthwise=False)
    memory = random(48).view(np.uint8).copy()
    cache = WeightCache()
    first = cache.load(0, shape, memory)
    assert cache.load(0, shape, memory) is first
    memory[47] ^= 1
    second = cache.load(0, shape, memory)
    assert second is not first
    assert np.array_equal(second.raw, memory)


def test_operands_are_part_of_the_key():
    weights = random((4, 1, 1, 16))
    stored = StoredWeights(pack_regular(weights), KernelShape(1, 1, 16, 4, depthwise=False))
    plain = stored.net(4, np.zeros(4, np.int64)).matrix
    assert np.array_equal(stored.net(4, np.arange(4)).matrix, plain + np.arange(4))
    assert stored.net(2, np.zeros(2, np.int64)).matrix.shape == (16, 2)
