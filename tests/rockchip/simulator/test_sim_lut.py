"""Look-up tables (spec 6.5, addendum 5)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_model import from_slots, saturate, to_slots
from sim_streams import FEATURES, OUTPUT, flying, run
from sim_units import said, unit

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import write
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.pc import LutLoad
from rocketnpu.rockchip.simulator.units.dpu_config import read_dpu
from rocketnpu.rockchip.simulator.units.lut import LutConfig, LutMemory, Range, lookup

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


def reference(value, ranges, priorities, tables):
    """One value, by its definition: which table answers, between two of its entries or beyond its ends."""
    hybrid, underflow, overflow = priorities
    hits = [item.start <= value < item.end for item in ranges]
    if all(value < item.start for item in ranges):
        number = underflow
    elif all(value >= item.end for item in ranges):
        number = overflow
    else:
        number = hits.index(True) if sum(hits) == 1 else hybrid
    item, table = ranges[number], [int(entry) for entry in tables[number]]
    inside = min(max(value, item.start), item.end) - item.start
    index, fraction = divmod(inside, 1 << item.select)
    found = table[index] + ((table[min(index + 1, 512)] - table[index]) * fraction >> item.select)
    if value < item.start:
        found += (value - item.start) * item.underflow[0] >> item.underflow[1]
    if value > item.end:
        found += (value - item.end) * item.overflow[0] >> item.overflow[1]
    return found


@st.composite
def configs(draw):
    def one():
        select = draw(st.integers(0, 8))
        start = draw(st.integers(-3000, 3000))
        slope = st.tuples(st.integers(-300, 300), st.integers(0, 9))
        return Range(start, start + draw(st.integers(0, 512 << select)), select, draw(slope), draw(slope))

    return LutConfig((one(), one()), *(draw(st.integers(0, 1)) for _ in range(3)))


@given(configs())
@settings(max_examples=60)
def test_any_two_ranges(config):
    """They may overlap, leave a gap, or be empty."""
    tables = np.random.default_rng(1).integers(-32768, 32768, (2, 513)).astype(np.int64)
    ends = {edge + step for item in config.ranges for edge in (item.start, item.end) for step in (-1, 0, 1)}
    values = [*sorted(ends), *range(-9000, 9000, 487), 1 << 31, -(1 << 31)]
    block = np.array([values], np.float64)
    lookup(block, config, tables)
    priorities = config.hybrid, config.underflow, config.overflow
    assert block[0].astype(int).tolist() == [reference(value, config.ranges, priorities, tables) for value in values]


@pytest.mark.parametrize("select", [62, 63, 255])
def test_entries_may_lie_further_apart_than_any_value(select):
    """A shift beyond 62 bits leaves the first entry alone."""
    item = Range(-(1 << 31), (1 << 31) - 1, select, (0, 0), (0, 0))
    block = np.array([[-(1 << 31), -5, 0, 77, (1 << 31) - 1]], np.float64)
    lookup(block, LutConfig((item, item), 0, 0, 0), np.arange(1026).reshape(2, 513) + 9)
    assert block[0].tolist() == [9] * 5


def loads(*items):
    return tuple(LutLoad(access, np.array(data, np.int16)) for access, data in items)


def test_uploads_go_on_where_the_last_one_ended():
    """Table and address are set by LUT_ACCESS_CFG; what is written while the port is set to reading is lost."""
    write_le, write_lo = 1 << 17, 1 << 17 | 1 << 16
    memory = LutMemory()
    memory.load(loads((None, [9, 9]), (write_le | 3, [1, 2]), (None, [3]), (write_lo | 511, [4, 5])), Checks(True))
    memory.load(loads((0, [6]), (1 << 16, [7]), (write_le, [8]), (write_le | 512, [10])), Checks(True))
    wanted = np.zeros((2, 513), int)
    wanted[LE, [3, 4, 5, 0, 512]] = 1, 2, 3, 8, 10
    wanted[LO, [511, 512]] = 4, 5
    assert np.array_equal(memory.tables, wanted)
    memory.load(loads((write_le | 5, []), (None, [11])), Checks(True))
    assert memory.tables[LE, 5] == 11


@pytest.mark.parametrize(("start", "count", "text"), [(0, 514, "0..513"), (512, 2, "512..513"), (513, 1, "513..513")])
def test_uploads_end_with_the_table(start, count, text):
    with pytest.raises(SimulationError, match=rf"entries {text} of a table of 513"):
        LutMemory().load(loads((1 << 17 | start, [1] * count)), Checks(False))


@pytest.mark.parametrize("name", ["LE", "LO"])
@pytest.mark.parametrize(
    ("start", "end", "select", "fits"),
    [
        (0, 512, 0, True),
        (0, 513, 0, False),
        (-7, 512 * 32 + 31 - 7, 5, True),
        (-7, 513 * 32 - 7, 5, False),
        (5, 5, 0, True),
        (5, 4, 0, False),
        (-(1 << 31), (1 << 31) - 1, 23, True),
        (-(1 << 31), (1 << 31) - 1, 22, False),
        (-(1 << 31), (1 << 31) - 1, 255, True),
    ],
)
def test_a_range_has_513_entries_at_most(name, start, end, select, fits):
    s = flying(*SHAPE).set("DPU.EW_CFG", EW_BYPASS=0, EW_LUT_BYPASS=0)
    s.set(f"DPU.LUT_{name}_START", **{f"LUT_{name}_START": start}).set(
        f"DPU.LUT_{name}_END", **{f"LUT_{name}_END": end}
    )
    s.set("DPU.LUT_INFO", **{f"LUT_{name}_INDEX_SELECT": select})
    found = said(lambda checks: read_dpu(unit(s, "DPU"), checks))
    assert (found is None) if fits else (f"DPU.LUT_{name}_END: {start}..{end} does not fit 513 entries" in found)


def test_registers_of_a_lookup():
    s = flying(*SHAPE).set("DPU.EW_CFG", EW_BYPASS=0, EW_LUT_BYPASS=0)
    s.set("DPU.LUT_CFG", LUT_HYBRID_PRIORITY=1, LUT_OFLOW_PRIORITY=0, LUT_UFLOW_PRIORITY=1)
    s.set("DPU.LUT_INFO", LUT_LE_INDEX_SELECT=3, LUT_LO_INDEX_SELECT=4)
    for name, base in (("LE", 10), ("LO", 60)):
        s.set(f"DPU.LUT_{name}_START", **{f"LUT_{name}_START": base})
        s.set(f"DPU.LUT_{name}_END", **{f"LUT_{name}_END": base + 1})
        slope = {f"LUT_{name}_SLOPE_UFLOW_SCALE": base + 2, f"LUT_{name}_SLOPE_OFLOW_SCALE": base + 3}
        s.set(f"DPU.LUT_{name}_SLOPE_SCALE", **slope)
        shift = {f"LUT_{name}_SLOPE_UFLOW_SHIFT": base % 32 + 1, f"LUT_{name}_SLOPE_OFLOW_SHIFT": base % 32 + 2}
        s.set(f"DPU.LUT_{name}_SLOPE_SHIFT", **shift)
    found = read_dpu(unit(s, "DPU"), Checks(True)).ew.lut
    ranges = Range(10, 11, 3, (12, 11), (13, 12)), Range(60, 61, 4, (62, 29), (63, 30))
    assert found == LutConfig(ranges, hybrid=1, underflow=1, overflow=0)


@pytest.mark.parametrize("name", ["LUT_ROAD_SEL", "LUT_EXPAND_EN", "LUT_CAL_SEL"])
def test_modes_of_a_lookup_that_nobody_has_described(name):
    s = flying(*SHAPE).set("DPU.EW_CFG", EW_BYPASS=0, EW_LUT_BYPASS=0).set("DPU.LUT_CFG", **{name: 1})
    assert f"{name} is set: not modelled" in said(lambda checks: read_dpu(unit(s, "DPU"), checks))


def test_an_answer_saturates_before_it_is_scaled():
    """Beyond the table a slope of 32767 leads out of 32 bits: 64 behind a shift by 25, and as far below."""
    tables = [(LE, np.zeros(513)), (LO, np.zeros(513))]
    slopes = [
        ("DPU.LUT_LE_SLOPE_SCALE", {"LUT_LE_SLOPE_UFLOW_SCALE": 32767}),
        ("DPU.LUT_LO_SLOPE_SCALE", {"LUT_LO_SLOPE_OFLOW_SCALE": 32767}),
    ]
    s = stream(tables, spread=32767, slopes=slopes).set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=25)
    x, got = answer(s)
    assert set(got[x > 100].tolist()) == {64}
    assert set(got[x < -100].tolist()) == {-64}
