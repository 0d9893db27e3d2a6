"""Pooling tasks: enable 0x60 (addendum 4)."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_model import from_slots, half_even_fast, saturate, to_slots
from sim_streams import FEATURES, OUTPUT, pooling, run

from rocketnpu.errors import SimulationError

AVERAGE, MAXIMUM, MINIMUM = 0, 1, 2


def tensor(shape, seed=1):
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def windows(x, kernel, stride, before, out, pad):
    rows, columns = ((out[n] - 1) * stride[n] + kernel[n] for n in range(2))
    padded = np.full((rows, columns, x.shape[2]), pad, np.int64)
    padded[before[0] : before[0] + x.shape[0], before[1] : before[1] + x.shape[1]] = x
    for y in range(out[0]):
        for column in range(out[1]):
            top, left = y * stride[0], column * stride[1]
            yield padded[top : top + kernel[0], left : left + kernel[1]].reshape(-1, x.shape[2])


def pool(x, kernel, stride, before=(0, 0), after=(0, 0), method=MAXIMUM, pad=-128):
    stream, out = pooling(x.shape, kernel, stride, before, after, method, pad & 0xFFFFFFFF)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(out[0] * out[1] * -(-x.shape[2] // 16) * 16, np.uint8)}
    _, report = run(stream, memory)
    got = from_slots(memory[OUTPUT], *out, x.shape[2])
    return got, np.stack(list(windows(x, kernel, stride, before, out, pad))).reshape(*out, -1, x.shape[2]), report


@st.composite
def geometries(draw):
    kernel, stride = (draw(st.tuples(st.integers(1, 5), st.integers(1, 5))) for _ in range(2))
    size, before, after = [], [], []
    for axis in range(2):
        out = draw(st.integers(1, 4))
        before.append(draw(st.integers(0, min(kernel[axis] - 1, 7))))
        after.append(draw(st.integers(0, min(kernel[axis] - 1, 7))))
        size.append((out - 1) * stride[axis] + kernel[axis] - before[axis] - after[axis])
    return size, kernel, stride, tuple(before), tuple(after)


@given(geometries(), st.sampled_from([MAXIMUM, MINIMUM]), st.integers(-128, 127))
@settings(max_examples=60)
def test_extremes(geometry, method, pad):
    size, kernel, stride, before, after = geometry
    if min(size) < 1:
        return
    got, cells, report = pool(tensor((*size, 20)), kernel, stride, before, after, method, pad)
    assert np.array_equal(got, cells.max(axis=2) if method == MAXIMUM else cells.min(axis=2))
    assert report.interrupts == 0x400


@pytest.mark.parametrize("kernel", [(1, 2), (2, 2), (4, 4), (8, 2)])
def test_average_over_powers_of_two_is_half_even(kernel):
    got, cells, _ = pool(tensor((8, 8, 32)), kernel, kernel, method=AVERAGE)
    count = kernel[0] * kernel[1]
    assert np.array_equal(got, half_even_fast(cells.sum(axis=2), count.bit_length() - 1))


@pytest.mark.parametrize("kernel", [(3, 3), (7, 7), (5, 3)])
def test_average_uses_truncated_reciprocals(kernel):
    """65536 / 7 is cut to 9362: means come out slightly below the exact ones (addendum 4.4)."""
    got, cells, _ = pool(tensor((kernel[0] * 2, kernel[1] * 2, 16)), kernel, kernel, method=AVERAGE)
    factor = Fraction((65536 // kernel[0]) * (65536 // kernel[1]), 1 << 32)
    wanted = [round(int(total) * factor) for total in cells.sum(axis=2).reshape(-1)]
    assert got.reshape(-1).tolist() == saturate(np.array(wanted), 8).tolist()


def test_average_counts_padding():
    got, cells, _ = pool(tensor((3, 3, 16)), (2, 2), (1, 1), (1, 1), (0, 0), AVERAGE, pad=5)
    assert np.array_equal(got, half_even_fast(cells.sum(axis=2), 2))


@pytest.mark.parametrize("encoding", [0x7FF80, 0xFFFFFF80])
def test_both_encodings_of_the_lowest_value(encoding):
    x = tensor((2, 2, 16))
    stream, out = pooling(x.shape, (3, 3), (1, 1), (1, 1), (1, 1), MAXIMUM, encoding)
    stream.set("PPU.PADDING_VALUE_2_CFG", PAD_VALUE_1=7 if encoding == 0xFFFFFF80 else 0)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(64, np.uint8)}
    run(stream, memory)
    assert np.array_equal(from_slots(memory[OUTPUT], *out, 16), np.broadcast_to(x.max(axis=(0, 1)), (2, 2, 16)))


def test_a_cut_out_keeps_the_strides_of_the_whole():
    whole = tensor((9, 9, 32))
    stream, out = pooling((8, 8, 32), (2, 2), (2, 2))
    stream.set("PPU_RDMA.RDMA_SRC_LINE_STRIDE", SRC_LINE_STRIDE=9)
    stream.set("PPU_RDMA.RDMA_SRC_SURF_STRIDE", SRC_SURF_STRIDE=81)
    memory = {FEATURES: to_slots(whole), OUTPUT: np.zeros(16 * 32, np.uint8)}
    run(stream, memory)
    wanted = whole[:8, :8].reshape(4, 2, 4, 2, 32).max(axis=(1, 3))
    assert np.array_equal(from_slots(memory[OUTPUT], *out, 32), wanted)


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("PPU_RDMA.RDMA_DATA_FORMAT", {"IN_PRECISION": 0}, "IN_PRECISION 0"),
        ("PPU.DATA_CUBE_IN_HEIGHT", {"CUBE_IN_HEIGHT": 8}, "fetches"),
        ("PPU.OPERATION_MODE_CFG", {"POOLING_METHOD": 3}, "does not exist"),
        ("PPU.OPERATION_MODE_CFG", {"USE_CNT": 1}, "USE_CNT"),
        ("PPU.OPERATION_MODE_CFG", {"FLYING_MODE": 0}, "behind the DPU"),
        ("PPU.POOLING_PADDING_CFG", {"PAD_TOP": 1}, "windows span"),
        ("PPU.DST_BASE_ADDR", {"DST_BASE_ADDR": 0}, "leaves the mapped buffers"),
        ("PPU_RDMA.RDMA_SRC_SURF_STRIDE", {"SRC_SURF_STRIDE": 5000}, "leaves the mapped buffers"),
        ("PPU.DATA_FORMAT", {"PROC_PRECISION": 2}, "only int8"),
    ],
)
def test_what_pooling_refuses(path, fields, text):
    stream, _ = pooling((8, 8, 32), (2, 2), (2, 2))
    stream.set(path, **fields)
    memory = {FEATURES: np.zeros(2048, np.uint8), OUTPUT: np.zeros(512, np.uint8)}
    with pytest.raises(SimulationError, match=text) as caught:
        run(stream, memory)
    assert caught.value.task == 0
    assert caught.value.unit in ("PPU", "PPU_RDMA")


def test_leftover_rows_starve_the_unit():
    stream, _ = pooling((8, 8, 32), (2, 2), (2, 2))
    for path, field in (
        ("PPU.DATA_CUBE_IN_HEIGHT", "CUBE_IN_HEIGHT"),
        ("PPU_RDMA.RDMA_CUBE_IN_HEIGHT", "CUBE_IN_HEIGHT"),
    ):
        stream.set(path, **{field: 8})
    memory = {FEATURES: np.zeros(4096, np.uint8), OUTPUT: np.zeros(512, np.uint8)}
    with pytest.raises(SimulationError, match="windows span 8 cells, input and padding make 9"):
        run(stream, memory)


def test_writing_to_read_only_memory_is_refused():
    stream, _ = pooling((8, 8, 32), (2, 2), (2, 2))
    output = np.zeros(512, np.uint8)
    output.flags.writeable = False
    with pytest.raises(SimulationError, match="write to read-only memory") as caught:
        run(stream, {FEATURES: np.zeros(2048, np.uint8), OUTPUT: output})
    assert (caught.value.unit, caught.value.register) == ("PPU", "DST_BASE_ADDR")


def test_reading_from_read_only_memory_is_no_fault():
    x = tensor((8, 8, 32))
    stream, out = pooling(x.shape, (2, 2), (2, 2))
    features, output = to_slots(x), np.zeros(512, np.uint8)
    features.flags.writeable = False
    run(stream, {FEATURES: features, OUTPUT: output})
    wanted = x.reshape(4, 2, 4, 2, 32).max(axis=(1, 3))
    assert np.array_equal(from_slots(output, *out, 32), wanted)


def test_a_pool_that_is_wrong_on_silicon_is_spoiled_in_every_byte():
    x = tensor((64, 128, 16))
    stream, _ = pooling(x.shape, (1, 1), (1, 1))
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(x.size, np.uint8)}
    _, report = run(stream, memory, strict=False)
    assert "more than 8191 output slots in one task" in report.defects[0]
    assert np.array_equal(memory[OUTPUT], memory[FEATURES] ^ 0x80)
