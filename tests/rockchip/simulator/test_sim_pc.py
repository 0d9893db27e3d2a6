"""Fetching lists, register groups, links (spec 1.3 to 1.8)."""

import numpy as np
import pytest
from sim_model import to_slots
from sim_streams import COMMANDS, FEATURES, OUTPUT, Stream, flying, run

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, pack, write
from rocketnpu.rockchip.registers.rk3588 import DPU
from rocketnpu.rockchip.simulator import Memory, Npu, pc
from rocketnpu.rockchip.simulator.pc import parse
from rocketnpu.rockchip.simulator.registers import RegisterFile, registers

SHAPE = (2, 3, 16)


def source():
    return np.arange(96).astype(np.int8).reshape(SHAPE)


def memory_for(**extra):
    memory = Memory()
    for address, data in {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8), **extra}.items():
        memory.map(address, data)
    return memory


def offset_copy(offset):
    return flying(*SHAPE).set("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=offset)


def test_enable_word_without_marker():
    words = np.array([*flying(*SHAPE).body(), NOP, enable(["DPU", "DPU_RDMA"])], "<u8")
    with pytest.raises(SimulationError, match="no marker word"):
        run(words, {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)})


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_truncated_lists(cut):
    words = flying(*SHAPE).words()[:-cut].copy()
    with pytest.raises(SimulationError, match="truncated"):
        run(words, {})


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x0999_0000_0001_1234, "target 0x0999"),
        (0x0000_0000_0001_4010, "target 0x0000"),
        (pack(0x0101, 0x0008, 1), "PC register 0x0008"),
    ],
)
def test_words_that_no_unit_takes(word, text):
    stream = flying(*SHAPE)
    stream.first = [word]
    with pytest.raises(SimulationError, match=text) as caught:
        run(stream, {})
    assert caught.value.unit == "PC"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (pack(0x1001, 0x4FF0, 7), "no such register"),
        (pack(0x1001, 0x4030, 0xFFFF_0000), "reserved bits"),
    ],
)
def test_oddities_are_refused_or_remarked(word, text):
    memory = {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)}
    stream = flying(*SHAPE)
    stream.first = [word]
    with pytest.raises(SimulationError, match=text):
        run(stream, memory)
    _, report = run(stream, memory, strict=False)
    assert text in report.remarks[0]
    assert report.defects == ()
    assert memory[OUTPUT].tolist() == list(range(96))


def test_low_target_byte_and_global_enable_are_accepted():
    """Both occur in one published listing (spec 1.2, 1.3)."""
    words = flying(*SHAPE).words()
    words[0] = words[0] & np.uint64(0xFF00_FFFF_FFFF_FFFF) | np.uint64(0x0003_0000_0000_0000)
    words[-1] = np.uint64(pack(0x0081, 0xF008, 0x18))
    memory = {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)}
    run(words, memory)
    assert memory[OUTPUT].tolist() == list(range(96))


def test_words_fetched_too_far_have_no_effect():
    words = np.concatenate([flying(*SHAPE).words(), np.full(4, 0xFFFF_FFFF_FFFF_FFFF, "<u8")])
    memory = {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)}
    run(words, memory)
    assert memory[OUTPUT].tolist() == list(range(96))


@pytest.mark.parametrize("units", [("CNA",), ("DPU",), ("PPU",), ("CNA", "CORE", "DPU", "DPU_RDMA", "PPU", "PPU_RDMA")])
def test_unknown_sets_of_units(units):
    with pytest.raises(SimulationError, match="no known program starts"):
        run(Stream(units), {}, strict=False)


@pytest.mark.parametrize("mask", [0, 2, 0x80])
def test_enable_masks_that_name_no_unit(mask):
    with pytest.raises(SimulationError, match="enable mask"):
        parse(np.array([MARKER, pack(0x0081, 8, mask)], "<u8").tobytes())


def test_lists_must_be_aligned_mapped_and_not_empty():
    npu = Npu(memory_for())
    for address, words, text in ((COMMANDS, 4, "leaves the mapped"), (8, 4, "multiple of 16"), (16, 0, "0 words")):
        with pytest.raises(SimulationError, match=text) as caught:
            npu.run_task(address, words, task=7)
        assert caught.value.task == 7


def test_the_last_write_of_a_register_counts():
    stream = offset_copy(5)
    stream.first = [write("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=99)]
    memory = {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)}
    run(stream, memory)
    assert memory[OUTPUT][0] == 5


def test_groups_alternate_and_keep_their_registers():
    """Two full lists, then a difference: it completes the list two tasks back (spec 1.6, addendum 8.2)."""
    memory = memory_for()
    delta = Stream(("DPU", "DPU_RDMA"))
    for unit, name in (("DPU", "S_POINTER"), ("DPU_RDMA", "RDMA_S_POINTER")):
        delta.set(f"{unit}.{name}", POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)
    delta.set("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=1)
    lists = [offset_copy(10), offset_copy(20), delta, delta, delta]
    npu, found, raised = Npu(memory), [], []
    for index, stream in enumerate(lists):
        words = stream.words()
        memory.map(0x900000 + 0x10000 * index, words.view(np.uint8))
        raised.append(npu.run_task(0x900000 + 0x10000 * index, words.size).interrupts)
        found.append(memory.view(OUTPUT, (96,), unit="", register="")[4])
    assert found == [14, 24, 12, 22, 12]
    assert raised == [0x100, 0x200, 0x100, 0x200, 0x100]


def test_pointer_clear_returns_to_the_first_group():
    file = RegisterFile(DPU)
    file.set_pointer(0xE)
    file.finish()
    assert (file.pointer, file.executer) == (1, 1)
    file.set_pointer(0xE)
    assert (file.pointer, file.executer) == (1, 1)
    file.set_pointer(0x30)
    assert (file.pointer, file.executer) == (0, 0)
    file.finish()
    assert (file.pointer, file.executer) == (0, 0)
    file.set_pointer(1)
    assert file.pointer == 1


def test_registers_by_name():
    file = RegisterFile(DPU)
    file.write(np.array([(0x4084 - 0x4000) // 4]), np.array([0x1_1234], np.uint32))
    regs = registers("DPU", file.snapshot())
    assert regs.raw("OUT_CVT_SCALE") == 0x11234
    assert regs["OUT_CVT_SCALE.OUT_CVT_SCALE"] == 0x1234
    assert regs["OUT_CVT_SCALE.FP32TOFP16_EN"] == 1


def test_units_that_the_list_points_nowhere():
    stream = flying(*SHAPE)
    del stream.fields["DPU.S_POINTER"]
    with pytest.raises(SimulationError, match="left to chance") as caught:
        run(stream, {FEATURES: to_slots(source()), OUTPUT: np.zeros(96, np.uint8)})
    assert (caught.value.unit, caught.value.register) == ("DPU", "S_POINTER")


def chain(lists, linked):
    memory = memory_for()
    places = [0x900000 + 0x10000 * index for index in range(len(lists))]
    for index, stream in enumerate(lists):
        link = [NOP, write("PC.REGISTER_AMOUNTS")]
        if index < linked:
            follower = len(lists[index + 1].words())
            amount = write("PC.REGISTER_AMOUNTS", PC_DATA_AMOUNT=-(-follower // 2) - 1)
            link = [write("PC.BASE_ADDRESS", PC_SOURCE_ADDR=places[index + 1] // 16), amount]
        words = stream.words(link)
        memory.map(places[index], np.concatenate([words, np.zeros(1, "<u8")]).view(np.uint8))
    return memory, places[0], -(-len(lists[0].words()) // 2) - 1


def test_the_vendor_way_follows_links():
    lists = [offset_copy(value) for value in (1, 2, 3)]
    memory, address, amount = chain(lists, 2)
    reports = Npu(memory).run_chain(address, amount, 3)
    assert [report.interrupts for report in reports] == [0x100, 0x200, 0x100]
    assert memory.view(OUTPUT, (1,), unit="", register="")[0] == 3


def test_the_mainline_way_does_not_follow_links():
    lists = [offset_copy(value) for value in (1, 2)]
    memory, address, _ = chain(lists, 1)
    Npu(memory).run_task(address, len(lists[0].words()))
    assert memory.view(OUTPUT, (1,), unit="", register="")[0] == 1


def test_a_chain_that_ends_early():
    memory, address, amount = chain([offset_copy(1), offset_copy(2)], 1)
    with pytest.raises(SimulationError, match="ends after 2 of 3 tasks") as caught:
        Npu(memory).run_chain(address, amount, 3, first_task=10)
    assert caught.value.task == 12


POINTER, SHIFT, OFFSET = 0x4004, 0x4088, 0x4080


def segments(*writes):
    words = [*(pack(0x1001, offset, value) for offset, value in writes), MARKER, enable(["DPU", "DPU_RDMA"])]
    found = parse(np.array(words, "<u8").tobytes()).segments.get("DPU", ())
    return [(one.pointer, dict(zip(one.index.tolist(), one.values.tolist(), strict=True))) for one in found]


def test_a_segment_ends_where_the_pointer_is_written():
    """What stands right before it belongs to the group before, what stands right behind it to the next."""
    shift, offset = (SHIFT - 0x4000) // 4, (OFFSET - 0x4000) // 4
    assert segments((SHIFT, 1), (POINTER, 14), (SHIFT, 2), (OFFSET, 3), (POINTER, 30), (OFFSET, 4)) == [
        (None, {shift: 1}),
        (14, {shift: 2, offset: 3}),
        (30, {offset: 4}),
    ]
    assert segments((POINTER, 14), (SHIFT, 1)) == [(14, {shift: 1})]
    assert segments((SHIFT, 1), (POINTER, 14)) == [(None, {shift: 1}), (14, {})]
    assert segments((POINTER, 14), (POINTER, 15)) == [(14, {}), (15, {})]
    assert segments((SHIFT, 1), (OFFSET, 2), (SHIFT, 3)) == [(None, {shift: 3, offset: 2})]
    assert segments() == []


def test_links_are_of_16_bytes_and_their_amount_has_16_bits():
    words = [pack(0x0101, 0x0010, 0x1234_567F), pack(0x0101, 0x0014, 0x0003_0041), MARKER, enable(["DPU", "DPU_RDMA"])]
    found = parse(np.array(words, "<u8").tobytes())
    assert (found.next_address, found.next_amount, found.units) == (0x1234_5670, 0x41, ("DPU", "DPU_RDMA"))


@pytest.mark.parametrize("words", [[], [0], [MARKER]])
def test_lists_that_start_nothing(words):
    with pytest.raises(SimulationError, match=f"none of the {len(words)} words starts a unit"):
        parse(np.array(words, "<u8").tobytes())


def test_an_enable_word_of_another_register():
    with pytest.raises(SimulationError, match="enable word for register 0x0009"):
        parse(np.array([MARKER, pack(0x0081, 9, 0x18)], "<u8").tobytes())


def test_a_list_has_no_more_words_than_its_amount_counts():
    """The register has 16 bits for beats of two words; a driver would write what is left of more."""
    memory = Memory()
    memory.map(COMMANDS, np.zeros(8 * (pc.MOST_WORDS + 2), np.uint8))
    npu = Npu(memory)
    with pytest.raises(SimulationError, match="none of the 131072 words starts a unit"):
        npu.run_task(COMMANDS, pc.MOST_WORDS)
    with pytest.raises(SimulationError, match="a list of 131,073 words; its amount has room for 131,072"):
        npu.run_task(COMMANDS, pc.MOST_WORDS + 1)


def test_only_short_lists_are_kept():
    """Words behind the enable word have no effect, and there may be a megabyte of them."""
    words = np.array([*flying(*SHAPE).body(), MARKER, enable(["DPU", "DPU_RDMA"])], "<u8").tobytes()
    assert parse(words) is parse(words)
    long = words + bytes(pc._KEPT_BYTES)
    before = pc._kept.cache_info().currsize
    assert parse(long).units == parse(words).units
    assert pc._kept.cache_info().currsize == before
