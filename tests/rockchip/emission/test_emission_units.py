"""Every register of every unit, of tasks in which no two numbers are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocketnpu.errors import RegisterFieldError
from rocketnpu.program.constants import Location
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, register
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    MEMORY,
    Banks,
    Combine,
    Conversion,
    ConvolutionTask,
    Elementwise,
    FlyingTask,
    KernelShape,
    Lookup,
    Multiply,
    OutputStage,
    PoolingTask,
    Rows,
    Stage,
    Task,
    WeightBlock,
)

X, Y = FeatureMap.packed("x", 40, 21, 20, 16), FeatureMap.packed("y", 9, 6, 33, 16)
CONVOLUTION = ConvolutionTask(
    0,
    "",
    Rows(X, 5, 12),
    KernelShape((3, 5), (2, 3), (4, 2), 1, 2, -9),
    WeightBlock(Location("constants", 0x400), 34, 480, False, True),
    Banks(7, 4, 11),
    77,
    OutputStage(
        Stage(MEMORY, Multiply(MEMORY, 14)),
        Stage(100, relu=True, ceiling=999),
        None,
        Conversion(20000, 21, -5),
        Location("constants", 0x800),
    ),
    Rows(Y, 3, 4),
)
REGISTERS = """
CNA.CBUF_CON0 WEIGHT_REUSE=1 WEIGHT_BANK=4 DATA_BANK=7
CNA.CONV_CON2 FEATURE_GRAINS=53
CNA.CONV_CON3 ATROUS_Y_DILATION=3 ATROUS_X_DILATION=1 CONV_Y_STRIDE=2 CONV_X_STRIDE=3
CNA.DATA_SIZE0 DATAIN_WIDTH=21 DATAIN_HEIGHT=12
CNA.DATA_SIZE1 DATAIN_CHANNEL_REAL=19 DATAIN_CHANNEL=32
CNA.DATA_SIZE2 DATAOUT_WIDTH=6
CNA.DATA_SIZE3 DATAOUT_ATOMICS=24
CNA.WEIGHT_SIZE0 WEIGHT_BYTES=16320
CNA.WEIGHT_SIZE1 WEIGHT_BYTES_PER_KERNEL=480
CNA.WEIGHT_SIZE2 WEIGHT_WIDTH=5 WEIGHT_HEIGHT=3 WEIGHT_KERNELS=34
CNA.CBUF_CON1 DATA_ENTRIES=11
CNA.CVT_CON0 DATA_SIGN=1 CVT_TYPE=1 CVT_BYPASS=1
CNA.CVT_CON1 CVT_SCALE0=1
CNA.CVT_CON2 CVT_SCALE1=1
CNA.CVT_CON3 CVT_SCALE2=1
CNA.CVT_CON4 CVT_SCALE3=1
CNA.PAD_CON0 PAD_LEFT=2 PAD_TOP=1
CNA.PAD_CON1 PAD_VALUE=-9
CNA.DMA_CON0 WEIGHT_BURST_LEN=15 DATA_BURST_LEN=15
CNA.DMA_CON1 LINE_STRIDE=84
CNA.DMA_CON2 SURF_STRIDE=756
CNA.FC_DATA_SIZE0 DMA_WIDTH=21 DMA_HEIGHT=12
CNA.FC_DATA_SIZE1 DMA_CHANNEL=32
CORE.MISC_CFG QD_EN=1
CORE.DATAOUT_SIZE_0 DATAOUT_HEIGHT=3 DATAOUT_WIDTH=5
CORE.DATAOUT_SIZE_1 DATAOUT_CHANNEL=63
DPU.S_POINTER POINTER_PP_MODE=1 EXECUTER_PP_EN=1 POINTER_PP_EN=1
DPU.FEATURE_MODE_CFG BURST_LEN=15 OUTPUT_MODE=2
DPU.DATA_FORMAT BS_MUL_SHIFT_VALUE_NEG=14
DPU.DST_SURF_STRIDE DST_SURF_STRIDE=54
DPU.DATA_CUBE_WIDTH WIDTH=5
DPU.DATA_CUBE_HEIGHT HEIGHT=3
DPU.DATA_CUBE_CHANNEL ORIG_CHANNEL=32 CHANNEL=63
DPU.BS_CFG BS_ALU_ALGO=2 BS_ALU_SRC=1 BS_RELU_BYPASS=1
DPU.BS_MUL_CFG BS_MUL_SHIFT_VALUE=14 BS_MUL_SRC=1
DPU.BS_OW_CFG SIZE_E_2=1 SIZE_E_1=1 SIZE_E_0=1 OW_SRC=1
DPU.BS_OW_OP OW_OP=77
DPU.WDMA_SIZE_0 CHANNEL_WDMA=63
DPU.WDMA_SIZE_1 HEIGHT_WDMA=3 WIDTH_WDMA=5
DPU.BN_CFG BN_ALU_ALGO=2 BN_RELUX_EN=1 BN_MUL_BYPASS=1
DPU.BN_ALU_CFG BN_ALU_OPERAND=100
DPU.BN_RELUX_CMP_VALUE BN_RELUX_CMP_DAT=999
DPU.EW_CFG EW_RELU_BYPASS=1 EW_OP_CVT_BYPASS=1 EW_LUT_BYPASS=1 EW_OP_BYPASS=1 EW_BYPASS=1
DPU.EW_CVT_SCALE_VALUE EW_OP_CVT_SCALE=1
DPU.OUT_CVT_OFFSET OUT_CVT_OFFSET=-5
DPU.OUT_CVT_SCALE OUT_CVT_SCALE=20000
DPU.OUT_CVT_SHIFT OUT_CVT_SHIFT=21
DPU.SURFACE_ADD SURF_ADD=108
DPU_RDMA.RDMA_S_POINTER POINTER_PP_MODE=1 EXECUTER_PP_EN=1 POINTER_PP_EN=1
DPU_RDMA.RDMA_DATA_CUBE_WIDTH WIDTH=5
DPU_RDMA.RDMA_DATA_CUBE_HEIGHT HEIGHT=3
DPU_RDMA.RDMA_DATA_CUBE_CHANNEL CHANNEL=63
DPU_RDMA.RDMA_BRDMA_CFG BRDMA_DATA_USE=7
DPU_RDMA.RDMA_ERDMA_CFG ERDMA_DISABLE=1
DPU_RDMA.RDMA_FEATURE_MODE_CFG BURST_LEN=15 MRDMA_DISABLE=1
DPU_RDMA.RDMA_WEIGHT E_WEIGHT=1 N_WEIGHT=1 B_WEIGHT=1 M_WEIGHT=1
"""
"""Of :data:`CONVOLUTION`: every field that is not 0."""
PLACES = {
    "CNA.FEATURE_DATA_ADDR": Location("x", 5 * 21 * 16),
    "CNA.DCOMP_ADDR0": Location("constants", 0x400),
    "DPU.DST_BASE_ADDR": Location("y", 3 * 6 * 16),
    "DPU_RDMA.RDMA_BS_BASE_ADDR": Location("constants", 0x800),
}


def table(text: str) -> dict[str, dict[str, int]]:
    lines = (line.split() for line in text.strip().splitlines())
    return {path: {name: int(value) for name, value in (one.split("=") for one in rest)} for path, *rest in lines}


def written(task: Task) -> dict[str, dict[str, int]]:
    """Return all fields that are not 0."""
    found: dict[str, dict[str, int]] = {}
    for path, value in TaskRegisters(emit(task, RK3588).words).values.items():
        fields = {name: one for name, one in register(path).decode(value).items() if one}
        if fields and not path.startswith("PC."):
            found[path] = fields
    return found


def places(task: Task) -> dict[str, Location]:
    """Return what the addresses stand for."""
    commands = emit(task, RK3588)
    by_offset = {r.offset: f"{unit}.{r.name}" for unit, block in BY_NAME.items() for r in block.by_offset.values()}
    return {by_offset[int(commands.words[word]) & 0xFFFF]: place for word, place in commands.addresses.items()}


def test_a_convolution() -> None:
    assert written(CONVOLUTION) == table(REGISTERS)
    assert places(CONVOLUTION) == PLACES


def changed(task: Task, text: str, *gone: str) -> None:
    """Hold a task's registers against those of the convolution, but for some."""
    wanted = table(REGISTERS)
    for path in gone:
        del wanted[path]
    assert written(task) == wanted | table(text)


def test_a_depthwise_convolution() -> None:
    weights = replace(CONVOLUTION.weights, kernels=1, depthwise=True, reuse=False)
    task = replace(CONVOLUTION, weights=weights)
    changed(
        task,
        """
        CNA.CBUF_CON0 WEIGHT_BANK=4 DATA_BANK=7
        CNA.CONV_CON1 CONV_MODE=3
        CNA.WEIGHT_SIZE0 WEIGHT_BYTES=480
        CNA.WEIGHT_SIZE2 WEIGHT_WIDTH=5 WEIGHT_HEIGHT=3 WEIGHT_KERNELS=1
        CNA.PAD_CON1 PAD_VALUE=-2057
        CORE.MISC_CFG QD_EN=1 DW_EN=1
        DPU.FEATURE_MODE_CFG BURST_LEN=15 OUTPUT_MODE=2 CONV_MODE=3
        DPU.BS_OW_CFG SIZE_E_2=3 SIZE_E_1=3 SIZE_E_0=3 OW_SRC=1
        DPU.SURFACE_ADD SURF_ADD=216
        DPU_RDMA.RDMA_FEATURE_MODE_CFG BURST_LEN=15 MRDMA_DISABLE=1 CONV_MODE=3
        """,
    )


@pytest.mark.parametrize(("value", "word"), [(0, 0), (5, 0x0505), (127, 0x7F7F), (-1, 0xFFFFFFFF), (-128, 0xFFFF8080)])
def test_both_bytes_pad_a_depthwise_convolution(value: int, word: int) -> None:
    """The second one pads odd channels below 32 (outside 2.1)."""
    kernel = replace(CONVOLUTION.kernel, pad_value=value)
    task = replace(CONVOLUTION, kernel=kernel, weights=replace(CONVOLUTION.weights, kernels=1, depthwise=True))
    assert TaskRegisters(emit(task, RK3588).words).raw("CNA.PAD_CON1") == word
    plain = TaskRegisters(emit(replace(CONVOLUTION, kernel=kernel), RK3588).words).raw("CNA.PAD_CON1")
    assert plain == value & 0xFFFFFFFF


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_packed_picture(channels: int) -> None:
    picture = replace(FeatureMap.packed("x", 40, 21, channels, channels), unsigned=True)
    task = replace(CONVOLUTION, source=Rows(picture, 5, 12), banks=Banks(7, 4, 12 * 21))
    lanes = "\n".join(f"CNA.CVT_CON{n + 1} CVT_SCALE{n}=16384 CVT_OFFSET{n}=-128" for n in range(4))
    changed(
        task,
        f"""
        CNA.CONV_CON1 ARGB_IN={7 + channels} NONALIGN_DMA=1 GROUP_LINE_OFF=1
        CNA.DATA_SIZE1 DATAIN_CHANNEL_REAL={channels - 1} DATAIN_CHANNEL=16
        CNA.CBUF_CON1 DATA_ENTRIES=252
        CNA.CVT_CON0 CVT_TRUNCATE_0=14 CVT_TRUNCATE_1=14 CVT_TRUNCATE_2=14 CVT_TRUNCATE_3=14
        {lanes}
        CNA.CVT_CON5 PER_CHANNEL_CVT_EN=65535
        CNA.DMA_CON1 LINE_STRIDE=21
        CNA.DMA_CON2 SURF_STRIDE=819
        CNA.FC_DATA_SIZE1 DMA_CHANNEL=16
        """.replace("DATAIN_CHANNEL_REAL=0 ", ""),
    )
    assert places(task)["CNA.FEATURE_DATA_ADDR"] == Location("x", 5 * 21 * channels)


def test_rows_with_gaps() -> None:
    """They are fetched one by one, and written with a notch."""
    source, target = replace(X, width=13, line_gap=8), replace(Y, width=4, line_gap=2)
    task = replace(CONVOLUTION, source=Rows(source, 5, 12), target=Rows(target, 3, 4))
    changed(
        task,
        """
        CNA.CONV_CON1 GROUP_LINE_OFF=1
        CNA.DATA_SIZE0 DATAIN_WIDTH=13 DATAIN_HEIGHT=12
        CNA.DATA_SIZE2 DATAOUT_WIDTH=4
        CNA.DATA_SIZE3 DATAOUT_ATOMICS=16
        CNA.DMA_CON1 LINE_STRIDE=21
        CNA.DMA_CON2 SURF_STRIDE=827
        CNA.FC_DATA_SIZE0 DMA_WIDTH=13 DMA_HEIGHT=12
        CORE.DATAOUT_SIZE_0 DATAOUT_HEIGHT=3 DATAOUT_WIDTH=3
        DPU.DATA_CUBE_WIDTH WIDTH=3
        DPU.DATA_CUBE_NOTCH_ADDR NOTCH_ADDR_1=2 NOTCH_ADDR_0=2
        DPU.WDMA_SIZE_1 HEIGHT_WDMA=3 WIDTH_WDMA=3
        DPU_RDMA.RDMA_DATA_CUBE_WIDTH WIDTH=3
        """,
    )
    assert places(task) == PLACES


def test_an_operand_behind_a_convolution() -> None:
    stage = Elementwise(Combine.MINIMUM, Rows(FeatureMap.packed("z", 9, 6, 33, 16), 2, 4), -3, -700, 9, True, 55)
    task = replace(CONVOLUTION, output=replace(CONVOLUTION.output, elementwise=stage))
    changed(
        task,
        """
        DPU.EW_CFG EW_CVT_TYPE=1 EW_DATA_MODE=1 EDATA_SIZE=1 EW_ALU_ALGO=1 EW_RELUX_EN=1 EW_LUT_BYPASS=1 EW_OP_SRC=1
        DPU.EW_CVT_OFFSET_VALUE EW_OP_CVT_OFFSET=-3
        DPU.EW_CVT_SCALE_VALUE EW_OP_CVT_SCALE=-700 EW_OP_CVT_SHIFT=9
        DPU.EW_RELUX_CMP_VALUE EW_RELUX_CMP_DAT=55
        DPU_RDMA.RDMA_ERDMA_CFG ERDMA_DATA_MODE=1 ERDMA_DATA_SIZE=1
        DPU_RDMA.RDMA_EW_SURF_STRIDE EW_SURF_STRIDE=54
        DPU_RDMA.RDMA_FEATURE_MODE_CFG BURST_LEN=15 COMB_USE=5
        DPU_RDMA.RDMA_SURF_NOTCH SURF_NOTCH_ADDR=84
        DPU_RDMA.RDMA_EW_SURF_NOTCH EW_SURF_NOTCH=84
        """,
    )
    first = Location("z", 2 * 6 * 16)
    more = {"DPU_RDMA.RDMA_SRC_BASE_ADDR": first, "DPU_RDMA.RDMA_EW_BASE_ADDR": first + 54 * 16}
    assert places(task) == PLACES | more


TABLES = Lookup(tuple(range(-513, 0)), tuple(range(7, 520)))
LOOKED_UP = """
DPU.LUT_CFG LUT_HYBRID_PRIORITY=1 LUT_OFLOW_PRIORITY=1 LUT_LO_LE_MUX=2
DPU.LUT_INFO LUT_LO_INDEX_SELECT=5 LUT_LE_INDEX_SELECT=5
DPU.LUT_LE_START LUT_LE_START=-16384
DPU.LUT_LO_END LUT_LO_END=16384
"""


def test_a_convolution_with_a_lookup() -> None:
    task = replace(CONVOLUTION, output=replace(CONVOLUTION.output, lookup=TABLES))
    changed(task, LOOKED_UP + "DPU.EW_CFG EW_RELU_BYPASS=1 EW_OP_CVT_BYPASS=1 EW_OP_BYPASS=1")


def test_a_loader_writes_both_tables_in_order() -> None:
    one = FeatureMap.packed("x", 1, 1, 16, 16)
    output = OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0))
    task = FlyingTask(0, "load", Rows(one, 0, 1), output, Rows(one, 0, 1), tables=TABLES)
    assert task.macs == 0
    words = [int(word) for word in emit(task, RK3588).words]
    access, data = register("DPU.LUT_ACCESS_CFG").offset, register("DPU.LUT_ACCESS_DATA").offset
    port = [(word & 0xFFFF, word >> 16 & 0xFFFFFFFF) for word in words if word & 0xFFFF in (access, data)]
    signed = [entry & 0xFFFF for entry in (*TABLES.below, *TABLES.above)]
    wanted = [(access, 0x20000), *((data, value) for value in signed[:513])]
    wanted += [(access, 0x30000), *((data, value) for value in signed[513:]), (access, 0), (data, 0)]
    assert port == wanted
    pointer = register("DPU.S_POINTER").encode({"EXECUTER_PP_CLEAR": 1, "POINTER_PP_CLEAR": 1})
    assert TaskRegisters(words).raw("DPU.S_POINTER") == TaskRegisters(words).raw("DPU_RDMA.RDMA_S_POINTER") == pointer


def test_a_maximum() -> None:
    source = Rows(replace(FeatureMap.packed("x", 40, 21, 20, 16), width=19, line_gap=2), 5, 12)
    target = Rows(FeatureMap.packed("y", 9, 6, 20, 16), 3, 4)
    task = PoolingTask(0, "", source, 17, (4, 6), (2, 3), (1, 5), (3, 2), -9, target)
    pointer = "POINTER_PP_MODE=1 EXECUTER_PP_EN=1 POINTER_PP_EN=1"
    assert written(task) == table(f"""
    PPU.S_POINTER {pointer}
    PPU.DATA_CUBE_IN_WIDTH CUBE_IN_WIDTH=16
    PPU.DATA_CUBE_IN_HEIGHT CUBE_IN_HEIGHT=11
    PPU.DATA_CUBE_IN_CHANNEL CUBE_IN_CHANNEL=31
    PPU.DATA_CUBE_OUT_WIDTH CUBE_OUT_WIDTH=5
    PPU.DATA_CUBE_OUT_HEIGHT CUBE_OUT_HEIGHT=3
    PPU.DATA_CUBE_OUT_CHANNEL CUBE_OUT_CHANNEL=31
    PPU.OPERATION_MODE_CFG FLYING_MODE=1 POOLING_METHOD=1
    PPU.POOLING_KERNEL_CFG KERNEL_STRIDE_HEIGHT=1 KERNEL_STRIDE_WIDTH=2 KERNEL_HEIGHT=3 KERNEL_WIDTH=5
    PPU.POOLING_PADDING_CFG PAD_BOTTOM=3 PAD_RIGHT=2 PAD_TOP=1 PAD_LEFT=5
    PPU.PADDING_VALUE_1_CFG PAD_VALUE_0={-9 & 0xFFFFFFFF}
    PPU.PADDING_VALUE_2_CFG PAD_VALUE_1=7
    PPU.DST_SURF_STRIDE DST_SURF_STRIDE=54
    PPU.DATA_FORMAT INDEX_ADD=54
    PPU.MISC_CTRL BURST_LEN=3
    PPU_RDMA.RDMA_S_POINTER {pointer}
    PPU_RDMA.RDMA_CUBE_IN_WIDTH CUBE_IN_WIDTH=16
    PPU_RDMA.RDMA_CUBE_IN_HEIGHT CUBE_IN_HEIGHT=11
    PPU_RDMA.RDMA_CUBE_IN_CHANNEL CUBE_IN_CHANNEL=31
    PPU_RDMA.RDMA_SRC_LINE_STRIDE SRC_LINE_STRIDE=21
    PPU_RDMA.RDMA_SRC_SURF_STRIDE SRC_SURF_STRIDE=840
    PPU_RDMA.RDMA_DATA_FORMAT IN_PRECISION=1
    """)
    assert places(task) == {
        "PPU.DST_BASE_ADDR": Location("y", 3 * 6 * 16),
        "PPU_RDMA.RDMA_SRC_BASE_ADDR": Location("x", 5 * 21 * 16),
    }


@pytest.mark.parametrize(
    ("channels", "rows", "entries", "stride", "grains"),
    [
        (4096, 9, 64, 1, 52),
        (4097, 9, 64, 1, 10),
        (8192, 40, 128, 1, 8),
        (8192, 40, 112, 1, 16),
        (8192, 40, 113, 1, 8),
        (8192, 40, 1792, 1, 5),
        (8192, 40, 1792, 7, 11),
        (8192, 3, 1792, 7, 4),
    ],
)
def test_deep_maps_start_with_fewer_rows(channels: int, rows: int, entries: int, stride: int, grains: int) -> None:
    """The largest power of two of rows in 3.5 banks, at least stride, window and one, at most rows + 1."""
    kernel = KernelShape((3, 1), (stride, 1), (1, 1), 0, 0, 0)
    source = Rows(FeatureMap.packed("x", rows, 1, channels, 16), 0, rows)
    task = replace(CONVOLUTION, source=source, kernel=kernel, banks=Banks(7, 4, entries))
    found = TaskRegisters(emit(task, RK3588).words)["CNA.CONV_CON2.FEATURE_GRAINS"]
    assert found == grains


@pytest.mark.parametrize("entries", [16383, 16384, 22464])
def test_packed_pixels_are_counted_beyond_the_field(entries: int) -> None:
    """14 bits for rows in slots, the whole register for packed pixels (addendum 6.9)."""
    picture = replace(
        CONVOLUTION, source=Rows(FeatureMap.packed("x", 40, 2000, 3, 3), 0, 11), banks=Banks(7, 4, entries)
    )
    assert TaskRegisters(emit(picture, RK3588).words).raw("CNA.CBUF_CON1") == entries
    slots = replace(CONVOLUTION, banks=Banks(7, 4, entries))
    if entries < 1 << 14:
        assert TaskRegisters(emit(slots, RK3588).words).raw("CNA.CBUF_CON1") == entries
        return
    with pytest.raises(RegisterFieldError, match=f"DATA_ENTRIES: value {entries} does not fit 14 bits"):
        emit(slots, RK3588)
