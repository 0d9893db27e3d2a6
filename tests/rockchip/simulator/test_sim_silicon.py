"""Recordings and programs of real chips, made by others (see the READMEs beside them)."""

import json
from pathlib import Path

import numpy as np
import pytest
from sim_model import Window, pack_regular, to_slots
from sim_streams import BIAS, FEATURES, OUTPUT, WEIGHTS, convolution, records, run

from rocketnpu.rockchip.registers.command import pack
from rocketnpu.rockchip.simulator import Memory, Npu

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
