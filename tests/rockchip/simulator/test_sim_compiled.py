"""The compiled arithmetic gives NumPy's bytes, is used where it can be, and notices memory that changed."""

from __future__ import annotations

import gc
import os
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sim_cases import SIMPLE, buffers, build, cases, tensors
from sim_model import Window, pack_regular
from sim_streams import BIAS, COMMANDS, FEATURES, OPERAND, OUTPUT, WEIGHTS, convolution, records, run

from rocketnpu.errors import DeviceError, SimulationError
from rocketnpu.rockchip.registers.command import pack
from rocketnpu.rockchip.simulator import Memory, Npu, core_state
from rocketnpu.rockchip.simulator.compiled import library
from rocketnpu.rockchip.simulator.compiled.library import PLAIN, Kernel
from rocketnpu.rockchip.simulator.units.weights import KernelShape, StoredWeights

SIZE = 1 << 14


class Counting(Kernel):
    """Counts the calls."""

    calls = 0

    def convolve(self, task, start, stop):
        self.calls += 1
        super().convolve(task, start, stop)


@pytest.fixture(scope="module", params=[(), (PLAIN,), ("-mno-avx512f",)], ids=["native", "plain", "no-avx512"])
def kernel(request):
    try:
        return Counting(*request.param)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _used(kernel, monkeypatch):
    monkeypatch.setattr(core_state, "find_kernel", lambda: kernel)
    kernel.calls = 0


def both(words, memory, strict=True, threads=1):
    """Run one list compiled and by NumPy on copies of the memory; hold everything against each other."""
    found = []
    for compiled in (True, False):
        mapped, copies = Memory(), {address: content.copy() for address, content in memory.items()}
        for address, content in copies.items():
            mapped.map(address, content)
        mapped.map(COMMANDS, words.view(np.uint8))
        npu = Npu(mapped, strict=strict, compiled=compiled, threads=threads)
        try:
            report = [npu.run_task(COMMANDS, words.size, task=0), npu.run_task(COMMANDS, words.size, task=1)]
        except SimulationError as error:
            report = [str(error)]
        found.append((report, copies))
    (first, compiled_memory), (second, plain_memory) = found
    assert first == second
    for address, content in plain_memory.items():
        assert np.array_equal(compiled_memory[address], content), hex(address)
    return first


@st.composite
def stages(draw):
    """What the DPU may do to a sum: fields to set, and whether BS reads records with a multiplier."""
    fields = {"DPU.OUT_CVT_SHIFT": {"CVT_TYPE": draw(st.integers(0, 1)), "CVT_ROUND": draw(st.integers(0, 1))}}
    fields["CORE.CLIP_TRUNCATE"] = {
        "CLIP_TRUNCATE": draw(st.sampled_from([0, 0, 3])),
        "ROUND_TYPE": draw(st.integers(0, 1)),
    }
    fields["DPU.OFFSET_PEND"] = {"OFFSET_PEND": draw(st.integers(-200, 200))}
    if draw(st.booleans()):
        fields["DPU.BN_CFG"] = {"BN_BYPASS": 0, "BN_RELU_BYPASS": 0, "BN_RELUX_EN": draw(st.integers(0, 1))}
        fields["DPU.BN_RELUX_CMP_VALUE"] = {"BN_RELUX_CMP_DAT": draw(st.integers(0, 20000))}
    multiplier = draw(st.booleans())
    if multiplier:
        shifts = draw(st.integers(0, 15)), draw(st.integers(0, 15))
        fields["DPU.BS_CFG"] = {"BS_MUL_BYPASS": 0, "BS_MUL_PRELU": draw(st.integers(0, 1))}
        fields["DPU.BS_MUL_CFG"] = {"BS_MUL_SHIFT_VALUE": shifts[0], "BS_MUL_SRC": 1}
        fields["DPU.DATA_FORMAT"] = {"BS_MUL_SHIFT_VALUE_NEG": shifts[1]}
        fields["DPU_RDMA.RDMA_BRDMA_CFG"] = {"BRDMA_DATA_USE": 7}
        fields["DPU.BS_OW_CFG"] = {"OW_SRC": 1}
    return fields, multiplier


@given(cases(), stages(), st.integers(1, 3))
@example(SIMPLE, ({}, False), 1)
@example(SIMPLE | {"depthwise": True, "channels": 70, "kernels": 70}, ({}, False), 2)
@example(SIMPLE | {"kernel": (1, 1), "before": (0, 0), "stride": (2, 1), "out": (3, 5)}, ({}, False), 1)
@example(SIMPLE | {"kernel": (1, 1), "before": (0, 0), "stride": (1, 2), "out": (6, 3)}, ({}, False), 1)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_any_geometry_and_stage(kernel, case, dpu, threads):
    x, weights, bias = tensors(case)
    stream, _ = build(case)
    fields, multiplier = dpu
    for path, values in fields.items():
        stream.set(path, **values)
    memory = buffers(case, x, weights, bias)
    if multiplier:
        random = np.random.default_rng(7)
        memory[BIAS] = records(bias, random.integers(-50, 50, bias.size), random.integers(-9999, 9999, bias.size))
    before = kernel.calls
    both(stream.words(), memory, threads=threads)
    assert kernel.calls > before


def operand_stream(algorithm, **cvt):
    """A convolution that hosts an addition, its operand read by two engines in turn (spec 3.8)."""
    case = SIMPLE | {"kernels": 70, "operand": 0}
    stream, _ = build(case)
    stream.fields["DPU.EW_CFG"] = {}
    stream.set("DPU.EW_CFG", EW_DATA_MODE=1, EDATA_SIZE=1, EW_ALU_ALGO=algorithm, EW_LUT_BYPASS=1, EW_OP_SRC=1, **cvt)
    stream.set("DPU.EW_CVT_OFFSET_VALUE", EW_OP_CVT_OFFSET=-9)
    stream.set("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=27374, EW_OP_CVT_SHIFT=6)
    stream.set("DPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=OPERAND)
    stream.set("DPU_RDMA.RDMA_EW_BASE_ADDR", EW_BASE_ADDR=OPERAND + 30 * 16)
    stream.fields["DPU_RDMA.RDMA_ERDMA_CFG"] = {}
    stream.set("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DATA_MODE=1, ERDMA_DATA_SIZE=1)
    stream.set("DPU_RDMA.RDMA_FEATURE_MODE_CFG", MRDMA_DISABLE=0, COMB_USE=5)
    stream.set("DPU_RDMA.RDMA_SURF_NOTCH", SURF_NOTCH_ADDR=30).set("DPU_RDMA.RDMA_EW_SURF_NOTCH", EW_SURF_NOTCH=30)
    stream.set("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=30)
    memory = buffers(case, *tensors(case))
    memory[OPERAND] = np.random.default_rng(8).integers(0, 256, 96 * 30, dtype=np.uint8)
    return stream, memory


@pytest.mark.parametrize("algorithm", [0, 1, 2, 4, 5, 6])
@pytest.mark.parametrize("cvt", [{"EW_OP_CVT_BYPASS": 1}, {"EW_CVT_TYPE": 1}, {"EW_CVT_ROUND": 1, "EW_RELU_BYPASS": 1}])
def test_operands_from_memory(kernel, algorithm, cvt):
    stream, memory = operand_stream(algorithm, **cvt)
    both(stream.words(), memory)
    assert bool(kernel.calls) == (algorithm < 5), "absolute value and negation are NumPy's"


def test_an_output_over_its_own_operand_is_left_to_numpy(kernel):
    stream, memory = operand_stream(2, EW_OP_CVT_BYPASS=1)
    stream.set("DPU.DST_BASE_ADDR", DST_BASE_ADDR=OPERAND)
    both(stream.words(), memory)
    assert kernel.calls == 0


def test_surfaces_over_each_other_are_left_to_numpy(kernel):
    stream, _ = build(SIMPLE)
    stream.set("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=7).set("DPU.SURFACE_ADD", SURF_ADD=14)
    both(stream.words(), buffers(SIMPLE, *tensors(SIMPLE)))
    assert kernel.calls == 0


@pytest.mark.parametrize("precision", [0, 1, 4])
def test_results_of_8_16_and_32_bits(kernel, precision):
    size = {0: 1, 1: 2, 4: 4}[precision]
    stream, _ = build(SIMPLE)
    stream.set("DPU.DATA_FORMAT", OUT_PRECISION=precision).set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=9)
    stream.set("DPU.BS_OW_CFG", **{f"SIZE_E_{n}": 2 * size - 1 for n in range(3)})
    stream.set("DPU.SURFACE_ADD", SURF_ADD=30 * 2 * size)
    memory = buffers(SIMPLE, *tensors(SIMPLE)) | {OUTPUT: np.zeros(64 * 30 * size, np.uint8)}
    both(stream.words(), memory)
    assert kernel.calls == 2


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
def test_packed_pictures_and_their_converter(kernel, signed, first):
    window = Window(stride=(2, 2), before=(1, 1), out=(4, 9))
    stream = convolution(7, 18, 16, 8, window, (3, 3), out_scale=(19661, 24))
    stream.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=10)
    stream.set("CNA.CBUF_CON1", DATA_ENTRIES=7 * 18)
    stream.set("CNA.DMA_CON1", LINE_STRIDE=20).set("CNA.DMA_CON2", SURF_STRIDE=120)
    stream.set("CNA.CVT_CON0", DATA_SIGN=signed, CVT_TYPE=first, CVT_BYPASS=0, CVT_TRUNCATE_1=3)
    for lane, scale in enumerate((1, 9, 3, 1)):
        stream.set(f"CNA.CVT_CON{lane + 1}", **{f"CVT_SCALE{lane}": scale, f"CVT_OFFSET{lane}": -100 * lane})
    stream.set("CNA.CVT_CON5", PER_CHANNEL_CVT_EN=0xFFFF).set("CNA.PAD_CON1", PAD_VALUE=-128)
    random = np.random.default_rng(3)
    weights = np.zeros((8, 3, 3, 16), np.int8)
    weights[..., :3] = random.integers(-128, 128, (8, 3, 3, 3))
    memory = {
        FEATURES: random.integers(0, 256, 7 * 20 * 3, dtype=np.uint8),
        WEIGHTS: pack_regular(weights),
        BIAS: random.integers(-500, 500, 8, dtype=np.int32).view(np.uint8),
        OUTPUT: np.zeros(32 * 36, np.uint8),
    }
    both(stream.words(), memory)
    assert kernel.calls == 2


def test_lines_in_groups_with_gaps(kernel):
    case = SIMPLE | {"height": 10, "width": 3, "out": (10, 3)}
    stream, _ = build(case)
    stream.set("CNA.DMA_CON1", LINE_STRIDE=17).set("CNA.DMA_CON2", SURF_STRIDE=60)
    memory = buffers(case, *tensors(case))
    memory[FEATURES] = np.random.default_rng(2).integers(0, 256, 16 * 300, dtype=np.uint8)
    both(stream.words(), memory)
    assert kernel.calls == 2


def hostile(words, data):
    """Change one to four of a list's words, whole or by a bit."""
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 4))
        old = words[place] >> 16 & 0xFFFFFFFF
        bit = data.draw(st.integers(0, 31))
        value = data.draw(st.sampled_from((old ^ 1 << bit, 0, 1, 0xFFFF, FEATURES, OUTPUT)))
        words[place] = pack(words[place] >> 48, words[place] & 0xFFFF, value)
    return np.array(words, "<u8")


@given(st.data(), st.booleans(), st.booleans())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_hostile_lists_end_alike(data, depthwise, strict):
    """The same bytes, reports and errors, whatever a list's fields hold."""
    kernels = 48 if depthwise else 40
    window = Window(before=(1, 1), out=(8, 8))
    stream = convolution(8, 8, 48, kernels, window, (3, 3), depthwise=depthwise, out_scale=(20000, 22))
    random = np.random.default_rng(0)
    spots = (FEATURES, WEIGHTS, OUTPUT, BIAS, OPERAND)
    memory = {address: random.integers(0, 256, SIZE, dtype=np.uint8) for address in spots}
    both(hostile(stream.words().tolist(), data), memory, strict)


@pytest.mark.parametrize("where", [FEATURES, WEIGHTS, BIAS])
def test_changed_memory_is_noticed(kernel, where):
    stream, _ = build(SIMPLE)
    memory = buffers(SIMPLE, *tensors(SIMPLE))
    npu, _ = run(stream, memory)
    words = stream.words()
    before = memory[OUTPUT].copy()
    memory[where] ^= 0x11
    npu.run_task(COMMANDS, words.size)
    after = memory[OUTPUT].copy()
    fresh = memory | {OUTPUT: np.full_like(after, 0x55)}
    run(stream, fresh, npu=None)
    assert kernel.calls == 3
    assert not np.array_equal(after, before)
    assert np.array_equal(after, fresh[OUTPUT])


def test_memory_mapped_anew_is_noticed(kernel):
    stream, _ = build(SIMPLE)
    memory = buffers(SIMPLE, *tensors(SIMPLE))
    npu, _ = run(stream, memory)
    other = np.full_like(memory[OUTPUT], 0x77)
    npu.memory.unmap(OUTPUT)
    npu.memory.map(OUTPUT, other)
    expected = memory[OUTPUT].copy()
    memory[OUTPUT][:] = 0
    npu.run_task(COMMANDS, stream.words().size)
    assert kernel.calls == 2
    assert np.array_equal(other[: 64 * 30], expected[: 64 * 30])
    assert not memory[OUTPUT].any()


def test_each_address_space_has_its_own_places(kernel):
    """The emulated node's cores work on one file's buffers after another's."""
    stream, _ = build(SIMPLE)
    words = stream.words()
    spaces = []
    for seed in (1, 2, 1):
        memory = buffers(SIMPLE, *tensors(SIMPLE, seed))
        mapped = Memory()
        for address, content in (memory | {COMMANDS: words.view(np.uint8)}).items():
            mapped.map(address, content)
        spaces.append((memory, mapped))
    npu = Npu(spaces[0][1])
    for _, mapped in (*spaces, *spaces[:2]):
        npu.memory = mapped
        npu.run_task(COMMANDS, words.size)
    first, second, third = (memory[OUTPUT] for memory, _ in spaces)
    assert kernel.calls == 5
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


def test_views_do_not_outlive_their_buffers(kernel):
    stream, _ = build(SIMPLE)
    memory = buffers(SIMPLE, *tensors(SIMPLE))
    npu, _ = run(stream, memory)
    for address in tuple(memory):
        gone = weakref.ref(memory.pop(address))
        npu.memory.unmap(address)
        gc.collect()
        assert gone() is None, hex(address)


def test_weights_beyond_16_bits_are_left_to_numpy():
    shape = KernelShape(1, 1, 16, 1, False)
    stored = StoredWeights(np.full(16, 127, np.uint8), shape)
    assert stored.pack(1, np.array([32767 - 127])) is not None
    assert stored.pack(1, np.array([32768 - 127])) is None


def test_sums_beyond_32_bits_are_left_to_numpy():
    shape = KernelShape(1, 1, 1024, 1, False)
    stored = StoredWeights(np.zeros(1024, np.uint8), shape)
    assert stored.pack(1, np.array([16383])) is not None
    assert stored.pack(1, np.array([16384])) is None


def test_without_a_compiler_numpy_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path))
    assert library.find_kernel.__wrapped__() is None
    assert not list(tmp_path.iterdir())


def test_threads_survive_a_fork(kernel):
    """A child has none of its parent's threads, and must not wait for them."""
    stream, _ = build(SIMPLE)
    memory = buffers(SIMPLE, *tensors(SIMPLE))
    mapped = Memory()
    for address, content in memory.items():
        mapped.map(address, content)
    words = stream.words()
    mapped.map(COMMANDS, words.view(np.uint8))
    npu = Npu(mapped, threads=2)
    npu.run_task(COMMANDS, words.size)
    expected = memory[OUTPUT].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process of several threads forks is the point
        child = os.fork()
    if not child:
        memory[OUTPUT][:] = 0
        npu.run_task(COMMANDS, words.size)
        os._exit(0 if np.array_equal(memory[OUTPUT], expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
