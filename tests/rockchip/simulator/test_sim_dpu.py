"""DPU: what it must be given, how its cube agrees with its reader's, and where results go."""

import numpy as np
import pytest
from sim_model import Window, from_slots, half_even, saturate, to_slots
from sim_streams import BIAS, FEATURES, OPERAND, OUTPUT, WEIGHTS, convolution, flying, flying_pair, run
from sim_units import said, unit

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.units.dpu import check_cubes
from rocketnpu.rockchip.simulator.units.dpu_config import read_dpu
from rocketnpu.rockchip.simulator.units.rdma import read_rdma
from rocketnpu.rockchip.soc import RK3588


def cubes(stream, reader=True):
    """What is said of the DPU's registers beside DPU_RDMA's."""
    dpu = read_dpu(unit(stream, "DPU"), Checks(strict=True))
    rdma = read_rdma(unit(stream, "DPU_RDMA"), Checks(strict=True)) if reader else None
    return said(lambda checks: check_cubes(dpu, rdma, RK3588, checks))


def dense(kernels=64, depthwise=False):
    channels = kernels if depthwise else 32
    return convolution(8, 8, channels, kernels, Window(before=(1, 1), out=(8, 8)), (3, 3), depthwise=depthwise)


def judge(found, text):
    assert (found is None) if text is None else (found is not None and text in found), found


@pytest.mark.parametrize("stream", [dense(), dense(depthwise=True), flying(4, 4, 32)])
def test_the_plain_tasks_are_taken(stream):
    assert cubes(stream) is None


@pytest.mark.parametrize(
    ("path", "fields", "size"),
    [
        ("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", {"WIDTH": 6}, "7x8x64"),
        ("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", {"HEIGHT": 8}, "8x9x64"),
        ("DPU_RDMA.RDMA_DATA_CUBE_CHANNEL", {"CHANNEL": 31}, "8x8x32"),
    ],
)
def test_reader_and_dpu_have_one_cube(path, fields, size):
    assert f"a cube of {size} for the DPU's 8x8x64" in cubes(dense().set(path, **fields))


@pytest.mark.parametrize(("down", "across"), [(2, 1), (1, 2), (2, 2)])
def test_an_enlarged_cube_counts_enlarged(down, across):
    stream = flying(4 * down, 4 * across, 32)
    fields = {"KERNEL_HEIGHT": down - 1, "KERNEL_WIDTH": across - 1}
    fields |= {"KERNEL_STRIDE_HEIGHT": down - 1, "KERNEL_STRIDE_WIDTH": across - 1}
    stream.set("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=1, **fields)
    assert f"a cube of {4 * across * across}x{4 * down * down}x32 for the DPU's" in cubes(stream)
    stream.set("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", WIDTH=3).set("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", HEIGHT=3)
    assert cubes(stream) is None


@pytest.mark.parametrize(
    ("channels", "kind", "text"),
    [
        (32, "dense", None),
        (48, "dense", "48 channels; the MAC array delivers groups of 32"),
        (64, "depthwise", None),
        (32, "depthwise", "32 channels; the MAC array delivers groups of 64"),
        (16, "flying", None),
        (8, "flying", "8 channels; int8 cubes hold a multiple of 16"),
        (24, "flying", "24 channels; int8 cubes hold a multiple of 16"),
    ],
)
def test_cubes_hold_whole_groups(channels, kind, text):
    stream = flying(8, 8, channels) if kind == "flying" else dense(64, kind == "depthwise")
    stream.set("DPU.DATA_CUBE_CHANNEL", CHANNEL=channels - 1, ORIG_CHANNEL=channels - 1)
    stream.set("DPU.WDMA_SIZE_0", CHANNEL_WDMA=channels - 1)
    stream.set("DPU_RDMA.RDMA_DATA_CUBE_CHANNEL", CHANNEL=channels - 1)
    judge(cubes(stream), text)


@pytest.mark.parametrize(
    ("precision", "size", "depthwise"), [(0, 1, False), (0, 1, True), (1, 2, False), (1, 2, True), (4, 4, False)]
)
def test_a_groups_surfaces_follow_from_the_results_width(precision, size, depthwise):
    """Kernels of a group times bytes of a result over 16 (captures; spec 3.6)."""
    surfaces = (4 if depthwise else 2) * size
    stream = dense(64, depthwise).set("DPU.DATA_FORMAT", OUT_PRECISION=precision)
    for wrong in (-1, 0, 1) if surfaces < 8 else (-1, 0):  # the field ends at 8
        made = surfaces + wrong
        stream.set("DPU.BS_OW_CFG", **{f"SIZE_E_{n}": made - 1 for n in range(3)})
        stream.set("DPU.SURFACE_ADD", SURF_ADD=64 * made)
        judge(cubes(stream), f"SIZE_E makes {made} surfaces a kernel group; it has {surfaces}" if wrong else None)


@pytest.mark.parametrize(("channels", "text"), [(32, None), (64, "2064 bytes between groups of 2 surfaces 1024 apart")])
def test_groups_follow_their_surfaces(channels, text):
    """Where there is a second group at all."""
    judge(cubes(dense(channels).set("DPU.SURFACE_ADD", SURF_ADD=129)), text)


ALU, OW, MUL = 1, 2, 4
MULTIPLIED = {"DPU.BS_CFG": {"BS_MUL_BYPASS": 0}, "DPU.BS_MUL_CFG": {"BS_MUL_SRC": 1}}
SECOND = {"DPU.BN_CFG": {"BN_BYPASS": 0, "BN_ALU_BYPASS": 0, "BN_ALU_ALGO": 2, "BN_ALU_SRC": 1}}
SCALED = {"DPU.BN_CFG": {"BN_BYPASS": 0, "BN_MUL_BYPASS": 0}, "DPU.BN_MUL_CFG": {"BN_MUL_SRC": 1}}
STREAMED = {"DPU.BS_OW_CFG": {"OW_SRC": 1}}


@pytest.mark.parametrize(
    ("fields", "bs", "bn", "text"),
    [
        ({}, ALU, 0, None),
        ({}, 0, 0, "BS_CFG: the ALU operand comes from memory, but no engine reads it"),
        ({}, OW | MUL, 0, "BS_CFG: the ALU operand comes from memory, but no engine reads it"),
        ({"DPU.BS_CFG": {"BS_ALU_SRC": 0}}, 0, 0, None),
        ({"DPU.BS_CFG": {"BS_ALU_BYPASS": 1}}, 0, 0, None),
        (MULTIPLIED, ALU | MUL, 0, None),
        (MULTIPLIED, ALU, 0, "BS_MUL_CFG: the multiplier comes from memory, but no engine reads it"),
        ({"DPU.BS_CFG": {"BS_MUL_BYPASS": 0}}, ALU, 0, None),
        (SECOND, ALU, ALU, None),
        (SECOND, ALU, 0, "BN_CFG: the ALU operand comes from memory, but no engine reads it"),
        (SECOND, ALU, MUL, "BN_CFG: the ALU operand comes from memory, but no engine reads it"),
        (SCALED, ALU, MUL, None),
        (SCALED, ALU, ALU, "BN_MUL_CFG: the multiplier comes from memory, but no engine reads it"),
        (STREAMED, ALU | OW, 0, None),
        (STREAMED, ALU, 0, "BS_OW_CFG: the OW operand comes from memory, but no engine reads it"),
        (STREAMED, ALU, OW, "BS_OW_CFG: the OW operand comes from memory, but no engine reads it"),
        ({"DPU.BS_OW_CFG": {"OW_SRC": 1, "OD_BYPASS": 1}}, ALU, 0, None),
        ({}, ALU | OW, 0, "RDMA_BRDMA_CFG: DATA_USE 3: operands 2 are fetched and not consumed by BS"),
        ({}, ALU | MUL, 0, "RDMA_BRDMA_CFG: DATA_USE 5: operands 4 are fetched and not consumed by BS"),
        ({}, ALU | OW | MUL, 0, "RDMA_BRDMA_CFG: DATA_USE 7: operands 6 are fetched and not consumed by BS"),
        ({"DPU.BS_CFG": {"BS_ALU_SRC": 0}}, ALU, 0, "DATA_USE 1: operands 1 are fetched and not consumed by BS"),
        ({"DPU.BS_CFG": {"BS_BYPASS": 1}}, ALU, 0, "DATA_USE 1: operands 1 are fetched and not consumed by BS"),
        ({"DPU.BS_OW_CFG": {"OW_SRC": 1, "OD_BYPASS": 1}}, ALU | OW, 0, "operands 2 are fetched and not consumed"),
        ({}, ALU, ALU, "RDMA_NRDMA_CFG: DATA_USE 1: operands 1 are fetched and not consumed by BN"),
        (SECOND, ALU, ALU | MUL, "RDMA_NRDMA_CFG: DATA_USE 5: operands 4 are fetched and not consumed by BN"),
        (SCALED, ALU, ALU | MUL, "RDMA_NRDMA_CFG: DATA_USE 5: operands 1 are fetched and not consumed by BN"),
        (STREAMED, ALU | OW, OW, "RDMA_NRDMA_CFG: DATA_USE 2: operands 2 are fetched and not consumed by BN"),
    ],
)  # fmt: skip
def test_operands_are_delivered_and_consumed(fields, bs, bn, text):
    """Without an operand the DPU waits for ever; what stays behind hung a later task (outside 2.6a)."""
    stream = dense()
    for path, values in fields.items():
        stream.set(path, **values)
    stream.set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=bs).set("DPU_RDMA.RDMA_NRDMA_CFG", NRDMA_DATA_USE=bn)
    judge(cubes(stream), text)


def test_without_a_reader_nothing_comes_from_memory():
    assert "the ALU operand comes from memory" in cubes(dense(), reader=False)
    assert cubes(dense().set("DPU.BS_CFG", BS_ALU_SRC=0), reader=False) is None


def test_a_flying_task_has_no_ow_operand_from_memory():
    """It hangs (RV1103; addendum 1.4)."""
    stream = flying(4, 4, 32).set("DPU.BS_OW_CFG", OD_BYPASS=0, OW_SRC=1)
    stream.set("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=OW)
    assert "the OW operand comes from memory, but no engine reads it" in cubes(stream)


@pytest.mark.parametrize(
    ("stage", "reader", "text"),
    [
        ({}, {}, None),
        ({}, {"ERDMA_DISABLE": 1}, "the element-wise operand comes from memory, but ERDMA is off"),
        ({"EW_OP_BYPASS": 1}, {"ERDMA_DISABLE": 1}, None),
        ({"EW_OP_SRC": 0}, {"ERDMA_DISABLE": 1}, None),
        ({}, {"ERDMA_DATA_MODE": 0}, "EW_DATA_MODE 1, ERDMA_DATA_MODE 0"),
        ({"EW_DATA_MODE": 0}, {}, "EW_DATA_MODE 0, ERDMA_DATA_MODE 1"),
        (
            {"EW_DATA_MODE": 0},
            {"ERDMA_DATA_MODE": 0},
            "only a multiplication takes an operand for each channel",
        ),
        ({"EW_DATA_MODE": 0, "EW_OP_TYPE": 1}, {"ERDMA_DATA_MODE": 0}, None),
        ({"EW_OP_TYPE": 1}, {}, None),
    ],
)
def test_element_wise_operands_are_delivered(stage, reader, text):
    stream = flying_pair(4, 4, 32, EW_ALU_ALGO=2)
    judge(cubes(stream.set("DPU.EW_CFG", **stage).set("DPU_RDMA.RDMA_ERDMA_CFG", **reader)), text)


@pytest.mark.parametrize(("shape", "stride"), [((3, 4, 16), 99), ((3, 4, 32), 12)])
def test_a_single_surface_has_no_distance_to_the_next(shape, stride):
    """The operand's stride counts from the second surface on."""
    x = np.random.default_rng(1).integers(-60, 60, shape, dtype=np.int8)
    stream = flying_pair(*shape, EW_ALU_ALGO=2).set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=stride)
    memory = {FEATURES: to_slots(x), OPERAND: to_slots(x), OUTPUT: np.zeros(x.size, np.uint8)}
    run(stream, memory)
    assert np.array_equal(from_slots(memory[OUTPUT], *shape), 2 * x)
    if shape[2] > 16:
        with pytest.raises(SimulationError, match="208 bytes between surfaces, but the cube and its notches make 192"):
            run(stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=13), memory)


def test_notches_of_the_operand():
    """A line notch behind every line, the last too, and one more behind every surface."""
    stream = flying_pair(3, 4, 48, EW_ALU_ALGO=2)
    stream.set("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", EW_LINE_NOTCH_ADDR=2).set(
        "DPU_RDMA.RDMA_EW_SURF_NOTCH", EW_SURF_NOTCH=5
    )
    stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=3 * 6 + 5)
    random = np.random.default_rng(1)
    x = random.integers(-60, 60, (3, 4, 48), dtype=np.int8)
    image = random.integers(-60, 60, (3 * 23, 16), dtype=np.int8)
    memory = {FEATURES: to_slots(x), OPERAND: image.reshape(-1).view(np.uint8), OUTPUT: np.zeros(x.size, np.uint8)}
    run(stream, memory)
    lines = np.stack([[image[23 * s + 6 * y : 23 * s + 6 * y + 4] for y in range(3)] for s in range(3)])
    wanted = x + lines.transpose(1, 2, 0, 3).reshape(3, 4, 48)
    assert np.array_equal(from_slots(memory[OUTPUT], 3, 4, 48), wanted)
    stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=3 * 6 + 4)
    with pytest.raises(SimulationError, match="352 bytes between surfaces, but the cube and its notches make 368"):
        run(stream, memory)


def any_stage(random):
    """Registers of BS or BN: small numbers and such as fill their fields."""
    wide = int(random.choice([-(1 << 31), (1 << 31) - 1, random.integers(-(1 << 31), 1 << 31)]))
    return {
        "alu": random.choice([None, 2, 4]),
        "addend": random.choice([int(random.integers(-300, 300)), wide]),
        "multiplier": random.choice([None, int(random.integers(-32768, 32768)), -32768, 32767, 1]),
        "shifts": tuple(int(shift) for shift in random.integers(0, 21, 2)),
        "prelu": random.random() < 0.5,
        "relu": random.random() < 0.3,
        "limit": random.choice([None, -50, 0, int(random.integers(0, 1 << 20))]),
    }


_PLAIN = {"alu": 2, "multiplier": None, "shifts": (20, 20), "prelu": False, "relu": False, "limit": None}
LARGE_AND_UNSCALED = (
    _PLAIN | {"addend": (1 << 31) - 1, "multiplier": 1, "prelu": True},
    _PLAIN | {"addend": 1 << 30},
)
"""A parametric rectifier scales negative values alone: positive ones stay as large as they were."""


def staged(stream, name, stage):
    alu, multiplier, limit = stage["alu"], stage["multiplier"], stage["limit"]
    stream.fields[f"DPU.{name}_CFG"] = {}
    stream.set(
        f"DPU.{name}_CFG",
        **{
            f"{name}_ALU_ALGO": alu or 0,
            f"{name}_ALU_BYPASS": int(alu is None),
            f"{name}_MUL_BYPASS": int(multiplier is None),
            f"{name}_MUL_PRELU": int(stage["prelu"]),
            f"{name}_RELU_BYPASS": int(not stage["relu"]),
            f"{name}_RELUX_EN": int(limit is not None),
        },
    )
    stream.set(f"DPU.{name}_ALU_CFG", **{f"{name}_ALU_OPERAND": stage["addend"]})
    fields = {f"{name}_MUL_OPERAND": multiplier or 0, f"{name}_MUL_SHIFT_VALUE": stage["shifts"][0]}
    stream.set(f"DPU.{name}_MUL_CFG", **fields)
    stream.set("DPU.DATA_FORMAT", **{f"{name}_MUL_SHIFT_VALUE_NEG": stage["shifts"][1]})
    stream.set(f"DPU.{name}_RELUX_CMP_VALUE", **{f"{name}_RELUX_CMP_DAT": limit or 0})


def expected(values, stage):
    """ALU, MUL, ReLU, each saturated to 32 bits (spec 5.4; addendum 1.1)."""
    if stage["alu"] is not None:
        values = saturate(values + stage["addend"] * (1 if stage["alu"] == 2 else -1), 32)
    if stage["multiplier"] is not None:
        product = values * stage["multiplier"]
        cut = np.where(values < 0, half_even(product, stage["shifts"][1]), half_even(product, stage["shifts"][0]))
        values = saturate(np.where(values < 0, cut, values) if stage["prelu"] else cut, 32)
    if stage["relu"]:
        values = np.clip(values, 0, None if stage["limit"] is None else max(stage["limit"], 0))
    return values


@pytest.mark.parametrize("result", [(0, 0, 8), (1, 12, 16), (4, 0, 32), (4, 24, 32)], ids=str)
def test_both_stages_do_what_their_registers_say(result):
    """Whatever the constants are: saturation at each step, shifts by sign, parametric and bounded rectifiers."""
    precision, shift, bits = result
    size, kind = bits // 8, {8: "<i1", 16: "<i2", 32: "<i4"}[bits]
    x = np.arange(-128, 128).astype(np.int8).reshape(4, 4, 16)
    generators = [np.random.default_rng(seed) for seed in range(60)]
    for first, second in (*((any_stage(random), any_stage(random)) for random in generators), LARGE_AND_UNSCALED):
        stream = flying(4, 4, 16).set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=shift)
        stream.set("DPU.DATA_FORMAT", OUT_PRECISION=precision)
        staged(stream, "BS", first)
        staged(stream, "BN", second)
        memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(256 * size, np.uint8)}
        run(stream, memory)
        wanted = saturate(half_even(expected(expected(x.astype(np.int64), first), second), shift), bits)
        got = memory[OUTPUT].view(kind).reshape(size, 4, 4, 16 // size).transpose(1, 2, 0, 3).reshape(4, 4, 16)
        assert np.array_equal(got, wanted), (first, second)


def test_padding_of_bn_operands_and_records():
    """BN has records of its own: of each eight channels, what DATA_USE selects (addendum 1.2)."""
    x = np.random.default_rng(3).integers(-100, 100, (3, 4, 20), dtype=np.int8)
    bias, scale = np.arange(20) * 7 - 60, np.arange(20) * 5 + 3
    stream = flying(3, 4, 20)
    stream.fields["DPU.BN_CFG"] = {}
    stream.set("DPU.BN_CFG", BN_ALU_ALGO=4, BN_ALU_SRC=1, BN_RELU_BYPASS=1).set("DPU.BN_MUL_CFG", BN_MUL_SRC=1)
    stream.set("DPU_RDMA.RDMA_NRDMA_CFG", NRDMA_DATA_USE=5).set("DPU_RDMA.RDMA_BN_BASE_ADDR", BN_BASE_ADDR=BIAS)
    stream.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=6)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(3 * 4 * 32, np.uint8)}
    alu, mul = np.zeros(24, "<i4"), np.zeros(24, "<i2")
    alu[:20], mul[:20] = bias, scale
    rows = [part for n in range(3) for part in (alu[8 * n :][:8].tobytes(), mul[8 * n :][:8].tobytes())]
    memory[BIAS] = np.frombuffer(b"".join(rows), np.uint8).copy()
    run(stream, memory)
    wanted = saturate(half_even((x.astype(np.int64) - bias) * scale, 6), 8)
    assert np.array_equal(from_slots(memory[OUTPUT], 3, 4, 20), wanted)


def test_what_is_wrong_on_silicon_is_spoiled_in_every_byte():
    x = np.arange(256).astype(np.uint8).view(np.int8).reshape(4, 4, 16)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(256, np.uint8)}
    stream = flying(4, 4, 16)
    run(stream, memory)
    right = memory[OUTPUT].copy()
    _, report = run(stream.set("DPU.DATA_CUBE_NOTCH_ADDR", NOTCH_ADDR_1=1), memory, strict=False)
    assert len(report.defects) == 1
    assert np.array_equal(memory[OUTPUT], right ^ 0x80)


@pytest.mark.parametrize(("missing", "filled"), [(0, True), (1, False)])
def test_padding_surfaces_are_filled_where_the_whole_of_them_is_there(missing, filled):
    """What leaves the buffer is lost (assumed): of the last surface not one byte is written then."""
    height, width = 3, 5
    stream = convolution(height, width, 16, 5, Window(out=(height, width)))
    stream.set("DPU.OFFSET_PEND", OFFSET_PEND=9)
    one = 16 * height * width
    output = np.full(2 * one - missing, 0x55, np.uint8)
    x = np.random.default_rng(1).integers(-128, 128, (height, width, 16), dtype=np.int8)
    kernels = np.zeros(16 * 6, np.uint8)
    run(stream, {FEATURES: to_slots(x), WEIGHTS: kernels, BIAS: np.zeros(20, np.uint8), OUTPUT: output})
    assert set(output[one:].tolist()) == {9 if filled else 0x55}
    assert set(output[:one].reshape(-1, 16)[:, 5:].reshape(-1).tolist()) == {9}


def test_a_neighbouring_buffer_is_left_alone():
    """The second surface would lie in it whole: what leaves the output's own buffer is lost all the same."""
    stream = convolution(3, 5, 16, 5, Window(out=(3, 5))).set("DPU.OFFSET_PEND", OFFSET_PEND=9)
    output, behind = (np.full(16 * 15, 0x55, np.uint8) for _ in range(2))
    memory = {FEATURES: np.zeros(240, np.uint8), WEIGHTS: np.zeros(96, np.uint8), BIAS: np.zeros(20, np.uint8)}
    run(stream, memory | {OUTPUT: output, OUTPUT + output.size: behind})
    assert set(behind.tolist()) == {0x55}
    assert set(output.reshape(-1, 16)[:, 5:].reshape(-1).tolist()) == {9}


def test_groups_of_surfaces_may_lie_anywhere():
    """SURFACE_ADD from group to group, DST_SURF_STRIDE inside one (captures; spec 3.6)."""
    x = np.random.default_rng(2).integers(-128, 128, (3, 4, 80), dtype=np.int8)
    stream = flying(3, 4, 80).set("DPU.SURFACE_ADD", SURF_ADD=40).set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=13)
    for size in (1, 2, 4):
        stream.set("DPU.BS_OW_CFG", **{f"SIZE_E_{n}": size - 1 for n in range(3)})
        memory = {FEATURES: to_slots(x), OUTPUT: np.full(16 * 300, 0x55, np.uint8)}
        run(stream, memory)
        wanted = np.full((300, 16), 0x55, np.uint8).view(np.int8)
        for surface in range(5):
            start = surface // size * 40 + surface % size * 13
            wanted[start : start + 12] = x[..., 16 * surface : 16 * surface + 16].reshape(12, 16)
        assert np.array_equal(memory[OUTPUT].view(np.int8).reshape(300, 16), wanted)


def test_rows_longer_than_what_is_worked_on_at_a_time():
    x = np.random.default_rng(2).integers(-128, 128, (2, 2047, 32), dtype=np.int8)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(x.size, np.uint8)}
    run(flying(2, 2047, 32), memory)
    assert np.array_equal(memory[OUTPUT], memory[FEATURES])


def wide(stream, addend):
    """Have BS add a constant of 32 bits to every byte."""
    stream.fields["DPU.BS_CFG"] = {}
    stream.set("DPU.BS_CFG", BS_ALU_ALGO=2, BS_MUL_BYPASS=1, BS_RELU_BYPASS=1)
    return stream.set("DPU.BS_ALU_CFG", BS_ALU_OPERAND=addend)


def test_a_product_saturates_before_it_is_scaled():
    """2**30 times 2**10 is 2**31 less one: 64 behind a shift by 25, not 2**15."""
    stream = wide(flying_pair(2, 2, 16, EW_OP_TYPE=1), 1 << 30).set("DPU.EW_CFG", EW_OP_SRC=0, EW_OP_CVT_BYPASS=1)
    for index in range(8):
        stream.set(f"DPU.EW_OP_VALUE_{index}", **{f"EW_OPERAND_{index}": 1 << 10})
    stream.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=25)
    memory = {FEATURES: np.zeros(64, np.uint8), OPERAND: np.zeros(64, np.uint8), OUTPUT: np.zeros(64, np.uint8)}
    run(stream, memory)
    assert set(memory[OUTPUT].tolist()) == {64}


@pytest.mark.parametrize(
    ("offset", "addend", "found"), [((1 << 31) - 1, -(1 << 31), -1), (-(1 << 31), (1 << 31) - 1, -1)]
)
def test_an_operand_saturates_before_it_is_combined(offset, addend, found):
    stream = wide(flying_pair(2, 2, 16, EW_ALU_ALGO=2), addend)
    stream.set("DPU.EW_CVT_OFFSET_VALUE", EW_OP_CVT_OFFSET=offset)
    stream.set("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=32767)
    memory = {FEATURES: np.zeros(64, np.uint8), OPERAND: np.zeros(64, np.uint8), OUTPUT: np.zeros(64, np.uint8)}
    run(stream, memory)
    assert set(memory[OUTPUT].view(np.int8).tolist()) == {found}
