"""Coefficients of both generations: what is written comes back, and what is damaged is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
import encode

from rocketnpu.errors import SimulationError
from rocketnpu.verisilicon.coefficients.entropy import read_entropy
from rocketnpu.verisilicon.coefficients.kernels import KernelShape
from rocketnpu.verisilicon.coefficients.zero_runs import read_zero_runs, weight_order

SIZES = st.tuples(*[st.integers(1, top) for top in (20, 9, 5, 5)])
ORDERS = st.permutations(list(range(8)))


def drawn(data, sizes):
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    weights = random.integers(0, 256, sizes, np.uint8)
    zero_point = int(random.integers(0, 256))
    weights[random.random(sizes) < random.random()] = zero_point
    biases = random.integers(-(2**31), 2**31, sizes[0])
    return weights, biases, zero_point


def shape_of(weights, per_core, zero_point, cores, depthwise=False):
    kernels, channels, rows, columns = weights.shape
    return KernelShape(kernels, channels, rows, columns, per_core, zero_point, depthwise, cores)


def raw(data):
    return np.frombuffer(data, np.uint8)


@given(SIZES, st.integers(1, 6), st.integers(0, 8), st.sampled_from([2, 8]), st.data())
def test_zero_runs_come_back(sizes, per_core, run_bits, cores, data):
    weights, biases, zero_point = drawn(data, sizes)
    written = encode.zero_runs(
        weights, biases, per_core=per_core, zero_point=zero_point, cores=cores, run_bits=run_bits, plane=64
    )
    found = read_zero_runs(raw(written + bytes(5)), shape_of(weights, per_core, zero_point, cores))
    kept = np.flatnonzero(found.places < sizes[0] * 64)
    order = kept[np.argsort(found.places[kept])]
    assert found.places[order].tolist() == [64 * number for number in range(sizes[0])]
    assert np.array_equal(found.weights[order], weights)
    assert np.array_equal(found.biases[order], biases)
    assert found.size == len(written)
    assert set(found.zero_run_bits) == {run_bits}


@given(SIZES, st.integers(1, 6), ORDERS, st.booleans(), st.data())
def test_entropy_coded_kernels_come_back(sizes, per_core, order, depthwise, data):
    sizes = (sizes[0], 1, *sizes[2:]) if depthwise else sizes
    weights, biases, zero_point = drawn(data, sizes)
    written = encode.entropy(
        weights, biases, per_core=per_core, zero_point=zero_point, cores=6, order=list(order), depthwise=depthwise
    )
    found = read_entropy(raw(written + bytes(5)), shape_of(weights, per_core, zero_point, 6, depthwise))
    places = np.argsort(found.places)
    assert found.places[places].tolist() == list(range(sizes[0]))
    assert np.array_equal(found.weights[places], weights)
    assert np.array_equal(found.biases[places], biases)
    assert found.size == len(written)


def test_the_order_of_a_five_by_five_kernel():
    assert weight_order(5, 5).tolist() == [
        *(0, 1, 2, 5, 6, 7, 3, 4, 8, 9),
        *(10, 11, 12, 15, 16, 17, 13, 14, 18, 19),
        *(20, 21, 22, 23, 24),
    ]


@settings(max_examples=300)
@given(st.sampled_from([7, 8]), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_damaged_buffers_are_refused_or_read(generation, seed, changes):
    """Any bytes give kernels of the right shape, or a sentence; never another error, never an endless loop."""
    random = np.random.default_rng(seed)
    weights = random.integers(0, 256, (9, 3, 2, 3), np.uint8)
    biases = np.zeros(9, np.int64)
    if generation == 7:
        data = encode.zero_runs(weights, biases, per_core=2, zero_point=3, cores=8, run_bits=4, plane=16)
    else:
        data = encode.entropy(weights, biases, per_core=2, zero_point=3, cores=6, order=list(range(8)))
    broken = raw(data).copy()
    broken[random.integers(0, len(broken), changes)] = random.integers(0, 256, changes)
    broken = broken[: random.integers(1, len(broken) + 1)]
    reader, cores = (read_zero_runs, 8) if generation == 7 else (read_entropy, 6)
    try:
        found = reader(broken, shape_of(weights, 2, 3, cores))
    except SimulationError:
        return
    assert found.weights.shape[1:] == (3, 2, 3)
    assert len(found.weights) == len(found.biases) == len(found.places) >= 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:30], "a header of 64 bytes"),
        (lambda data: data[:70], "the stream of core 0 claims 64 bytes"),
        (lambda data: data[:64] + b"\x11" + data[65:], "runs of 17 bits"),
        (lambda data: data[:65] + b"\xff\xff" + data[67:], "65535 kernels, where 2 cores share 2"),
        (lambda data: b"\x08" + data[1:], "of 8 bytes ends before its kernels do"),
    ],
)
def test_what_is_wrong_with_zero_runs(change, said):
    weights = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    data = encode.zero_runs(weights, [1, 2], per_core=1, zero_point=3, cores=8, run_bits=0, plane=16)
    with pytest.raises(SimulationError, match=said):
        read_zero_runs(raw(change(data)), shape_of(weights, 1, 3, 8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:30], "a header of 64 bytes"),
        (lambda data: b"\x11" + data[1:], "begins with 0x11"),
        (lambda data: data[:1] + b"\x01" + data[2:], "a table of runs"),
        (lambda data: data[:24] + b"\x01" + data[25:], "an average bias"),
        (lambda data: data[:20] + b"\x99" + data[21:], "a symbol of 9 bits"),
        (lambda data: data[:28] + b"\x20" + data[29:], "ends before its kernels do"),
        (lambda data: data[:-1], "2 biases do not fit"),
    ],
)
def test_what_is_wrong_with_entropy_coded_kernels(change, said):
    weights = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    data = encode.entropy(weights, [1, 2], per_core=1, zero_point=3, cores=6, order=list(range(8)))
    with pytest.raises(SimulationError, match=said):
        read_entropy(raw(change(data)), shape_of(weights, 1, 3, 6))
