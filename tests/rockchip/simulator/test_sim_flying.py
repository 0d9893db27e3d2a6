"""Element-wise tasks without a convolution: enable 0x18 (addendum 3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_model import from_slots, half_even_fast, requantise, saturate, to_slots
from sim_streams import FEATURES, OPERAND, OUTPUT, flying, flying_pair, run

from rocketnpu.errors import SimulationError

SHAPE = (5, 7, 40)


def tensor(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def output(shape=SHAPE):
    return np.zeros(shape[0] * shape[1] * -(-shape[2] // 16) * 16, np.uint8)


def addition(zero_a, zero_b, scale, shift, multiplier, places, zero_out, **ew):
    """Addendum 3.1's registers."""
    s = flying_pair(*SHAPE, EW_ALU_ALGO=2, **ew)
    s.fields["DPU.BS_CFG"] = {}
    s.set("DPU.BS_CFG", BS_ALU_ALGO=2, BS_RELU_BYPASS=1).set("DPU.BS_ALU_CFG", BS_ALU_OPERAND=-zero_a)
    s.set("DPU.BS_MUL_CFG", BS_MUL_OPERAND=16384)
    s.set("DPU.EW_CVT_OFFSET_VALUE", EW_OP_CVT_OFFSET=-zero_b)
    s.set("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=scale, EW_OP_CVT_SHIFT=shift)
    s.set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=zero_out).set("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=multiplier)
    return s.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=places)


@given(
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(1 << 14, (1 << 15) - 1),
    st.integers(0, 12),
    st.integers(1 << 14, (1 << 15) - 1),
    st.integers(26, 31),
    st.integers(-128, 127),
)
@settings(max_examples=50)
def test_addition_of_differently_quantised_tensors(zero_a, zero_b, scale, shift, multiplier, places, zero_out):
    a, b = tensor(1), tensor(2)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(b), OUTPUT: output()}
    _, report = run(addition(zero_a, zero_b, scale, shift, multiplier, places, zero_out), memory)
    main = (a.astype(np.int64) - zero_a) * 16384
    other = half_even_fast((b.astype(np.int64) - zero_b) * scale, shift)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), requantise(main + other, multiplier, places, zero_out))
    assert report.interrupts == 0x100
    assert report.macs == 0


def test_fused_relu_cuts_before_the_conversion():
    a, b = tensor(1), tensor(2)
    stream = addition(3, -4, 20000, 1, 31695, 29, -100)
    stream.set("DPU.EW_CFG", EW_RELU_BYPASS=0)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(b), OUTPUT: output()}
    run(stream, memory)
    total = (a.astype(np.int64) - 3) * 16384 + half_even_fast((b.astype(np.int64) + 4) * 20000, 1)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), requantise(np.maximum(total, 0), 31695, 29, -100))


OPERATIONS = {
    0: np.maximum,
    1: np.minimum,
    2: np.add,
    4: np.subtract,
    5: lambda a, _: np.abs(a),
    6: lambda a, _: -a,
}


@pytest.mark.parametrize("algorithm", OPERATIONS)
def test_alu_operations(algorithm):
    a, b = tensor(1), tensor(2)
    stream = flying_pair(*SHAPE, EW_ALU_ALGO=algorithm)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(b), OUTPUT: output()}
    run(stream, memory)
    wanted = OPERATIONS[algorithm](a.astype(np.int64), b.astype(np.int64))
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), saturate(wanted, 8))


@pytest.mark.parametrize("truncate", [(0, 0), (3, 3), (2, 5)])
def test_multiplication_and_its_two_shifts(truncate):
    a, b = tensor(1), tensor(2)
    stream = flying_pair(*SHAPE, EW_OP_TYPE=1)
    stream.set("DPU.EW_CVT_SCALE_VALUE", EW_TRUNCATE=truncate[0])
    stream.set("DPU.DATA_FORMAT", EW_TRUNCATE_NEG=truncate[1])
    stream.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=6).set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=7)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(b), OUTPUT: output()}
    run(stream, memory)
    product = a.astype(np.int64) * b
    cut = np.where(product < 0, half_even_fast(product, truncate[1]), half_even_fast(product, truncate[0]))
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), requantise(cut, 1, 6, 7))


def test_products_of_32_bit_values_are_exact():
    a = tensor(1)
    stream = flying_pair(*SHAPE, EW_OP_TYPE=1)
    stream.set("DPU.EW_CFG", EW_OP_SRC=0, EW_OP_CVT_BYPASS=1)
    for index in range(8):
        stream.set(f"DPU.EW_OP_VALUE_{index}", **{f"EW_OPERAND_{index}": 0x7FFFFFFF})
    stream.set("DPU.BS_CFG", BS_BYPASS=0, BS_ALU_BYPASS=0, BS_ALU_ALGO=2).set(
        "DPU.BS_ALU_CFG", BS_ALU_OPERAND=0x70000001
    )
    stream.set("DPU.EW_CVT_SCALE_VALUE", EW_TRUNCATE=54)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(a), OUTPUT: output()}
    run(stream, memory)
    exact = [((int(v) + 0x70000001) * 0x7FFFFFFF + (1 << 53)) >> 54 for v in a.reshape(-1)]
    assert from_slots(memory[OUTPUT], *SHAPE).reshape(-1).tolist() == [min(v, 127) for v in exact]


def test_an_operand_for_each_channel():
    """ERDMA_DATA_MODE 0 with one slot a surface (manual; addendum 3.5), for multiplication alone (outside 2.4)."""
    a, b = tensor(1), tensor(2, (48,))
    stream = flying_pair(*SHAPE, EW_OP_TYPE=1)
    stream.set("DPU.EW_CFG", EW_DATA_MODE=0)
    stream.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DATA_MODE=0).set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=1)
    memory = {FEATURES: to_slots(a), OPERAND: b.view(np.uint8).copy(), OUTPUT: output()}
    run(stream, memory)
    wanted = saturate(a.astype(np.int64) * b[:40], 8)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), wanted)
    stream.set("DPU.EW_CFG", EW_OP_TYPE=0, EW_ALU_ALGO=2)
    with pytest.raises(SimulationError, match="only a multiplication takes an operand for each channel"):
        run(stream, memory)
    _, report = run(stream, memory, strict=False)
    assert "for each channel" in report.defects[0]


def test_a_crop_moves_by_notches():
    """Addendum 3.8: LINE_NOTCH and SURF_NOTCH on the way in, NOTCH_ADDR on the way out."""
    source, target = tensor(1, (9, 11, 32)), tensor(2, (8, 10, 32))
    stream = flying(4, 5, 32)
    stream.set("DPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=FEATURES + 16 * (2 * 11 + 3))
    stream.set("DPU_RDMA.RDMA_SRC_DMA_CFG", LINE_NOTCH_ADDR=11 - 5)
    stream.set("DPU_RDMA.RDMA_SURF_NOTCH", SURF_NOTCH_ADDR=99 - 4 * 11)
    stream.set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=OUTPUT + 16 * (3 * 10 + 1))
    stream.set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=80).set("DPU.SURFACE_ADD", SURF_ADD=80)
    stream.set("DPU.DATA_CUBE_NOTCH_ADDR", NOTCH_ADDR_0=5, NOTCH_ADDR_1=5)
    memory = {FEATURES: to_slots(source), OUTPUT: to_slots(target)}
    run(stream, memory)
    wanted = target.copy()
    wanted[3:7, 1:6] = source[2:6, 3:8]
    assert np.array_equal(from_slots(memory[OUTPUT], 8, 10, 32), wanted)


@pytest.mark.parametrize("factors", [(2, 2), (1, 3), (4, 1)])
def test_nearest_enlargement(factors):
    """MRDMA un-pooling; 2x2 is SRC_DMA_CFG 0x1249 (recorded on RK3568; addendum 6.5)."""
    down, across = factors
    source = tensor(1, (3, 4, 32))
    stream = flying(3 * down, 4 * across, 32)
    stream.set("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", WIDTH=3).set("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", HEIGHT=2)
    fields = {"KERNEL_HEIGHT": down - 1, "KERNEL_WIDTH": across - 1}
    fields |= {"KERNEL_STRIDE_HEIGHT": down - 1, "KERNEL_STRIDE_WIDTH": across - 1}
    stream.set("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=1, **fields)
    memory = {FEATURES: to_slots(source), OUTPUT: output((3 * down, 4 * across, 32))}
    run(stream, memory)
    wanted = source.repeat(down, axis=0).repeat(across, axis=1)
    assert np.array_equal(from_slots(memory[OUTPUT], 3 * down, 4 * across, 32), wanted)


def test_the_recorded_word_for_doubling():
    from rocketnpu.rockchip.registers.command import write

    fields = {"KERNEL_HEIGHT": 1, "KERNEL_WIDTH": 1, "KERNEL_STRIDE_HEIGHT": 1, "KERNEL_STRIDE_WIDTH": 1}
    word = write("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=1, **fields)
    assert word >> 16 & 0xFFFFFFFF == 0x1249


def test_parametric_relu_leaves_positive_values():
    a = tensor(1)
    stream = flying(*SHAPE)
    stream.fields["DPU.BS_CFG"] = {}
    stream.set("DPU.BS_CFG", BS_ALU_BYPASS=1, BS_MUL_PRELU=1, BS_RELU_BYPASS=1)
    stream.set("DPU.BS_MUL_CFG", BS_MUL_OPERAND=1639, BS_MUL_SHIFT_VALUE=14)
    stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=14)
    memory = {FEATURES: to_slots(a), OUTPUT: output()}
    run(stream, memory)
    wide = a.astype(np.int64)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), np.where(wide < 0, half_even_fast(wide * 1639, 14), wide))


def test_relux_has_a_ceiling():
    a = tensor(1)
    stream = flying(*SHAPE)
    stream.fields["DPU.BN_CFG"] = {}
    stream.set("DPU.BN_CFG", BN_ALU_BYPASS=1, BN_MUL_BYPASS=1, BN_RELUX_EN=1).set(
        "DPU.BN_RELUX_CMP_VALUE", BN_RELUX_CMP_DAT=50
    )
    memory = {FEATURES: to_slots(a), OUTPUT: output()}
    run(stream, memory)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), np.clip(a, 0, 50))


@pytest.mark.parametrize("offset_first", [0, 1])
@pytest.mark.parametrize("away", [0, 1])
def test_output_converter_order_and_ties(offset_first, away):
    a = tensor(1)
    stream = flying(*SHAPE)
    stream.set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=3).set("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=1)
    stream.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=1, CVT_TYPE=offset_first, CVT_ROUND=away)
    memory = {FEATURES: to_slots(a), OUTPUT: output()}
    run(stream, memory)
    value = a.astype(np.int64) + 3 * offset_first
    cut = np.sign(value) * ((np.abs(value) + 1) >> 1) if away else half_even_fast(value, 1)
    assert np.array_equal(from_slots(memory[OUTPUT], *SHAPE), saturate(cut + 3 * (1 - offset_first), 8))


def test_a_flying_task_may_work_in_place():
    a, b = tensor(1), tensor(2)
    stream = flying_pair(*SHAPE, EW_ALU_ALGO=2)
    stream.set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=FEATURES)
    memory = {FEATURES: to_slots(a), OPERAND: to_slots(b)}
    run(stream, memory)
    assert np.array_equal(from_slots(memory[FEATURES], *SHAPE), saturate(a.astype(np.int64) + b, 8))


@pytest.mark.parametrize("stride", [34, 36])
def test_the_operand_stride_must_agree_with_the_notches(stride):
    stream = flying_pair(*SHAPE, EW_ALU_ALGO=2)
    stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=stride)
    memory = {FEATURES: to_slots(tensor(1)), OPERAND: to_slots(tensor(2)), OUTPUT: output()}
    with pytest.raises(SimulationError, match="RDMA_EW_SURF_STRIDE"):
        run(stream, memory)
