"""Look-up tables (spec 6.5, addendum 5)."""

import numpy as np
import pytest
from sim_model import from_slots, saturate, to_slots
from sim_streams import FEATURES, OUTPUT, flying, run

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import write

LE, LO = 0, 1
SHAPE = (4, 16, 32)


def upload(table, values, start=0):
    head = write("DPU.LUT_ACCESS_CFG", LUT_ACCESS_TYPE=1, LUT_TABLE_ID=table, LUT_ADDR=start)
    return [head, *(write("DPU.LUT_ACCESS_DATA", LUT_ACCESS_DATA=int(value)) for value in values)]


def stream(tables, spread=128, config=None, slopes=()):
    """x * spread looked up, then scaled back by 2**-8 and rounded."""
    s = flying(*SHAPE)
    s.first = [word for table, values in tables for word in upload(table, values)]
    s.fields["DPU.BN_CFG"] = {}
    s.set("DPU.BN_CFG", BN_ALU_BYPASS=1, BN_RELU_BYPASS=1).set("DPU.BN_MUL_CFG", BN_MUL_OPERAND=spread)
    s.fields["DPU.EW_CFG"] = {}
    s.set("DPU.EW_CFG", EW_RELU_BYPASS=1, EW_OP_CVT_BYPASS=1, EW_OP_BYPASS=1)
    priorities = config or {"LUT_HYBRID_PRIORITY": 1, "LUT_OFLOW_PRIORITY": 1, "LUT_LO_LE_MUX": 2}
    s.set("DPU.LUT_CFG", **priorities).set("DPU.LUT_INFO", LUT_LO_INDEX_SELECT=5, LUT_LE_INDEX_SELECT=5)
    s.set("DPU.LUT_LE_START", LUT_LE_START=-16384).set("DPU.LUT_LO_END", LUT_LO_END=16384)
    for path, fields in slopes:
        s.set(path, **fields)
    return s.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=8)


def all_bytes():
    return np.arange(-128, 128).astype(np.int8).repeat(8).reshape(SHAPE)


def answer(s):
    x = all_bytes()
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(x.size, np.uint8)}
    run(s, memory)
    return x.astype(np.int64), from_slots(memory[OUTPUT], *SHAPE).astype(np.int64)


def test_even_and_odd_table_share_the_axis():
    below, above = np.arange(513) * 7 - 20000, np.arange(513) * -11 + 15000
    x, got = answer(stream([(LE, below), (LO, above)]))
    argument = x * 128
    wanted = np.where(
        argument < 0, below[np.minimum(argument + 16384, 16384) // 32], above[np.maximum(argument, 0) // 32]
    )
    assert np.array_equal(got, saturate(np.rint(wanted / 256).astype(np.int64), 8))


def test_linear_interpolation_between_entries():
    table = np.random.default_rng(1).integers(-32768, 32768, 513)
    x, got = answer(stream([(LE, table), (LO, table)], spread=37))
    argument = x * 37
    inside = np.where(argument < 0, argument + 16384, argument)
    index, fraction = inside >> 5, inside & 31
    wanted = table[index] + ((table[index + 1] - table[index]) * fraction >> 5)
    assert np.array_equal(got, saturate(np.rint(wanted / 256).astype(np.int64), 8))


def test_slopes_continue_beyond_the_ends():
    slopes = [
        ("DPU.LUT_LE_SLOPE_SCALE", {"LUT_LE_SLOPE_UFLOW_SCALE": 3000}),
        ("DPU.LUT_LE_SLOPE_SHIFT", {"LUT_LE_SLOPE_UFLOW_SHIFT": 10}),
        ("DPU.LUT_LO_SLOPE_SCALE", {"LUT_LO_SLOPE_OFLOW_SCALE": -500}),
        ("DPU.LUT_LO_SLOPE_SHIFT", {"LUT_LO_SLOPE_OFLOW_SHIFT": 12}),
    ]
    table = np.arange(513) * 16
    x, got = answer(stream([(LE, table), (LO, table)], spread=200, slopes=slopes))
    argument = x * 200
    inside = np.clip(np.where(argument < 0, argument + 16384, argument), 0, 16384)
    wanted = table[inside >> 5] + (16 * (inside & 31) >> 5)
    wanted = np.where(argument < -16384, (argument + 16384) * 3000 >> 10, wanted)
    wanted = np.where(argument >= 16384, table[512] + ((argument - 16384) * -500 >> 12), wanted)
    assert np.array_equal(got, saturate(np.rint(wanted / 256).astype(np.int64), 8))


@pytest.mark.parametrize("priority", [LE, LO])
def test_where_both_tables_cover_the_priority_decides(priority):
    s = stream([(LE, np.full(513, 256 * 11)), (LO, np.full(513, 256 * 22))], config={"LUT_HYBRID_PRIORITY": priority})
    s.set("DPU.LUT_LE_START", LUT_LE_START=-8192).set("DPU.LUT_LE_END", LUT_LE_END=8192)
    s.set("DPU.LUT_LO_START", LUT_LO_START=-4096).set("DPU.LUT_LO_END", LUT_LO_END=4096)
    x, got = answer(s)
    both = (x * 128 >= -4096) & (x * 128 < 4096)
    assert set(got[both].tolist()) == {22 if priority else 11}
    assert set(got[(x * 128 >= -8192) & (x * 128 < -4096)].tolist()) == {11}


def test_tables_stay_until_they_are_rewritten():
    first = stream([(LE, np.full(513, 256 * 5)), (LO, np.full(513, 256 * 6))])
    memory = {FEATURES: to_slots(all_bytes()), OUTPUT: np.zeros(2048, np.uint8)}
    npu, _ = run(first, memory)
    again = stream([(LO, np.full(100, 256 * 7))])
    words = again.words()
    npu.memory.map(0x900000, words.view(np.uint8))
    npu.run_task(0x900000, words.size)
    got = from_slots(memory[OUTPUT], *SHAPE)
    x = all_bytes().astype(np.int64) * 128
    assert set(got[x < 0].tolist()) == {5}
    assert set(got[(x >= 0) & (x < 99 * 32)].tolist()) == {7}
    assert set(got[x >= 100 * 32].tolist()) == {6}


def test_data_behind_a_read_access_is_lost():
    s = stream([(LE, np.full(513, 256 * 5)), (LO, np.full(513, 256 * 6))])
    s.first += [write("DPU.LUT_ACCESS_CFG"), write("DPU.LUT_ACCESS_DATA", LUT_ACCESS_DATA=1)]
    _, got = answer(s)
    assert set(got.reshape(-1).tolist()) == {5, 6}


def test_entries_beyond_the_table_are_refused():
    s = stream([(LE, np.zeros(514))])
    with pytest.raises(SimulationError, match="LUT_ACCESS_DATA"):
        answer(s)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("DPU.LUT_CFG", {"LUT_EXPAND_EN": 1}),
        ("DPU.LUT_CFG", {"LUT_ROAD_SEL": 1}),
        ("DPU.LUT_LO_END", {"LUT_LO_END": 16385 + 31}),
        ("DPU.LUT_LE_END", {"LUT_LE_END": -16385}),
    ],
)
def test_what_is_not_described_is_refused(path, fields):
    s = stream([(LE, np.zeros(513)), (LO, np.zeros(513))])
    s.set(path, **fields)
    with pytest.raises(SimulationError, match=path.split(".")[1]):
        answer(s)
