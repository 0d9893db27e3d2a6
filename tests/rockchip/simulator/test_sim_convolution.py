"""Convolutions programmed by hand, against the layout-free model."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from sim_cases import SCALE, SIMPLE, accumulate, buffers, build, cases, tensors
from sim_model import (
    Window,
    convolve,
    from_slots,
    half_even_fast,
    pack_depthwise,
    pack_regular,
    requantise,
    saturate,
    to_slots,
)
from sim_streams import BIAS, COMMANDS, FEATURES, OPERAND, OUTPUT, WEIGHTS, convolution, records, run

from rocketnpu.rockchip.simulator import Memory, Npu
from rocketnpu.rockchip.simulator.units.core import CoreConfig, accumulator_bound


@given(cases())
@example(SIMPLE)
@example(SIMPLE | {"depthwise": True, "channels": 32, "kernels": 32, "stride": (2, 1), "out": (3, 5)})
@example(SIMPLE | {"depthwise": True, "channels": 32, "kernels": 32, "stride": (1, 2), "out": (6, 3)})
@settings(max_examples=150)
def test_any_geometry(case):
    x, weights, bias = tensors(case)
    stream, window = build(case)
    # Padding lanes must carry minus the operand, or they would add to the sums (spec 5.2).
    weights[..., case["channels"] :] = -case["operand"]
    memory = buffers(case, x, weights, bias)
    _, report = run(stream, memory)
    total = accumulate(case, x, weights, window) + bias
    got = from_slots(memory[OUTPUT], *case["out"], case["kernels"])
    assert np.array_equal(got, requantise(total, *SCALE, case["offset"]))
    assert report.defects == ()
    assert report.interrupts == 0b01_0101_0101


@pytest.mark.parametrize("channels", [20, 40, 96, 130])
def test_the_second_byte_pads_odd_channels_below_32(channels):
    """4,096 bytes of an RK3588 have 64 channels (outside 2.1); that it are the first 32 of all is assumed."""
    case = SIMPLE | {"depthwise": True, "channels": channels, "kernels": channels, "operand": 0}
    x, weights, bias = tensors(case)
    stream, window = build(case)
    stream.set("CNA.PAD_CON1", PAD_VALUE=0x0B80)
    memory = buffers(case, x, weights, bias)
    run(stream, memory)
    pads = [11 if channel % 2 and channel < 32 else -128 for channel in range(channels)]
    total = convolve(x, weights[..., :channels].astype(np.int64), window, pads, depthwise=True) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, channels), requantise(total, *SCALE, 11))


def test_regular_convolutions_pad_with_the_low_byte():
    case = SIMPLE | {"operand": 0, "pad": -128}
    x, weights, bias = tensors(case)
    stream, window = build(case)
    stream.set("CNA.PAD_CON1", PAD_VALUE=0x0B80)
    memory = buffers(case, x, weights, bias)
    run(stream, memory)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, 33), requantise(total, *SCALE, 11))


def test_channels_beyond_the_real_ones_hold_offset_pend():
    case = SIMPLE | {"kernels": 5}
    x, weights, bias = tensors(case)
    stream, _ = build(case)
    stream.set("DPU.OFFSET_PEND", OFFSET_PEND=-3)
    memory = buffers(case, x, weights, bias)
    run(stream, memory)
    whole = from_slots(memory[OUTPUT], 6, 5, 32)
    assert np.all(whole[..., 5:] == -3)


def test_surfaces_of_padding_that_leave_the_buffer_are_lost():
    case = SIMPLE | {"kernels": 5, "operand": 0}
    x, weights, bias = tensors(case)
    stream, window = build(case)
    memory = buffers(case, x, weights, bias) | {OUTPUT: np.full(16 * 30, 0x55, np.uint8)}
    run(stream, memory)
    got = from_slots(memory[OUTPUT], 6, 5, 16)
    assert np.all(got[..., 5:] == 0)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(got[..., :5], requantise(total, *SCALE, 11))


@pytest.mark.parametrize("truncate", [1, 5])
@pytest.mark.parametrize("away", [0, 1])
def test_truncation_comes_before_the_bias(truncate, away):
    case = SIMPLE | {"operand": 0}
    x, weights, bias = tensors(case)
    stream, window = build(case)
    stream.set("CORE.CLIP_TRUNCATE", CLIP_TRUNCATE=truncate, ROUND_TYPE=away)
    memory = buffers(case, x, weights, bias)
    run(stream, memory)
    sums = accumulate(case, x, weights, window)
    outward = np.sign(sums) * ((np.abs(sums) + (1 << (truncate - 1))) >> truncate)
    cut = outward if away else half_even_fast(sums, truncate)
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, 33), requantise(cut + bias, *SCALE, 11))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_per_channel_records(depthwise, relu):
    """Addendum 1.1 and 1.2: records of 64 bytes, OW from the stream, a rounding of its own at the multiplier."""
    case = SIMPLE | {"depthwise": depthwise, "kernels": 20 if depthwise else 33, "channels": 20, "operand": 0}
    x, weights, bias = tensors(case)
    weights[..., 20:] = 0
    rng = np.random.default_rng(5)
    ow, mul = rng.integers(-20, 21, case["kernels"]), rng.integers(60, 16385, case["kernels"])
    if not depthwise:
        weights[..., 20:] = -ow[:, None, None, None]
    stream, window = build(case)
    stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=14)
    stream.set("DPU.BS_CFG", BS_MUL_BYPASS=0).set("DPU.BS_MUL_CFG", BS_MUL_SHIFT_VALUE=14, BS_MUL_SRC=1)
    stream.set("DPU.BS_OW_CFG", OW_SRC=1).set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=7)
    if relu:
        stream.set("DPU.BN_CFG", BN_BYPASS=0, BN_RELU_BYPASS=0)
    memory = buffers(case, x, weights, bias) | {BIAS: records(bias, ow, mul)}
    run(stream, memory)
    net = weights[..., :20] + (ow if depthwise else ow[:, None, None, None])
    total = saturate(convolve(x, net, window, case["pad"], depthwise) + bias, 32)
    total = saturate(half_even_fast(total * mul, 14), 32)
    total = np.maximum(total, 0) if relu else total
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, case["kernels"]), requantise(total, *SCALE, 11))


def test_records_without_ow_are_48_bytes():
    case = SIMPLE | {"operand": 0, "kernels": 17}
    x, weights, bias = tensors(case)
    mul = np.arange(1000, 1017)
    whole = records(bias, np.zeros(17), mul).reshape(-1, 64)
    stream, window = build(case)
    stream.set("DPU.BS_CFG", BS_MUL_BYPASS=0).set("DPU.BS_MUL_CFG", BS_MUL_SHIFT_VALUE=3, BS_MUL_SRC=1)
    stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=5).set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=5)
    memory = buffers(case, x, weights, bias) | {BIAS: np.delete(whole, np.s_[32:48], axis=1).reshape(-1).copy()}
    run(stream, memory)
    total = (accumulate(case, x, weights, window) + bias) * mul
    cut = saturate(np.where(total < 0, half_even_fast(total, 5), half_even_fast(total, 3)), 32)
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, 17), requantise(cut, *SCALE, 11))


def depthwise_sum(x, weights, operand, bias, compiled):
    """One output pixel of a depthwise convolution of a whole map, in units."""
    height, width, channels = x.shape
    stream = convolution(height, width, channels, channels, Window(), (height, width), True, (1, 0))
    stream.set("DPU.BS_OW_OP", OW_OP=operand).set("DPU.DATA_FORMAT", OUT_PRECISION=1)
    stream.set("DPU.BS_OW_CFG", **{f"SIZE_E_{n}": 7 for n in range(3)}).set("DPU.SURFACE_ADD", SURF_ADD=8)
    memory = {FEATURES: to_slots(x), WEIGHTS: pack_depthwise(weights), BIAS: bias.astype("<i4").view(np.uint8)}
    memory[OUTPUT] = np.zeros(128, np.uint8)
    mapped = Memory()
    for address, content in (memory | {COMMANDS: stream.words().view(np.uint8)}).items():
        mapped.map(address, content)
    Npu(mapped, compiled=compiled).run_task(COMMANDS, stream.words().size)
    return memory[OUTPUT].view("<i2")[:channels]


@pytest.mark.parametrize("compiled", [False, True])
def test_depthwise_sums_too_large_for_float32(compiled):
    """23x23 taps of 255 times up to -128: beyond 2**24 float32 holds even numbers only."""
    x = np.full((23, 23, 16), -128, np.int8)
    x[0, 0] = np.arange(16) - 128
    weights = np.full((23, 23, 16), 127, np.int8)
    weights[0, 0] = -127  # with the operand 1: an odd number of units
    totals = convolve(x, weights.astype(np.int64) + 128, Window(), 0, depthwise=True)[0, 0]
    assert np.abs(totals).min() > 1 << 24
    assert set(np.diff(totals).tolist()) == {1}
    got = depthwise_sum(x, weights, 128, -totals[0] + np.zeros(16, np.int64), compiled)
    assert got.tolist() == list(range(16))


def test_sums_too_large_for_float32():
    """A window of 4608 taps at full scale: 2**24 is far exceeded, and every unit counts."""
    case = SIMPLE | {"height": 4, "width": 4, "channels": 512, "out": (4, 4), "operand": 128, "pad": 0, "offset": 0}
    rng = np.random.default_rng(3)
    x = rng.integers(100, 128, (4, 4, 512), dtype=np.int8)
    weights = rng.integers(100, 128, (33, 3, 3, 512), dtype=np.int8)
    bias = np.zeros(33, np.int32)
    stream, window = build(case)
    total = accumulate(case, x, weights, window)
    stream.set("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=1).set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=0)
    assert total.max() > 1 << 26
    # Subtract all but the last bits, so that the output shows single units.
    bias[:] = -np.rint(total.mean(axis=(0, 1)))
    for row in (0, 2):
        for column in (1, 3):
            bias[:] = -total[row, column] + np.arange(33)
            memory = buffers(case, x, weights, bias)
            run(stream, memory)
            assert from_slots(memory[OUTPUT], 4, 4, 33)[row, column].tolist() == list(range(33))


def test_one_line_a_group_reads_a_cut_out_of_a_wider_tensor():
    """GROUP_LINE_OFF with LINE_STRIDE = row pitch and SURF_STRIDE = plane - width (addendum 6.7)."""
    case = SIMPLE | {"height": 3, "width": 4, "out": (3, 4), "operand": 0}
    x, weights, bias = tensors(case)
    rng = np.random.default_rng(9)
    big = rng.integers(-128, 128, (8, 9, 20), dtype=np.int8)
    big[2:5, 3:7] = x
    stream, window = build(case)
    stream.set("CNA.CONV_CON1", GROUP_LINE_OFF=1)
    stream.set("CNA.DMA_CON1", LINE_STRIDE=9).set("CNA.DMA_CON2", SURF_STRIDE=72 - 4)
    stream.set("CNA.FEATURE_DATA_ADDR", FEATURE_BASE_ADDR=FEATURES + 16 * (2 * 9 + 3))
    memory = buffers(case, x, weights, bias) | {FEATURES: to_slots(big)}
    run(stream, memory)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 3, 4, 33), requantise(total, *SCALE, 11))


def test_groups_of_four_lines_with_a_gap_between_them():
    """LINE_STRIDE beyond four lines: the rule slot(s, y, x) of spec 3.3, element by element."""
    case = SIMPLE | {"height": 10, "width": 3, "out": (10, 3), "operand": 0}
    x, weights, bias = tensors(case)
    line, surface = 17, 60
    image = np.zeros(16 * (2 * (surface + 12) + 3 * line), np.uint8)
    for s in range(2):
        for y in range(10):
            for column in range(3):
                place = 16 * (s * (surface + 12) + y // 4 * line + y % 4 * 3 + column)
                lanes = x[y, column, 16 * s : 16 * s + 16]
                image[place : place + lanes.size] = lanes.view(np.uint8)
    stream, window = build(case)
    stream.set("CNA.DMA_CON1", LINE_STRIDE=line).set("CNA.DMA_CON2", SURF_STRIDE=surface)
    memory = buffers(case, x, weights, bias) | {FEATURES: image}
    run(stream, memory)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 10, 3, 33), requantise(total, *SCALE, 11))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_packed_input_and_its_converter(channels):
    """Unsigned pixels times 16384 >> 14, minus 128 (spec 3.4)."""
    rng = np.random.default_rng(channels)
    pixels = rng.integers(0, 256, (7, 20, channels), dtype=np.uint8)
    weights = np.zeros((8, 3, 3, 16), np.int8)
    weights[..., :channels] = rng.integers(-128, 128, (8, 3, 3, channels))
    bias = rng.integers(-500, 500, 8, dtype=np.int32)
    window = Window(stride=(2, 2), before=(1, 1), out=(4, 9))
    stream = convolution(7, 18, 16, 8, window, (3, 3), out_scale=SCALE)
    stream.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=7 + channels)
    stream.set("CNA.CBUF_CON1", DATA_ENTRIES=7 * 18)
    stream.set("CNA.DMA_CON1", LINE_STRIDE=20).set("CNA.DMA_CON2", SURF_STRIDE=120)
    stream.set("CNA.CVT_CON0", DATA_SIGN=0, CVT_TYPE=0, CVT_BYPASS=0, **{f"CVT_TRUNCATE_{n}": 14 for n in range(4)})
    for lane in range(4):
        stream.set(f"CNA.CVT_CON{lane + 1}", **{f"CVT_SCALE{lane}": 16384, f"CVT_OFFSET{lane}": -128})
    stream.set("CNA.CVT_CON5", PER_CHANNEL_CVT_EN=0xFFFF).set("CNA.PAD_CON1", PAD_VALUE=-128)
    memory = {FEATURES: pixels.reshape(-1), WEIGHTS: pack_regular(weights), BIAS: bias.view(np.uint8)}
    memory[OUTPUT] = np.zeros(32 * 36, np.uint8)
    run(stream, memory)
    signed = pixels[:, :18].astype(np.int64) - 128
    total = convolve(signed, weights[..., :channels].astype(np.int64), window, -128) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 4, 9, 8), requantise(total, *SCALE, 0))


def test_an_added_tensor_is_read_by_two_engines_in_turn():
    """COMB_USE 5: even surfaces through MRDMA, odd ones through ERDMA (spec 3.8)."""
    case = SIMPLE | {"kernels": 70, "operand": 0}
    x, weights, bias = tensors(case)
    other = np.random.default_rng(8).integers(-128, 128, (6, 5, 70), dtype=np.int8)
    stream, window = build(case)
    stream.fields["DPU.EW_CFG"] = {}
    stream.set("DPU.EW_CFG", EW_CVT_TYPE=1, EW_DATA_MODE=1, EDATA_SIZE=1, EW_ALU_ALGO=2, EW_LUT_BYPASS=1)
    stream.set("DPU.EW_CFG", EW_RELU_BYPASS=1, EW_OP_SRC=1)
    stream.set("DPU.EW_CVT_OFFSET_VALUE", EW_OP_CVT_OFFSET=9)
    stream.set("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=27374, EW_OP_CVT_SHIFT=6)
    stream.set("DPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=OPERAND)
    stream.set("DPU_RDMA.RDMA_EW_BASE_ADDR", EW_BASE_ADDR=OPERAND + 30 * 16)
    stream.fields["DPU_RDMA.RDMA_ERDMA_CFG"] = {}
    stream.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DATA_MODE=1, ERDMA_DATA_SIZE=1)
    stream.set("DPU_RDMA.RDMA_FEATURE_MODE_CFG", MRDMA_DISABLE=0, COMB_USE=5)
    stream.set("DPU_RDMA.RDMA_SURF_NOTCH", SURF_NOTCH_ADDR=30).set("DPU_RDMA.RDMA_EW_SURF_NOTCH", EW_SURF_NOTCH=30)
    stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=30)
    image = np.zeros(96 * 30, np.uint8)
    image[: 80 * 30] = to_slots(other)
    memory = buffers(case, x, weights, bias) | {OPERAND: image}
    run(stream, memory)
    operand = half_even_fast((other.astype(np.int64) + 9) * 27374, 6)
    total = accumulate(case, x, weights, window) + bias + operand
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, 70), requantise(total, *SCALE, 11))


def test_rows_split_over_two_tasks_share_weights():
    case = SIMPLE | {"height": 8, "out": (8, 5), "operand": 0}
    x, weights, bias = tensors(case)
    memory = buffers(case, x, weights, bias)
    upper, window = build(case | {"height": 5, "out": (4, 5)})
    lower, _ = build(case | {"height": 5, "out": (4, 5), "before": (0, 1)})
    for stream in (upper, lower):
        stream.set("CNA.DMA_CON2", SURF_STRIDE=40 - 20)
        stream.set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=40).set("DPU.SURFACE_ADD", SURF_ADD=80)
    lower.set("CNA.FEATURE_DATA_ADDR", FEATURE_BASE_ADDR=FEATURES + 16 * 3 * 5)
    lower.set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=OUTPUT + 16 * 4 * 5)
    lower.set("CNA.CBUF_CON0", WEIGHT_REUSE=1).set("CNA.DCOMP_ADDR0", DECOMPRESS_ADDR0=0xDEAD0000)
    npu, _ = run(upper, memory)
    words = lower.words()
    npu.memory.map(0x900000, words.view(np.uint8))
    npu.run_task(0x900000, words.size)
    window.out = (8, 5)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 8, 5, 33), requantise(total, *SCALE, 11))


def test_data_reuse_keeps_what_was_fetched():
    case = SIMPLE | {"operand": 0}
    x, weights, bias = tensors(case)
    memory = buffers(case, x, weights, bias)
    stream, window = build(case)
    npu, _ = run(stream, memory)
    memory[FEATURES][:] = 0
    stream.set("CNA.CBUF_CON0", DATA_REUSE=1)
    memory[OUTPUT][:] = 0
    words = stream.words()
    npu.memory.map(0x900000, words.view(np.uint8))
    npu.run_task(0x900000, words.size)
    total = accumulate(case, x, weights, window) + bias
    assert np.array_equal(from_slots(memory[OUTPUT], 6, 5, 33), requantise(total, *SCALE, 11))


@pytest.mark.parametrize("truncate", [0, 1, 2, 5])
@pytest.mark.parametrize("bound", [0, 1, 2, 3, 7, 8, 100])
def test_the_bound_behind_truncation_holds(truncate, bound):
    """Halves may be rounded away from zero."""
    core = CoreConfig(sums_features=True, truncate=truncate, half_away=True)
    reached = (bound + (1 << truncate >> 1)) >> truncate
    assert reached <= accumulator_bound(core, bound) <= reached + 1
