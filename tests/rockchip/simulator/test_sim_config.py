"""Registers as the units read them: what each check takes at its border, and what it then says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_model import Window
from sim_streams import convolution, entries, flying, flying_pair, pooling
from sim_units import said, unit

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import pack
from rocketnpu.rockchip.registers.rk3588 import BY_NAME
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.pc import parse
from rocketnpu.rockchip.simulator.units.cbuf import check_banks, row_entries
from rocketnpu.rockchip.simulator.units.cna_config import read_cna
from rocketnpu.rockchip.simulator.units.core import read_core
from rocketnpu.rockchip.simulator.units.dpu_config import read_dpu
from rocketnpu.rockchip.simulator.units.ppu import read_ppu
from rocketnpu.rockchip.simulator.units.rdma import read_rdma
from rocketnpu.rockchip.soc import RK3588


def dpu(stream):
    return said(lambda checks: read_dpu(unit(stream, "DPU"), checks))


def rdma(stream):
    return said(lambda checks: read_rdma(unit(stream, "DPU_RDMA"), checks))


def cna(stream):
    return said(lambda checks: check_banks(read_cna(unit(stream, "CNA"), checks), RK3588, checks))


def small(**fields):
    stream = convolution(8, 8, 32, 32, Window(before=(1, 1), out=(8, 8)), (3, 3))
    for path, values in fields.items():
        stream.set(path.replace("__", "."), **values)
    return stream


def packed(height, width, channels):
    stream = convolution(height, width, 16, 8, Window(out=(height, width)))
    stream.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=7 + channels)
    stream.set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
    del stream.fields["CNA.CBUF_CON1"]
    stream.first = [pack(0x0201, 0x1044, height * width)]
    return stream


UNMODELLED = {
    "CNA": {
        "CONV_CON1": "DECONV IN_PRECISION PROC_PRECISION",
        "CONV_CON3": "NN_MODE",
        "DATA_SIZE3": "SURF_MODE",
        "FC_CON0": "FC_SKIP_EN",
        "DCOMP_CTRL": "DECOMP_CONTROL",
    },
    "CORE": {"MISC_CFG": "PROC_PRECISION"},
    "DPU": {
        "FEATURE_MODE_CFG": "COMB_USE TP_EN RGP_TYPE NONALIGN",
        "DATA_FORMAT": "IN_PRECISION PROC_PRECISION MC_SURF_OUT",
        "DATA_CUBE_HEIGHT": "MINMAX_CTL",
        "BS_OW_CFG": "TP_ORG_EN RGP_CNTER",
        "WDMA_SIZE_0": "TP_PRECISION",
        "BS_MUL_CFG": "BS_TRUNCATE_SRC",
        "BN_MUL_CFG": "BN_TRUNCATE_SRC",
        "EW_CFG": "EW_EQUAL_EN EW_BINARY_EN EW_MUL_PRELU",
        "OUT_CVT_SHIFT": "MINUS_EXP",
        "OUT_CVT_SCALE": "FP32TOFP16_EN",
    },
    "DPU_RDMA": {
        "RDMA_FEATURE_MODE_CFG": "IN_PRECISION PROC_PRECISION MRDMA_FP16TOFP32_EN",
        "RDMA_ERDMA_CFG": "ERDMA_SURF_MODE ERDMA_NONALIGN",
    },
    "PPU": {
        "OPERATION_MODE_CFG": "INDEX_EN USE_CNT NOTCH_ADDR",
        "MISC_CTRL": "MC_SURF_OUT NONALIGN",
        "DATA_FORMAT": "PROC_PRECISION",
    },
}
"""Fields of which only 0 is described for int8."""
READERS = {
    "CNA": read_cna,
    "CORE": lambda regs, checks: read_core(regs, read_cna(unit(small(), "CNA"), checks), checks),
    "DPU": read_dpu,
    "DPU_RDMA": read_rdma,
    "PPU": lambda regs, checks: read_ppu(regs, unit(pooling((8, 8, 32), (2, 2), (2, 2))[0], "PPU_RDMA"), checks),
}


def plain(name):
    if name == "PPU":
        return pooling((8, 8, 32), (2, 2), (2, 2))[0]
    return flying_pair(4, 4, 32, EW_ALU_ALGO=2) if name == "DPU_RDMA" else small()


@pytest.mark.parametrize(
    ("name", "register", "field"),
    [
        (name, register, field)
        for name, found in UNMODELLED.items()
        for register, fields in found.items()
        for field in fields.split()
    ],
)
def test_only_zero_is_modelled(name, register, field):
    """Each bit of the field alone is refused, and the message names the register."""
    assert said(lambda checks: READERS[name](unit(plain(name), name), checks)) is None
    spec = BY_NAME[name][register].fields[field]
    for bit in range(spec.width):
        value = 1 << bit if not spec.signed else -(1 << bit)
        changed = unit(plain(name).set(f"{name}.{register}", **{field: value}), name)
        with pytest.raises(SimulationError) as caught:
            READERS[name](changed, Checks(strict=False))
        assert (caught.value.unit, caught.value.register) == (name, register)


@given(st.integers(1, 2047), st.integers(1, 128))
def test_rows_take_whole_entries(width, slots):
    """Four slots an entry; three that are left over at a pixel's end take one of their own (spec 3.3)."""
    whole, left = divmod(slots, 4)
    wanted = whole * width + (width if left == 3 else -(-left * width // 4))
    assert row_entries(width, 16 * slots) == row_entries(width, 16 * slots - 15) == wanted == entries(width, 16 * slots)


@pytest.mark.parametrize(
    ("data", "weight", "text"),
    [
        (1, 11, None),
        (11, 1, None),
        (1, 1, None),
        (1, 12, "1 data and 12 weight banks; there are 12 in all"),
        (12, 1, "12 data and 1 weight banks; there are 12 in all"),
        (0, 12, "0 data and 12 weight banks"),
        (12, 0, "12 data and 0 weight banks"),
    ],
)
def test_banks_are_shared_out(data, weight, text):
    found = cna(small(CNA__CBUF_CON0={"DATA_BANK": data, "WEIGHT_BANK": weight}))
    assert found is text is None or text in found


@pytest.mark.parametrize(("height", "fits"), [(4, True), (5, False)])
def test_features_fill_their_banks_to_the_brim(height, fits):
    """128 pixels of 64 channels are 128 entries a row; a bank has 512."""
    stream = convolution(height, 128, 64, 32, Window(out=(height, 128)))
    stream.set("CNA.CBUF_CON0", DATA_BANK=1, WEIGHT_BANK=11)
    text = "5 rows of 128 entries need 2 data banks, 1 are given"
    found = cna(stream)
    assert (found is None) if fits else (text in found)


def test_the_larger_number_of_entries_counts():
    """Who programs more than a row has is told so, and needs the banks for it."""
    stream = convolution(4, 128, 64, 32, Window(out=(4, 128)))
    stream.set("CNA.CBUF_CON0", DATA_BANK=1, WEIGHT_BANK=11).set("CNA.CBUF_CON1", DATA_ENTRIES=129)
    assert "4 rows of 129 entries need 2 data banks, 1 are given" in cna(stream)
    stream.set("CNA.CBUF_CON1", DATA_ENTRIES=127)
    assert "DATA_ENTRIES is 127, but a row of 128 pixels with 64 channels occupies 128 entries" in cna(stream)


@pytest.mark.parametrize(("height", "fits"), [(8, True), (9, False)])
def test_a_kernel_fills_its_banks_to_the_brim(height, fits):
    stream = convolution(height, 8, 512, 4, Window(out=(1, 1)), (height, 8))
    stream.set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
    found = cna(stream)
    assert (found is None) if fits else ("a kernel of 36864 bytes does not fit 1 weight banks of 32768 bytes" in found)


@pytest.mark.parametrize(("height", "fits"), [(48, True), (49, False)])
def test_packed_pixels_fill_the_whole_buffer(height, fits):
    """48 rows of 2047 pixels of four channels are 393,024 bytes, 49 are 401,212; the buffer has 393,216."""
    found = cna(packed(height, 2047, 4))
    assert (found is None) if fits else ("100303 pixels of 4 channels exceed the buffer" in found)


@pytest.mark.parametrize("size", [(127, 129), (181, 255), (273, 301)])
def test_packed_pixels_are_counted_in_17_bits(size):
    """Three more than the field has (addendum 6.9): they are no stray bits."""
    stream = packed(*size, 4)
    assert parse(stream.words().tobytes()).oddities == ()
    assert cna(stream) is None
    stream.first = [pack(0x0201, 0x1044, size[0] * size[1] ^ 1)]
    assert f"packed input of {size[0] * size[1]} pixels needs that" in cna(stream)
    stream.first = [pack(0x0201, 0x1044, 1 << 17)]
    assert [text for *_, text in parse(stream.words().tobytes()).oddities] == ["reserved bits 0x20000 are set"]


@pytest.mark.parametrize("axis", ["HEIGHT", "WIDTH"])
@pytest.mark.parametrize(
    ("size", "before", "out", "blind"),
    [
        (1, 2, 1, None),
        (2, 2, 2, None),
        (2, 1, 3, None),
        (2, 1, 4, ("last", 1, 3)),
        (8, 2, 8, None),
        (8, 0, 8, None),
        (8, 0, 9, ("last", 0, 3)),
        (8, 3, 9, ("first", 3, 0)),
        (8, 3, 2, ("first", 3, 0)),
    ],
)  # fmt: skip
def test_every_window_sees_a_pixel(axis, size, before, out, blind):
    """Padding behind has no register; at most the window less one pixel may lie on either side (spec 4.3)."""
    pair = (lambda one, other: (one, other)) if axis == "HEIGHT" else (lambda one, other: (other, one))
    window = Window(before=pair(before, 0), out=pair(out, 8))
    stream = convolution(*pair(size, 8), 16, 16, window, pair(3, 1))
    found = said(lambda checks: read_cna(unit(stream, "CNA"), checks))
    if blind is None:
        assert found is None
        return
    side, name = blind[0], "row" if axis == "HEIGHT" else "column"
    assert f"the {side} output {name} would see padding only: kernel spans 3" in found
    assert f"padding is {blind[1]} before and {blind[2]} behind, input {size}" in found


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4), st.integers(1, 9))
def test_padding_behind_follows_from_the_output(size, kernel, stride, dilation, before, out):
    """By its definition: what the last window reaches beyond the input."""
    stream = convolution(size, 5, 16, 16, Window((stride, 1), (before, 0), (out, 5), (dilation, 1)), (kernel, 1))
    windows = [range(n * stride - before, n * stride - before + (kernel - 1) * dilation + 1) for n in range(out)]
    beyond = max(max(windows[-1]) - size + 1, 0)
    blind = max(before, beyond) >= len(windows[0])
    if blind:
        with pytest.raises(SimulationError, match="would see padding only"):
            read_cna(unit(stream, "CNA"), Checks(strict=True))
        return
    found = read_cna(unit(stream, "CNA"), Checks(strict=True))
    assert (found.pad_bottom, found.pad_right, found.padded_shape) == (beyond, 0, (before + size + beyond, 5, 16))


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("CNA.DATA_SIZE1", {"DATAIN_CHANNEL": 0}, "0 channels; int8 needs a multiple of 16"),
        ("CNA.DATA_SIZE1", {"DATAIN_CHANNEL": 24}, "24 channels; int8 needs a multiple of 16"),
        ("CNA.DATA_SIZE2", {"DATAOUT_WIDTH": 0}, "64 output pixels in rows of 0"),
        ("CNA.DATA_SIZE3", {"DATAOUT_ATOMICS": 0}, "0 output pixels in rows of 8"),
        ("CNA.DATA_SIZE3", {"DATAOUT_ATOMICS": 63}, "63 output pixels in rows of 8"),
        ("CNA.DATA_SIZE0", {"DATAIN_WIDTH": 0}, "input of 0x8 pixels with strides 1, 1"),
        ("CNA.DATA_SIZE0", {"DATAIN_HEIGHT": 0}, "input of 8x0 pixels with strides 1, 1"),
        ("CNA.CONV_CON3", {"CONV_X_STRIDE": 0}, "input of 8x8 pixels with strides 0, 1"),
        ("CNA.CONV_CON3", {"CONV_Y_STRIDE": 0}, "input of 8x8 pixels with strides 1, 0"),
        ("CNA.WEIGHT_SIZE2", {"WEIGHT_HEIGHT": 0}, "32 kernels of 3x0"),
        ("CNA.WEIGHT_SIZE2", {"WEIGHT_WIDTH": 0}, "32 kernels of 0x3"),
        ("CNA.WEIGHT_SIZE2", {"WEIGHT_KERNELS": 0}, "0 kernels of 3x3"),
        ("CNA.CONV_CON1", {"CONV_MODE": 2}, "CONV_MODE 2; only 0 (direct) and 3 (depthwise) are known"),
        ("CNA.CONV_CON1", {"CONV_MODE": 3}, "a depthwise convolution with 32 kernels instead of 1"),
        ("CNA.WEIGHT_SIZE1", {"WEIGHT_BYTES_PER_KERNEL": 287}, "287 bytes per kernel; the sizes make 288"),
        ("CNA.WEIGHT_SIZE0", {"WEIGHT_BYTES": 9217}, "9217 weight bytes; the sizes make 9216"),
        ("CNA.FC_DATA_SIZE0", {"DMA_WIDTH": 7}, "7 pixels are fetched for rows of 8"),
        ("CNA.FC_DATA_SIZE0", {"DMA_HEIGHT": 9}, "9 rows are fetched for an input of 8"),
        ("CNA.FC_DATA_SIZE0", {"DMA_HEIGHT": 1}, None),
        ("CNA.FC_DATA_SIZE1", {"DMA_CHANNEL": 48}, "48 channels are fetched of 32"),
        ("CNA.CVT_CON0", {"CVT_BYPASS": 0}, "the input converter is on for input that is not packed"),
        ("CNA.FEATURE_DATA_ADDR", {"FEATURE_BASE_ADDR": 0x100008}, "the address is not a multiple of 16"),
        ("CNA.DCOMP_ADDR0", {"DECOMPRESS_ADDR0": 0x200001}, "not a multiple of 16; the low bits are ignored"),
        ("CNA.CBUF_CON0", {"FC_DATA_BANK": 1}, "FC_DATA_BANK is 1; only 0 leaves convolutions intact"),
    ],
)
def test_what_the_cna_takes(path, fields, text):
    found = cna(small(**{path.replace(".", "__"): fields}))
    assert (found is None) if text is None else (text in found), found


def test_the_low_bits_of_the_weights_address_are_ignored():
    config = read_cna(unit(small(CNA__DCOMP_ADDR0={"DECOMPRESS_ADDR0": 0x20001F}), "CNA"), Checks(strict=False))
    assert config.weight_address == 0x200010


@pytest.mark.parametrize("slots", [1, 2, 4, 8])
def test_groups_of_four_lines_unless_they_are_fetched_alone(slots):
    for off, lines in ((0, 4), (1, 1)):
        regs = unit(small(CNA__CONV_CON1={"GROUP_LINE_OFF": off}), "CNA")
        assert read_cna(regs, Checks(strict=True)).group == lines


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("DPU.DATA_CUBE_CHANNEL", {"ORIG_CHANNEL": 31}, None),
        ("DPU.DATA_CUBE_CHANNEL", {"ORIG_CHANNEL": 32}, "33 real channels of 32"),
        ("DPU.WDMA_SIZE_1", {"WIDTH_WDMA": 6}, "the writer's cube is (7, 8, 32), the data's (8, 8, 32)"),
        ("DPU.WDMA_SIZE_1", {"HEIGHT_WDMA": 8}, "the writer's cube is (8, 9, 32), the data's (8, 8, 32)"),
        ("DPU.WDMA_SIZE_0", {"CHANNEL_WDMA": 15}, "the writer's cube is (8, 8, 16), the data's (8, 8, 32)"),
        ("DPU.DATA_CUBE_NOTCH_ADDR", {"NOTCH_ADDR_0": 3}, "the two notches differ"),
        ("DPU.FEATURE_MODE_CFG", {"OUTPUT_MODE": 1}, "OUTPUT_MODE 1; only 2 (to memory) is modelled"),
        ("DPU.FEATURE_MODE_CFG", {"CONV_MODE": 1}, "CONV_MODE 1; only 0 and 3 (depthwise) are known"),
        ("DPU.DATA_FORMAT", {"OUT_PRECISION": 1}, None),
        ("DPU.DATA_FORMAT", {"OUT_PRECISION": 4}, None),
        ("DPU.DATA_FORMAT", {"OUT_PRECISION": 3}, "OUT_PRECISION 3; only int8, int16 and int32 (0, 1, 4)"),
        ("DPU.DATA_FORMAT", {"OUT_PRECISION": 5}, "OUT_PRECISION 5; only int8, int16 and int32 (0, 1, 4)"),
        ("DPU.DST_BASE_ADDR", {"DST_BASE_ADDR": 0x300008}, "not a multiple of 16; the low bits are ignored"),
        ("DPU.BS_OW_CFG", {"SIZE_E_0": 2}, "the three SIZE_E differ"),
        ("DPU.BS_OW_CFG", {"SIZE_E_1": 2}, "the three SIZE_E differ"),
        ("DPU.BS_OW_CFG", {"SIZE_E_2": 2}, "the three SIZE_E differ"),
        ("DPU.BS_CFG", {"BS_ALU_ALGO": 4}, None),
        ("DPU.BS_CFG", {"BS_ALU_ALGO": 3}, "BS_ALU_ALGO 3; only 2 (add) and 4 (subtract) are known"),
        ("DPU.BS_CFG", {"BS_ALU_ALGO": 3, "BS_ALU_BYPASS": 1}, None),
        ("DPU.BS_CFG", {"BS_ALU_ALGO": 3, "BS_BYPASS": 1}, None),
        ("DPU.BN_CFG", {"BN_ALU_ALGO": 1}, None),
        ("DPU.BN_CFG", {"BN_BYPASS": 0, "BN_ALU_BYPASS": 0}, "BN_ALU_ALGO 0; only 2 (add) and 4 (subtract)"),
        ("DPU.OUT_CVT_SCALE", {"OUT_CVT_SCALE": 32767}, None),
        ("DPU.OUT_CVT_SCALE", {"OUT_CVT_SCALE": 32768}, "multiplier 32768: untested above 32767"),
    ],
)
def test_what_the_dpu_takes(path, fields, text):
    found = dpu(small(**{path.replace(".", "__"): fields}))
    assert (found is None) if text is None else (text in found), found


@pytest.mark.parametrize("algorithm", range(16))
@pytest.mark.parametrize("multiply", [0, 1])
def test_operations_of_the_element_stage(algorithm, multiply):
    """Maximum, minimum, sum, difference, absolute value and negation; of a product the field is ignored."""
    stream = flying_pair(4, 4, 32, EW_ALU_ALGO=algorithm, EW_OP_TYPE=multiply)
    known = multiply or algorithm in (0, 1, 2, 4, 5, 6)
    found = dpu(stream)
    assert (found is None) if known else (f"EW_ALU_ALGO {algorithm} has no integer meaning" in found)
    stream.set("DPU.EW_CFG", EW_OP_BYPASS=1)
    assert dpu(stream) is None


@pytest.mark.parametrize("index", range(8))
def test_the_eight_constants_are_one(index):
    stream = flying_pair(4, 4, 32, EW_ALU_ALGO=2).set("DPU.EW_CFG", EW_OP_SRC=0)
    for place in range(8):
        stream.set(f"DPU.EW_OP_VALUE_{place}", **{f"EW_OPERAND_{place}": 77})
    regs = unit(stream, "DPU")
    assert read_dpu(regs, Checks(strict=True)).ew.constant == 77
    stream.set(f"DPU.EW_OP_VALUE_{index}", **{f"EW_OPERAND_{index}": 78})
    assert "the eight constants differ" in dpu(stream)
    stream.set("DPU.EW_CFG", EW_OP_SRC=1)
    assert dpu(stream) is None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"FLYING_MODE": 1}, None),
        ({"FLYING_MODE": 1, "MRDMA_DISABLE": 1}, "a flying task needs MRDMA on and COMB_USE 0"),
        ({"FLYING_MODE": 1, "COMB_USE": 5}, "a flying task needs MRDMA on and COMB_USE 0"),
        ({"FLYING_MODE": 0, "MRDMA_DISABLE": 1}, None),
        ({"FLYING_MODE": 0, "MRDMA_DISABLE": 0, "COMB_USE": 5}, None),
        ({"FLYING_MODE": 0, "MRDMA_DISABLE": 1, "COMB_USE": 5}, None),
        (
            {"FLYING_MODE": 0, "MRDMA_DISABLE": 0},
            "MRDMA is on, but neither a flying task nor a shared operand feeds it",
        ),
        ({"FLYING_MODE": 1, "COMB_USE": 1}, "COMB_USE 1; only 0 and 5 are known"),
        ({"FLYING_MODE": 1, "COMB_USE": 4}, "COMB_USE 4; only 0 and 5 are known"),
    ],
)
def test_modes_of_the_main_engine(fields, text):
    found = rdma(flying(4, 4, 32).set("DPU_RDMA.RDMA_FEATURE_MODE_CFG", **fields))
    assert (found is None) if text is None else (text in found), found


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, None),
        ({"ERDMA_DATA_MODE": 0}, None),
        ({"ERDMA_DATA_MODE": 2}, "ERDMA_DATA_MODE 2: 2 hangs, 3 does not exist"),
        ({"ERDMA_DATA_MODE": 3}, "ERDMA_DATA_MODE 3: 2 hangs, 3 does not exist"),
        ({"ERDMA_DATA_SIZE": 0}, "ERDMA_DATA_SIZE 0: only 1 (8 bit) is modelled"),
        ({"ERDMA_DATA_SIZE": 2}, "ERDMA_DATA_SIZE 2: only 1 (8 bit) is modelled"),
        ({"ERDMA_DATA_SIZE": 2, "ERDMA_DISABLE": 1}, None),
    ],
)
def test_modes_of_the_operand_engine(fields, text):
    found = rdma(flying_pair(4, 4, 32, EW_ALU_ALGO=2).set("DPU_RDMA.RDMA_ERDMA_CFG", **fields))
    assert (found is None) if text is None else (text in found), found


@pytest.mark.parametrize("missing", ["KERNEL_WIDTH", "KERNEL_HEIGHT", "KERNEL_STRIDE_WIDTH", "KERNEL_STRIDE_HEIGHT"])
def test_enlargement_repeats_by_whole_factors(missing):
    fields = {"KERNEL_WIDTH": 2, "KERNEL_HEIGHT": 1, "KERNEL_STRIDE_WIDTH": 2, "KERNEL_STRIDE_HEIGHT": 1}
    stream = flying(4, 4, 32).set("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=1, **fields)
    found = read_rdma(unit(stream, "DPU_RDMA"), Checks(strict=True))
    assert (found.enlarge_x, found.enlarge_y) == (3, 2)
    refused = "un-pooling other than replication by whole factors"
    for path, changed in (
        ("DPU_RDMA.RDMA_SRC_DMA_CFG", {missing: 0}),
        ("DPU_RDMA.RDMA_SRC_DMA_CFG", {"POOLING_METHOD": 1}),
        ("DPU_RDMA.RDMA_PAD_CFG", {"PAD_TOP": 1}),
    ):
        other = flying(4, 4, 32).set("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=1, **fields).set(path, **changed)
        assert refused in rdma(other)
    stream.set("DPU_RDMA.RDMA_SRC_DMA_CFG", UNPOOLING_EN=0)
    found = read_rdma(unit(stream, "DPU_RDMA"), Checks(strict=True))
    assert (found.enlarge_x, found.enlarge_y) == (1, 1)


def ppu(stream):
    return said(lambda checks: read_ppu(unit(stream, "PPU"), unit(stream, "PPU_RDMA"), checks))


@pytest.mark.parametrize(
    ("height", "width", "fits"), [(8191, 1, True), (1, 8191, True), (8192, 1, False), (64, 128, False)]
)
def test_output_slots_of_one_pooling_task(height, width, fits):
    """8,191 run on RK3588 (spec 6.4)."""
    stream, out = pooling((height, width, 16), (1, 1), (1, 1))
    assert out == (height, width)
    found = ppu(stream)
    assert (found is None) if fits else ("more than 8191 output slots in one task" in found)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("before", "after", "text"), [
    (2, 2, None), (3, 0, "a window would see padding only"), (0, 3, "a window would see padding only"),
])  # fmt: skip
def test_every_pooling_window_sees_a_pixel(axis, before, after, text):
    def pair(value, other):
        return (value, other) if axis == 0 else (other, value)

    stream, _ = pooling((*pair(8, 8), 16), pair(3, 1), (1, 1), pair(before, 0), pair(after, 0))
    found = ppu(stream)
    assert (found is None) if text is None else (text in found)


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("PPU.DATA_CUBE_OUT_CHANNEL", {"CUBE_OUT_CHANNEL": 15}, "'CHANNEL': 32} and an output of"),
        ("PPU_RDMA.RDMA_CUBE_IN_CHANNEL", {"CUBE_IN_CHANNEL": 15}, "fetches {'HEIGHT': 8, 'WIDTH': 8, 'CHANNEL': 16}"),
        ("PPU_RDMA.RDMA_CUBE_IN_WIDTH", {"CUBE_IN_WIDTH": 8}, "fetches {'HEIGHT': 8, 'WIDTH': 9, 'CHANNEL': 32}"),
        ("PPU.DATA_CUBE_OUT_WIDTH", {"CUBE_OUT_WIDTH": 2}, "3 windows span 6 cells, input and padding make 8"),
        ("PPU.DATA_CUBE_OUT_HEIGHT", {"CUBE_OUT_HEIGHT": 4}, "5 windows span 10 cells, input and padding make 8"),
        ("PPU.POOLING_PADDING_CFG", {"PAD_RIGHT": 1}, "4 windows span 8 cells, input and padding make 9"),
        ("PPU.OPERATION_MODE_CFG", {"FLYING_MODE": 0}, "pooling behind the DPU has no known program"),
        ("PPU.DATA_FORMAT", {"DPU_FLYIN": 1}, "pooling behind the DPU has no known program"),
        ("PPU.OPERATION_MODE_CFG", {"POOLING_METHOD": 3}, "POOLING_METHOD 3 does not exist"),
        ("PPU.OPERATION_MODE_CFG", {"POOLING_METHOD": 2}, None),
        ("PPU.OPERATION_MODE_CFG", {"POOLING_METHOD": 0}, None),
        ("PPU_RDMA.RDMA_DATA_FORMAT", {"IN_PRECISION": 2}, "IN_PRECISION 2: only 1 (8 bit) is modelled"),
    ],
)
def test_what_pooling_takes(path, fields, text):
    found = ppu(pooling((8, 8, 32), (2, 2), (2, 2))[0].set(path, **fields))
    assert (found is None) if text is None else (text in found), found


@pytest.mark.parametrize(("byte", "value"), [(0, 0), (0x7F, 127), (0x80, -128), (0xFF, -1), (0x17F, 127)])
def test_the_low_byte_pads_a_pool(byte, value):
    stream, _ = pooling((8, 8, 32), (2, 2), (2, 2), pad=byte)
    config = read_ppu(unit(stream, "PPU"), unit(stream, "PPU_RDMA"), Checks(strict=True))
    assert config.pad_value == value


def test_a_snapshot_is_read_again_only_while_there_was_nothing_to_say():
    """What a unit objects to is said at each task, not at the first alone."""
    clean, odd = unit(small(), "CNA"), unit(small(CNA__DCOMP_ADDR0={"DECOMPRESS_ADDR0": 0x200001}), "CNA")
    first = clean.read(type(read_cna(clean, Checks(True))), read_cna, Checks(strict=True))
    assert clean.read(type(first), read_cna, Checks(strict=True)) is first
    for _ in range(2):
        checks = Checks(strict=False)
        odd.read(type(first), read_cna, checks)
        assert (len(checks.remarks), checks.defects, checks.silent) == (1, [], False)


def test_messages_name_place_and_register():
    with pytest.raises(SimulationError, match=re.escape("CONV_CON1")) as caught:
        read_cna(unit(small(CNA__CONV_CON1={"CONV_MODE": 7}), "CNA"), Checks(strict=False))
    assert (caught.value.unit, caught.value.register, caught.value.task) == ("CNA", "CONV_CON1", None)
