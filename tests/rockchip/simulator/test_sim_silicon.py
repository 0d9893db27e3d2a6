"""Recordings and programs of real chips, made by others (see the READMEs beside them)."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sim_model import Window, from_slots, pack_regular, to_slots
from sim_recordings import shared_folder
from sim_streams import BIAS, FEATURES, OUTPUT, WEIGHTS, convolution, pooling, records, run

from rocketnpu.rockchip.registers.command import pack, write
from rocketnpu.rockchip.simulator import Memory, Npu
from rocketnpu.rockchip.streams.recording import load
from rocketnpu.rockchip.streams.replay_silicon import compare_silicon

SILICON = Path(__file__).resolve().parents[2] / "data" / "silicon"


def test_requantisation_of_an_rv1103():
    """960 recorded bytes with 194 ties at the channel multiplier, through BS and output converter."""
    cases = json.loads((SILICON / "rv1103-conv1x1-requant" / "vectors.json").read_text())["cases"]
    compared = 0
    for case in cases:
        weights = np.zeros((3, 1, 1, 16), np.int8)
        weights[:, 0, 0, :3] = case["weights_q"]
        ow = np.array(case["ow_i16"])
        # Lanes without a channel carry minus the operand, so that their net weight is 0.
        weights[:, 0, 0, 3:] = -ow[:, None]
        x = (np.array(case["input_u8"]).reshape(8, 8, 3) - 128).astype(np.int8)
        stream = convolution(8, 8, 3, 3, Window(out=(8, 8)), out_scale=(case["out_scale"], case["out_shift"]))
        stream.set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=case["zp_out"])
        stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=14)
        stream.set("DPU.BS_CFG", BS_MUL_BYPASS=0).set("DPU.BS_MUL_CFG", BS_MUL_SHIFT_VALUE=14, BS_MUL_SRC=1)
        stream.set("DPU.BS_OW_CFG", OW_SRC=1).set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=7)
        memory = {FEATURES: to_slots(x), WEIGHTS: pack_regular(weights), OUTPUT: np.zeros(2048, np.uint8)}
        memory[BIAS] = records(case["bias_i32"], ow, case["mul_u16"])
        run(stream, memory)
        got = memory[OUTPUT][:1024].view(np.int8).reshape(64, 16)[:, :3]
        assert np.array_equal(got, np.array(case["recorded_output_i8"])), case["name"]
        compared += got.size
    assert compared == 960


def recorded_input(kind, shape):
    """The input generators of the recordings, as their README words them."""
    count = int(np.prod(shape))
    if kind == "constant":
        values = [128] * count
    elif kind == "ramp":
        values = [number % 256 for number in range(count)]
    else:
        state, values = (1103 + (int(kind.removeprefix("random")) + 4) * 0x9E3779B9) % 2**32, []
        for _ in range(count):
            state = (1664525 * state + 1013904223) % 2**32
            values.append(state >> 24)
    return (np.array(values).reshape(shape) - 128).astype(np.int8)


def recorded_convolution(layer, case):
    """One layer of the recordings of an RV1103, in the RK3588's encoding; returns its output's slots."""
    kernel, shape = layer["kernel"], (layer["height"], layer["width"], 3)
    before = layer.get("pad", 0)
    weights = np.zeros((3, kernel, kernel, 16), np.int8)
    weights[..., :3] = np.array(layer["w"]).reshape(3, 3, kernel, kernel).transpose(0, 2, 3, 1)
    zeros = np.array(layer["wzp"])
    weights[..., 3:] = zeros[:, None, None, None]
    x = recorded_input(case["input"], shape)
    window = Window(before=(before, before), out=shape[:2])
    stream = convolution(*shape[:2], 3, 3, window, (kernel, kernel), out_scale=(layer["mul"], layer["shift"]))
    stream.set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=layer["ozp"])
    stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=14)
    stream.set("DPU.BS_CFG", BS_MUL_BYPASS=0).set("DPU.BS_MUL_CFG", BS_MUL_SHIFT_VALUE=14, BS_MUL_SRC=1)
    stream.set("DPU.BS_OW_CFG", OW_SRC=1).set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=7)
    stream.set("CNA.PAD_CON1", PAD_VALUE=(layer.get("pad_value", 0) & 0xFF) * 0x0101)
    memory = {FEATURES: to_slots(x), WEIGHTS: pack_regular(weights), OUTPUT: np.zeros(2048, np.uint8)}
    memory[BIAS] = records(layer["b"], -zeros, layer["cm"])
    run(stream, memory)
    return memory[OUTPUT]


def vectors(name):
    document = json.loads((SILICON / "rv1103-conv3x3-poolavg" / "vectors.json").read_text())
    return document[name]


def test_a_3x3_convolution_with_weight_zero_points_of_an_rv1103():
    layer, compared = vectors("conv3x3_7x6"), 0
    for case in layer["cases"]:
        wanted = np.frombuffer(bytes.fromhex(case["output_hex"]), np.int8).reshape(7, 6, 16)[..., :3]
        got = from_slots(recorded_convolution(layer, case), 7, 6, 3)
        assert np.array_equal(got, wanted), case["input"]
        compared += wanted.size
    assert compared == 378


def test_average_pooling_of_an_rv1103():
    """336 bytes; half-up would miss 35 of them, half-away 42: averages round half to even there."""
    layer, compared, up, away = vectors("conv1x1_8x8_then_average_pool_2x2"), 0, 0, 0
    for case in layer["cases"]:
        source = recorded_convolution(layer, case)[:1024].copy()
        stream, shape = pooling((8, 8, 16), (2, 2), (2, 2), method=0)
        memory = {FEATURES: source, OUTPUT: np.zeros(256, np.uint8)}
        run(stream, memory)
        wanted = np.frombuffer(bytes.fromhex(case["output_hex"]), np.int8).reshape(4, 4, 16)[..., :3]
        assert shape == (4, 4)
        assert np.array_equal(from_slots(memory[OUTPUT], 4, 4, 3), wanted), case["input"]
        compared += wanted.size
        sums = from_slots(source, 8, 8, 3).astype(np.int64).reshape(4, 2, 4, 2, 3).sum((1, 3))
        up += int(np.sum((sums + 2) // 4 != wanted))
        away += int(np.sum(np.sign(sums) * ((np.abs(sums) + 2) // 4) != wanted))
    assert (compared, up, away) == (336, 35, 42)


@pytest.mark.parametrize("count", range(1, 127))
def test_ones_with_a_record_of_128_witness_three_rules_together(count):
    """Mainline RK3588: exact up to 64, one high from 65 to 126 (outside 2.6).

    Inputs and weights are 1, the record's constant is 128, the factor 1/128: the constant is added to every weight, so
    that the sum is 129 a channel, and 64.5 is rounded to 64. Record layout, that addition and half to even are in it.
    """
    x = np.zeros((1, 1, 128), np.int8)
    x[..., :count] = 1
    weights = np.ones((32, 1, 1, 128), np.int8)
    stream = convolution(1, 1, 128, 32, Window(out=(1, 1)), out_scale=(1, 7))
    stream.set("DPU.BS_CFG", BS_MUL_BYPASS=0).set("DPU.BS_MUL_CFG", BS_MUL_SHIFT_VALUE=14, BS_MUL_SRC=1)
    stream.set("DPU.DATA_FORMAT", BS_MUL_SHIFT_VALUE_NEG=14)
    stream.set("DPU.BS_OW_CFG", OW_SRC=1).set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=7)
    assert stream.words().tolist().count(write("DPU.BS_OW_CFG", SIZE_E_0=1, SIZE_E_1=1, SIZE_E_2=1, OW_SRC=1)) == 1
    memory = {FEATURES: to_slots(x), WEIGHTS: pack_regular(weights), OUTPUT: np.zeros(32, np.uint8)}
    memory[BIAS] = records(np.zeros(32), np.full(32, 128), np.full(32, 1 << 14))
    run(stream, memory)
    assert memory[OUTPUT].tolist() == [count if count <= 64 else count + 1] * 32


@pytest.mark.parametrize("n", [32, 96])
def test_int16_output_in_one_line(n):
    """ORK's registers (outside 2.2): OUT_PRECISION 1, NOTCH n / 8 - 1, BS_OW_CFG 0x36e, SURFACE_ADD 0x40."""
    rng = np.random.default_rng(n)
    a, b = rng.integers(-128, 128, (4, 64), dtype=np.int8), rng.integers(-128, 128, (n, 64), dtype=np.int8)
    stream = convolution(4, 1, 64, n, Window(out=(4, 1)))
    stream.set("DPU.DATA_FORMAT", OUT_PRECISION=1).set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=1)
    stream.set("DPU.DATA_CUBE_NOTCH_ADDR", NOTCH_ADDR_0=n // 8 - 1, NOTCH_ADDR_1=n // 8 - 1)
    stream.set("DPU.BS_OW_CFG", SIZE_E_0=3, SIZE_E_1=3, SIZE_E_2=3, OD_BYPASS=1).set("DPU.SURFACE_ADD", SURF_ADD=4)
    assert write("DPU.BS_OW_CFG", **stream.fields["DPU.BS_OW_CFG"]) >> 16 & 0xFFFFFFFF == 0x36E
    memory = {FEATURES: to_slots(a.reshape(4, 1, 64)), WEIGHTS: pack_regular(b.reshape(n, 1, 1, 64))}
    memory |= {BIAS: np.zeros(4 * n, np.uint8), OUTPUT: np.zeros(8 * n, np.uint8)}
    run(stream, memory)
    exact = a.astype(np.int64) @ b.astype(np.int64).T
    assert np.array_equal(memory[OUTPUT].view("<i2").reshape(4, n), np.clip(exact, -32768, 32767))
    assert np.abs(exact).max() > 32767


@pytest.mark.parametrize("shape", [(1, 512, 32), (7, 1024, 96)])
def test_row_major_bytes(shape):
    """ORK's matrix product to row-major int8: NOTCH n / 16 - 1, BS_OW_CFG 0x124, SURFACE_ADD 0x20 (outside 3)."""
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = rng.integers(-128, 128, (m, k), dtype=np.int8), rng.integers(-128, 128, (n, k), dtype=np.int8)
    stream = convolution(m, 1, k, n, Window(out=(m, 1)), out_scale=(1, 13))
    stream.set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=1).set("DPU.SURFACE_ADD", SURF_ADD=2)
    stream.set("DPU.DATA_CUBE_NOTCH_ADDR", NOTCH_ADDR_0=n // 16 - 1, NOTCH_ADDR_1=n // 16 - 1)
    assert write("DPU.BS_OW_CFG", **stream.fields["DPU.BS_OW_CFG"]) >> 16 & 0xFFFFFFFF == 0x124
    memory = {FEATURES: to_slots(a.reshape(m, 1, k)), WEIGHTS: pack_regular(b.reshape(n, 1, 1, k))}
    memory |= {BIAS: np.zeros(4 * n, np.uint8), OUTPUT: np.zeros(m * n, np.uint8)}
    run(stream, memory)
    exact = np.clip(np.rint(a.astype(np.int64) @ b.astype(np.int64).T / 8192), -128, 127)
    assert np.array_equal(memory[OUTPUT].view(np.int8).reshape(m, n), exact)


def test_a_depthwise_convolution_of_an_rk3588():
    """4,096 recorded bytes; its licence keeps the recording out of this project."""
    shared = shared_folder()
    if shared is None:
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    recording = load(shared / "golden" / "silicon" / "rk3588-dwconv3x3-i8" / "recording.zip")
    outcome = compare_silicon(recording)
    assert (outcome.compared, outcome.different, outcome.first, outcome.about) == (4096, 0, None, "")
    wrong = replace(recording.silicon, data=recording.silicon.data[:-1] + b"\x00")
    outcome = compare_silicon(replace(recording, silicon=wrong))
    assert (outcome.compared, outcome.different, outcome.first) == (4096, 1, 4095)


def matmul(size=None):
    """The recorded 112 words, patched to another size after the table of addendum 6.1."""
    program = json.loads((SILICON / "rk3588-int8-matmul-regcmd" / "program.json").read_text())
    words = [int(text, 16) for text in program["words_hex"]]
    places = {int(key, 16): item["addr"] for key, item in program["buffers"].items()}
    if size is None:
        return words, places, tuple(program["shape"][axis] for axis in "MKN")
    m, k, n = size
    bank = max(1, -(-m * -(-k // 64) // 512))
    patches = {
        0x1024: (k - 1) << 16 | k, 0x1030: k * n, 0x1034: k, 0x1038: 0x01010000 | n, 0x1044: -(-k // 64),
        0x107C: k // 16,
        0x1084: 0x10000 | m, 0x1020: 0x10000 | m, 0x1088: k, 0x102C: m, 0x3014: (m - 1) << 16, 0x405C: (m - 1) << 16,
        0x4034: m - 1, 0x3018: n - 1, 0x4058: n - 1, 0x403C: (n - 1) << 16 | (n - 1),
        0x4038: (n // 4 - 1) << 16 | (n // 4 - 1), 0x1010: 16 * (m + 1), 0x1040: (12 - bank) << 4 | bank,
    }  # fmt: skip
    words = [pack(word >> 48, word & 0xFFFF, patches.get(word & 0xFFFF, word >> 16)) for word in words]
    return words, places, size


@pytest.mark.parametrize("size", [None, (1, 256, 32), (1, 5632, 64), (16, 512, 96), (64, 1024, 32), (128, 2048, 64)])
def test_matmul_with_int32_output(size):
    """Exact on RK3588 for any data (RockNPU); K = 5632 exceeds what float32 sums hold."""
    words, places, (m, k, n) = matmul(size)
    rng = np.random.default_rng(m * k * n)
    a = rng.integers(-128, 128, (m, k), dtype=np.int8)
    b = rng.integers(-128, 128, (n, k), dtype=np.int8)
    a[:, : k // 2] = np.abs(a[:, : k // 2] | 64)
    b[:, : k // 2] = np.abs(b[:, : k // 2] | 64)
    output = np.zeros(m * n * 4, np.uint8)
    memory = Memory()
    # Buffers of larger sizes would overlap where the recording has them.
    moved = {0x1070: 0x10000000, 0x1110: 0x20000000, 0x4020: 0x30000000}
    words = [pack(w >> 48, w & 0xFFFF, moved.get(w & 0xFFFF, w >> 16)) for w in words] if size else words
    places = moved if size else places
    memory.map(places[0x1070], a.reshape(-1).view(np.uint8).copy())
    memory.map(places[0x1110], pack_regular(b.reshape(n, 1, 1, k)))
    memory.map(places[0x4020], output)
    commands = np.array(words, "<u8")
    memory.map(0x1000, commands.view(np.uint8))
    report = Npu(memory).run_task(0x1000, commands.size)
    assert np.array_equal(output.view("<i4").reshape(m, n), a.astype(np.int64) @ b.astype(np.int64).T)
    assert report.units == ("CNA", "CORE", "DPU")
    assert report.macs == m * k * n
