import numpy as np
import pytest
from sim_model import pack_depthwise, pack_regular

from rocketnpu.rockchip.simulator.units import weights as weights_module
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


@pytest.mark.parametrize(("left", "right"), [(1, 1), (31, 1), (32, 1), (33, 2), (64, 2), (65, 3)])
def test_packed_weights_are_in_groups_of_32_outputs(left, right):
    weights = random((left, 2, 3, 16))
    stored = StoredWeights(pack_regular(weights), KernelShape(2, 3, 16, left, depthwise=False))
    operand = np.arange(left) - 5
    packed = stored.pack(left, operand)
    assert packed.values.shape == (right, 6, 8, 32, 2)
    assert packed.lanes == 16
    found = packed.values.transpose(0, 3, 1, 2, 4).reshape(32 * right, 2, 3, 16)
    assert np.array_equal(found[:left], weights.astype(int) + operand[:, None, None, None])
    assert not found[left:].any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (2, 2), (2, 3)])
@pytest.mark.parametrize("channels", [16, 32, 48, 80])
def test_packed_depthwise_weights_are_in_pairs_of_taps(height, width, channels):
    weights = random((height, width, channels))
    stored = StoredWeights(pack_depthwise(weights), KernelShape(height, width, channels, 1, depthwise=True))
    operand = np.arange(channels) - 9
    packed = stored.pack(channels, operand)
    taps, groups = height * width, -(-channels // 32)
    assert packed.values.shape == (groups, -(-taps // 2), 32, 2)
    found = packed.values.transpose(1, 3, 0, 2).reshape(-1, 32 * groups)
    assert np.array_equal(found[:taps, :channels], weights.reshape(taps, channels).astype(int) + operand)
    assert not found[taps:].any()
    assert not found[:, channels:].any()


@pytest.mark.parametrize("used", [0, 1, 2, 15, 16, 17, 40, 48])
def test_lanes_end_with_the_last_that_counts(used):
    """Channels behind it are multiplied by zero only; a kernel of zeros keeps one. Packed ones come in pairs."""
    weights = np.zeros((3, 1, 2, 48), np.int8)
    if used:
        weights[1, 0, 1, used - 1] = 1
    stored = StoredWeights(pack_regular(weights), KernelShape(1, 2, 48, 3, depthwise=False))
    assert stored.net(3, np.zeros(3, np.int64)).lanes == max(used, 1)
    assert stored.pack(3, np.zeros(3, np.int64)).lanes == max(used + used % 2, 2)


def uniform(value, channels):
    shape = KernelShape(1, 1, channels, 2, depthwise=False)
    return StoredWeights(np.full(2 * channels, value, np.int8).view(np.uint8), shape).net(2, np.zeros(2, np.int64))


def test_one_part_where_every_sum_fits_24_bits():
    """128 times 127 times 1024 lanes is just below 2**24, with one more lane of 127 it is not."""
    assert uniform(127, 1024).bound == 127 * 1024 * 128 < EXACT_FLOAT32
    assert uniform(127, 1024).parts == (slice(0, 1024),)
    assert uniform(-128, 1024).bound == EXACT_FLOAT32
    assert uniform(-128, 1024).parts == (slice(0, 512), slice(512, 1024))


def test_parts_are_halved_until_each_is_exact():
    found = uniform(-128, 5000)
    assert [part.stop - part.start for part in found.parts] == [625] * 8
    assert [part.start for part in found.parts] == [625 * n for n in range(8)]


def test_weights_beyond_16_bits_on_either_side():
    shape = KernelShape(1, 1, 16, 1, depthwise=False)
    stored = StoredWeights(np.full(16, -128, np.int8).view(np.uint8), shape)
    assert stored.pack(1, np.array([-32768 + 128])) is not None
    assert stored.pack(1, np.array([-32769 + 128])) is None


def test_memory_in_use_is_what_was_fetched_and_decoded():
    weights = random((4, 1, 1, 16))
    stored = StoredWeights(pack_regular(weights), KernelShape(1, 1, 16, 4, depthwise=False))
    assert stored.held_bytes == 64
    stored.net(4, np.zeros(4, np.int64))
    assert stored.held_bytes == 64 + 4 * 64
    stored.pack(4, np.zeros(4, np.int64))
    assert stored.held_bytes == 64 + 4 * 64 + 2 * 16 * 32
    stored.pack(4, np.full(4, 32767))
    assert stored.held_bytes == 64 + 4 * 64 + 2 * 16 * 32, "what could not be packed takes nothing"


def test_the_longest_unused_weights_go_first(monkeypatch):
    monkeypatch.setattr(weights_module, "CACHE_BYTES", 3 * 48)
    cache, shape = WeightCache(), KernelShape(1, 1, 16, 3, depthwise=False)
    memories = [random(48, seed).view(np.uint8) for seed in range(4)]
    entries = [cache.load(address, shape, memory) for address, memory in enumerate(memories[:3])]
    assert cache.load(0, shape, memories[0]) is entries[0]
    cache.load(3, shape, memories[3])
    assert cache.load(0, shape, memories[0]) is entries[0]
    assert cache.load(2, shape, memories[2]) is entries[2]
    assert cache.load(1, shape, memories[1]) is not entries[1]


def test_weights_larger_than_the_cache_are_kept_alone(monkeypatch):
    monkeypatch.setattr(weights_module, "CACHE_BYTES", 47)
    cache, shape = WeightCache(), KernelShape(1, 1, 16, 3, depthwise=False)
    one, other = (random(48, seed).view(np.uint8) for seed in range(2))
    first = cache.load(0, shape, one)
    assert cache.load(0, shape, one) is first
    cache.load(1, shape, other)
    assert cache.load(0, shape, one) is not first


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 23])
def test_every_byte_is_compared(size):
    shape = KernelShape(1, 1, size, 1, depthwise=False)  # whatever the size, in units of eight bytes or not
    memory = random(size).view(np.uint8).copy()
    for place in range(size):
        cache = WeightCache()
        first = cache.load(0, shape, memory)
        memory[place] ^= 0x80
        assert cache.load(0, shape, memory) is not first


def test_other_kernels_at_the_same_address_are_other_weights():
    cache, memory = WeightCache(), random(64).view(np.uint8)
    first = cache.load(0, KernelShape(1, 1, 16, 4, depthwise=False), memory)
    assert cache.load(0, KernelShape(2, 2, 16, 1, depthwise=True), memory) is not first
    assert cache.load(0, KernelShape(1, 1, 16, 4, depthwise=False), memory) is first
