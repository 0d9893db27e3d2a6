"""What a convolution or element-wise task may not ask for."""

import numpy as np
import pytest
from sim_model import Window, pack_regular, to_slots
from sim_streams import BIAS, FEATURES, OPERAND, OUTPUT, WEIGHTS, convolution, flying, flying_pair, run

from rocketnpu.errors import SimulationError

ANY = np.random.default_rng(1)


def stream(kernel=(3, 3), size=(8, 8), channels=32, kernels=32):
    window = Window(before=(kernel[0] // 2, kernel[1] // 2), out=size)
    return convolution(*size, channels, kernels, window, kernel, out_scale=(20000, 22))


def buffers(kernel=(3, 3), size=(8, 8), channels=32, kernels=32):
    x = ANY.integers(-128, 128, (*size, channels), dtype=np.int8)
    weights = ANY.integers(-128, 128, (kernels, *kernel, channels), dtype=np.int8)
    return {
        FEATURES: to_slots(x),
        WEIGHTS: pack_regular(weights),
        BIAS: np.zeros(4 * kernels, np.uint8),
        OUTPUT: np.zeros(size[0] * size[1] * 64, np.uint8),
    }


HARD = [
    ("CNA.CBUF_CON0", {"DATA_BANK": 0}, "data and"),
    ("CNA.CBUF_CON0", {"WEIGHT_BANK": 12}, "there are 12"),
    ("CNA.CONV_CON1", {"CONV_MODE": 1}, "CONV_MODE 1"),
    ("CNA.CONV_CON1", {"DECONV": 1}, "transposed"),
    ("CNA.CONV_CON1", {"IN_PRECISION": 2}, "not modelled"),
    ("CNA.CONV_CON1", {"PROC_PRECISION": 2}, "not modelled"),
    ("CNA.CONV_CON1", {"ARGB_IN": 8}, "packed input needs"),
    ("CNA.CONV_CON1", {"NONALIGN_DMA": 1}, "packed input needs"),
    ("CNA.CONV_CON3", {"CONV_X_STRIDE": 0}, "strides 0"),
    ("CNA.CONV_CON3", {"NN_MODE": 1}, "co-work"),
    ("CNA.DATA_SIZE0", {"DATAIN_WIDTH": 0}, "input of 0x8"),
    ("CNA.DATA_SIZE0", {"DATAIN_HEIGHT": 5}, "see padding only"),
    ("CNA.PAD_CON0", {"PAD_TOP": 3}, "see padding only"),
    ("CNA.DATA_SIZE1", {"DATAIN_CHANNEL": 40}, "multiple of 16"),
    ("CNA.DATA_SIZE2", {"DATAOUT_WIDTH": 7}, "in rows of 7"),
    ("CNA.WEIGHT_SIZE2", {"WEIGHT_KERNELS": 0}, "0 kernels"),
    ("CNA.WEIGHT_SIZE2", {"WEIGHT_WIDTH": 0}, "kernels of 0x3"),
    ("CNA.CVT_CON0", {"CVT_BYPASS": 0}, "input converter is on"),
    ("CNA.DCOMP_CTRL", {"DECOMP_CONTROL": 1}, "compressed"),
    ("CNA.FEATURE_DATA_ADDR", {"FEATURE_BASE_ADDR": FEATURES + 16}, "leaves the mapped buffers"),
    ("CNA.FEATURE_DATA_ADDR", {"FEATURE_BASE_ADDR": 0}, "leaves the mapped buffers"),
    ("CNA.DMA_CON2", {"SURF_STRIDE": -1000}, "leaves the mapped buffers"),
    ("CNA.DCOMP_ADDR0", {"DECOMPRESS_ADDR0": 0xFFFFFFF0}, "leaves the mapped buffers"),
    ("CORE.MISC_CFG", {"PROC_PRECISION": 2}, "only int8"),
    ("CORE.MISC_CFG", {"DW_EN": 1}, "CONV_CON1 says otherwise"),
    ("CORE.DATAOUT_SIZE_0", {"DATAOUT_WIDTH": 6}, "CNA makes 8x8"),
    ("CORE.DATAOUT_SIZE_1", {"DATAOUT_CHANNEL": 15}, "16 channels for the DPU's 32"),
    ("DPU.FEATURE_MODE_CFG", {"OUTPUT_MODE": 3}, "OUTPUT_MODE 3"),
    ("DPU.FEATURE_MODE_CFG", {"FLYING_MODE": 1}, "contradicts the convolution"),
    ("DPU.FEATURE_MODE_CFG", {"CONV_MODE": 3}, "contradicts the convolution"),
    ("DPU.FEATURE_MODE_CFG", {"TP_EN": 1}, "transposition"),
    ("DPU.DATA_FORMAT", {"OUT_PRECISION": 2}, "OUT_PRECISION 2"),
    ("DPU.DATA_FORMAT", {"PROC_PRECISION": 2}, "not modelled"),
    ("DPU.DATA_CUBE_WIDTH", {"WIDTH": 8}, "cube of 9x8|WDMA_SIZE_1"),
    ("DPU.DATA_CUBE_CHANNEL", {"ORIG_CHANNEL": 32}, "33 real channels of 32"),
    ("DPU.DST_BASE_ADDR", {"DST_BASE_ADDR": OUTPUT + 3072 + 16}, "leaves the mapped buffers"),
    ("DPU.DST_SURF_STRIDE", {"DST_SURF_STRIDE": 1 << 20}, "SURFACE_ADD|leaves"),
    ("DPU.BS_CFG", {"BS_ALU_ALGO": 7}, "BS_ALU_ALGO 7"),
    ("DPU.BS_MUL_CFG", {"BS_TRUNCATE_SRC": 1}, "per-channel shift"),
    ("DPU.BS_OW_CFG", {"OW_SRC": 1}, "OW operand comes from memory"),
    ("DPU.OUT_CVT_SCALE", {"FP32TOFP16_EN": 1}, "fp16"),
    ("DPU_RDMA.RDMA_BRDMA_CFG", {"BRDMA_DATA_USE": 0}, "no engine reads it"),
    ("DPU_RDMA.RDMA_BRDMA_CFG", {"BRDMA_DATA_USE": 9}, "per-channel shifts"),
    ("DPU_RDMA.RDMA_BS_BASE_ADDR", {"BS_BASE_ADDR": BIAS + 4}, "leaves the mapped buffers"),
    ("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", {"HEIGHT": 6}, "cube of 8x7x32"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"MRDMA_DISABLE": 0}, "never ends"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"COMB_USE": 3}, "COMB_USE 3"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"FLYING_MODE": 1, "MRDMA_DISABLE": 0}, "FLYING_MODE is set behind"),
]


@pytest.mark.parametrize(("path", "fields", "text"), HARD)
@pytest.mark.parametrize("strict", [True, False])
def test_undefined_convolutions_are_refused(path, fields, text, strict):
    s = stream().set(path, **fields)
    with pytest.raises(SimulationError, match=text) as caught:
        run(s, buffers(), strict=strict)
    assert caught.value.task == 0
    assert caught.value.unit in ("CNA", "CORE", "DPU", "DPU_RDMA")
    assert caught.value.register


DEFECTS = [
    ("CNA.CBUF_CON0", {"FC_DATA_BANK": 1}, "CBUF_CON0"),
    ("CNA.CBUF_CON1", {"DATA_ENTRIES": 15}, "CBUF_CON1"),
    ("CNA.WEIGHT_SIZE0", {"WEIGHT_BYTES": 4}, "WEIGHT_SIZE0"),
    ("CNA.WEIGHT_SIZE1", {"WEIGHT_BYTES_PER_KERNEL": 4}, "WEIGHT_SIZE1"),
    ("CNA.FC_DATA_SIZE0", {"DMA_WIDTH": 9}, "FC_DATA_SIZE0"),
    ("CNA.FC_DATA_SIZE0", {"DMA_HEIGHT": 9}, "FC_DATA_SIZE0"),
    ("CNA.FC_DATA_SIZE1", {"DMA_CHANNEL": 16}, "FC_DATA_SIZE1"),
    ("CNA.CBUF_CON0", {"WEIGHT_REUSE": 1}, "WEIGHT_REUSE"),
    ("CNA.CBUF_CON0", {"DATA_REUSE": 1}, "DATA_REUSE"),
    ("DPU.BS_OW_CFG", {"SIZE_E_0": 3, "SIZE_E_1": 3, "SIZE_E_2": 3}, "BS_OW_CFG"),
    ("DPU.BS_OW_CFG", {"SIZE_E_1": 3}, "BS_OW_CFG"),
    ("DPU.WDMA_SIZE_1", {"WIDTH_WDMA": 6}, "WDMA_SIZE_1"),
    ("DPU.DATA_CUBE_NOTCH_ADDR", {"NOTCH_ADDR_1": 1}, "DATA_CUBE_NOTCH_ADDR"),
    ("DPU.OUT_CVT_SCALE", {"OUT_CVT_SCALE": 32768}, "OUT_CVT_SCALE"),
]


@pytest.mark.parametrize(("path", "fields", "text"), DEFECTS)
def test_defects_are_refused_or_visible(path, fields, text):
    s, memory = stream(), buffers()
    # One row more than is read, so that a wider fetch stays inside the buffer.
    memory[FEATURES] = np.concatenate([memory[FEATURES], np.zeros(1024, np.uint8)])
    run(s, memory)
    right = memory[OUTPUT].copy()
    s.set(path, **fields)
    with pytest.raises(SimulationError, match=text):
        run(s, memory)
    _, report = run(s, memory, strict=False)
    assert any(text in defect for defect in report.defects)
    assert np.mean(memory[OUTPUT][:2048] != right[:2048]) > 0.9


def test_fewer_rows_fetched_than_given_are_right():
    """DATAIN_HEIGHT decides, not DMA_HEIGHT: a shape that runs and is exact on RK3588 has less there (outside 1)."""
    s, memory = stream(), buffers()
    run(s, memory)
    right = memory[OUTPUT].copy()
    memory[OUTPUT][:] = 0
    _, report = run(s.set("CNA.FC_DATA_SIZE0", DMA_HEIGHT=7), memory)
    assert report.remarks == ()
    assert np.array_equal(memory[OUTPUT], right)


@pytest.mark.parametrize(("width", "channels"), [(2047, 128), (1023, 192), (682, 256)])
def test_a_row_may_be_so_long(width, channels):
    """(ceil(slots / 4) - 1) * width <= 2047, slots of a pixel (outside 2.6b); one pixel more and it is wrong."""
    entries = channels // 64 - 1
    assert entries * width <= 2047 < entries * (width + 1)
    for columns in (width - 1, width):
        run(convolution(1, columns, channels, 32, Window(out=(1, columns))), buffers((1, 1), (1, columns), channels))
    s = convolution(1, width + 1, channels, 32, Window(out=(1, width + 1))) if width < 2047 else None
    if s is None:
        return  # the width's field ends there
    with pytest.raises(SimulationError, match=f"make a row of {entries * (width + 1)}"):
        run(s, buffers((1, 1), (1, width + 1), channels))
    _, report = run(s, buffers((1, 1), (1, width + 1), channels), strict=False)
    assert "the last channels are read wrongly" in report.defects[0]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("DPU.BS_CFG", {"BS_BYPASS": 1}),
        ("DPU.BS_CFG", {"BS_ALU_SRC": 0}),
        ("DPU_RDMA.RDMA_BRDMA_CFG", {"BRDMA_DATA_USE": 3}),
        ("DPU_RDMA.RDMA_BRDMA_CFG", {"BRDMA_DATA_USE": 5}),
        ("DPU_RDMA.RDMA_NRDMA_CFG", {"NRDMA_DATA_USE": 1}),
    ],
)
def test_operands_that_nobody_consumes(path, fields):
    """What BRDMA fetches and BS leaves behind hung the next large task of the core (mainline RK3588; outside 2.6a)."""
    s, memory = stream().set(path, **fields), buffers()
    memory[BIAS] = np.zeros(4096, np.uint8)
    s.set("DPU_RDMA.RDMA_BN_BASE_ADDR", BN_BASE_ADDR=BIAS)
    with pytest.raises(SimulationError, match="are fetched and not consumed"):
        run(s, memory)
    _, report = run(s, memory, strict=False)
    assert report.defects == ()
    assert "are fetched and not consumed" in report.remarks[0]


@pytest.mark.parametrize("kernels", [1, 30, 31])
def test_too_few_kernels_is_a_defect(kernels):
    s = stream().set("CNA.WEIGHT_SIZE2", WEIGHT_KERNELS=kernels).set("CNA.WEIGHT_SIZE0", WEIGHT_BYTES=kernels * 288)
    text = f"32 real channels, but kernels for {kernels} only"
    with pytest.raises(SimulationError, match=text):
        run(s, buffers())
    _, report = run(s, buffers(), strict=False)
    assert text in report.defects[0]


@pytest.mark.parametrize("strict", [True, False])
def test_features_must_fit_their_banks(strict):
    """M = 144, K = 224: 144 rows of 4 entries need 2 banks, although the bytes fill 63/64 of one (addendum 7.1)."""
    window = Window(out=(144, 1))
    s = convolution(144, 1, 224, 32, window)
    memory = buffers((1, 1), (144, 1), 224)
    run(s, memory, strict=strict)
    s.set("CNA.CBUF_CON0", DATA_BANK=1, WEIGHT_BANK=11)
    with pytest.raises(SimulationError, match="need 2 data banks, 1 are given"):
        run(s, memory, strict=strict)


def test_a_full_bank_is_full():
    """M = 128, K = 256: exactly 512 entries (addendum 7.1: an exactly full bank is fine)."""
    s = convolution(128, 1, 256, 32, Window(out=(128, 1)))
    assert s.fields["CNA.CBUF_CON0"]["DATA_BANK"] == 1
    run(s, buffers((1, 1), (128, 1), 256))


def test_one_kernel_must_fit_the_weight_banks():
    s = convolution(6, 6, 512, 32, Window(out=(1, 1)), (6, 6))
    s.set("CNA.CBUF_CON0", DATA_BANK=3, WEIGHT_BANK=1)
    run(s, buffers((6, 6), (6, 6), 512))
    s = convolution(9, 8, 512, 4, Window(out=(1, 1)), (9, 8))
    s.set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
    with pytest.raises(SimulationError, match="a kernel of 36864 bytes does not fit 1 weight banks"):
        run(s, buffers((9, 8), (9, 8), 512, 4))


def test_weights_that_were_streamed_cannot_be_reused():
    s = convolution(2, 2, 1024, 96, Window(out=(2, 2)))
    s.set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
    memory = buffers((1, 1), (2, 2), 1024, 96) | {OUTPUT: np.zeros(4 * 96, np.uint8)}
    npu, _ = run(s, memory)
    words = s.set("CNA.CBUF_CON0", WEIGHT_REUSE=1).words()
    npu.memory.map(0x900000, words.view(np.uint8))
    with pytest.raises(SimulationError, match="were streamed"):
        npu.run_task(0x900000, words.size)


def test_reuse_does_not_reach_across_jobs():
    s = stream()
    npu, _ = run(s, buffers())
    npu.begin_job()
    words = s.set("CNA.CBUF_CON0", WEIGHT_REUSE=1).words()
    npu.memory.map(0x900000, words.view(np.uint8))
    with pytest.raises(SimulationError, match="WEIGHT_REUSE"):
        npu.run_task(0x900000, words.size)


FLYING = [
    ("DPU.FEATURE_MODE_CFG", {"FLYING_MODE": 0}, "need FLYING_MODE"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"COMB_USE": 5}, "COMB_USE 0"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"MRDMA_DISABLE": 1}, "needs MRDMA on"),
    ("DPU_RDMA.RDMA_FEATURE_MODE_CFG", {"IN_PRECISION": 2}, "only int8"),
    ("DPU_RDMA.RDMA_ERDMA_CFG", {"ERDMA_DISABLE": 1}, "ERDMA is off"),
    ("DPU_RDMA.RDMA_ERDMA_CFG", {"ERDMA_DATA_MODE": 2}, "hangs"),
    ("DPU_RDMA.RDMA_ERDMA_CFG", {"ERDMA_DATA_MODE": 0}, "EW_DATA_MODE 1, ERDMA_DATA_MODE 0"),
    ("DPU_RDMA.RDMA_ERDMA_CFG", {"ERDMA_DATA_SIZE": 3}, "8 bit"),
    ("DPU_RDMA.RDMA_SRC_BASE_ADDR", {"SRC_BASE_ADDR": 0}, "leaves the mapped"),
    ("DPU_RDMA.RDMA_EW_BASE_ADDR", {"EW_BASE_ADDR": 0}, "leaves the mapped"),
    ("DPU_RDMA.RDMA_SRC_DMA_CFG", {"UNPOOLING_EN": 1, "KERNEL_WIDTH": 1}, "replication"),
    ("DPU.EW_CFG", {"EW_ALU_ALGO": 3}, "no integer meaning"),
    ("DPU.EW_CFG", {"EDATA_SIZE": 3}, "8 bit"),
    ("DPU.EW_CFG", {"EW_EQUAL_EN": 1}, "comparison"),
    ("DPU.BS_OW_CFG", {"OW_SRC": 1, "OD_BYPASS": 0}, "OW operand"),
]


@pytest.mark.parametrize(("path", "fields", "text"), FLYING)
def test_undefined_flying_tasks_are_refused(path, fields, text):
    s = flying_pair(4, 4, 32, EW_ALU_ALGO=2).set(path, **fields)
    tensor = np.zeros(512, np.uint8)
    with pytest.raises(SimulationError, match=text):
        run(s, {FEATURES: tensor, OPERAND: tensor.copy(), OUTPUT: tensor.copy()}, strict=False)


def test_constants_that_differ_are_refused():
    s = flying_pair(4, 4, 32, EW_ALU_ALGO=2).set("DPU.EW_CFG", EW_OP_SRC=0).set("DPU.EW_OP_VALUE_3", EW_OPERAND_3=1)
    tensor = np.zeros(512, np.uint8)
    with pytest.raises(SimulationError, match="eight constants differ"):
        run(s, {FEATURES: tensor, OUTPUT: tensor.copy()})


def test_misaligned_addresses():
    s = flying(4, 4, 32).set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=OUTPUT + 4)
    tensor = np.arange(512).astype(np.uint8)
    memory = {FEATURES: tensor, OUTPUT: np.zeros(512, np.uint8)}
    with pytest.raises(SimulationError, match="multiple of 16"):
        run(s, memory)
    _, report = run(s, memory, strict=False)
    assert "low bits are ignored" in report.remarks[0]
    assert np.array_equal(memory[OUTPUT], tensor)
