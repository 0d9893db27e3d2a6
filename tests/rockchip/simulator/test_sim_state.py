"""What a core keeps between tasks: register groups and their pointers, tasks that were checked, work areas."""

import gc
from itertools import product

import numpy as np
import pytest
from sim_model import to_slots
from sim_streams import FEATURES, OUTPUT, Stream, flying, run

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import MARKER, enable, pack
from rocketnpu.rockchip.registers.rk3588 import BLOCKS, BY_NAME
from rocketnpu.rockchip.simulator import Memory, Npu, core_state
from rocketnpu.rockchip.simulator.arrays import Scratch
from rocketnpu.rockchip.simulator.core_state import CoreState, KeptTasks
from rocketnpu.rockchip.simulator.npu import TaskReport
from rocketnpu.rockchip.simulator.registers import RegisterFile, registers

POINTER, POINTER_EN, EXECUTER_EN, POINTER_CLEAR, EXECUTER_CLEAR = 1, 2, 4, 0x10, 0x20


@pytest.mark.parametrize("name", ["CNA", "CORE", "DPU", "DPU_RDMA", "PPU", "PPU_RDMA"])
def test_pointers_by_their_bits(name):
    """Every value of S_POINTER's bits behind every other: where it points, and where the end of a task moves it."""
    bits = (POINTER, POINTER_EN, EXECUTER_EN, POINTER_CLEAR, EXECUTER_CLEAR)
    values = [sum(chosen) for chosen in product(*((0, bit) for bit in bits))]
    for before, value in product((0xE, 0x1, 0x30), values):
        file = RegisterFile(BY_NAME[name])
        file.set_pointer(before)
        file.finish()
        pointer, executer = file.pointer, file.executer
        file.set_pointer(value)
        if value & POINTER_CLEAR:
            pointer = 0
        elif not value & POINTER_EN:
            pointer = value & POINTER
        if value & EXECUTER_CLEAR:
            executer = 0
        elif not value & EXECUTER_EN:
            executer = pointer
        assert (file.pointer, file.executer) == (pointer, executer), hex(value)
        file.finish()
        moved = pointer ^ bool(value & POINTER_EN), executer ^ bool(value & EXECUTER_EN)
        assert (file.pointer, file.executer) == moved, hex(value)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.enable_bit is not None], ids=lambda b: b.name)
def test_every_register_has_a_place_of_its_own_in_both_groups(block):
    file = RegisterFile(block)
    offsets = sorted(block.by_offset)
    index = np.array([(offset - block.base) // 4 for offset in offsets])
    for group in range(2):
        file.set_pointer(group)
        file.write(index, (index + 1000 * group + 7).astype(np.uint32))
    for group in range(2):
        file.set_pointer(group)
        regs = registers(block.name, file.snapshot())
        assert [regs.raw(block.by_offset[offset].name) for offset in offsets] == (index + 1000 * group + 7).tolist()


def test_the_least_used_task_is_forgotten(monkeypatch):
    monkeypatch.setattr(core_state, "_KEPT", 3)
    kept = KeptTasks()
    for name in "abc":
        kept.put((name,), name.upper())
    assert kept.get(("a",)) == "A"
    kept.put(("d",), "D")
    assert [kept.get((name,)) for name in "abcd"] == ["A", None, "C", "D"]
    kept.clear()
    assert kept.get(("a",)) is None


def test_tasks_are_kept_by_memory_and_go_with_its_buffers():
    state, one, other = CoreState(), Memory(), Memory()
    one.map(0, np.zeros(16, np.uint8))
    state.tasks_in(one).put(("x",), 1)
    assert state.tasks_in(one).get(("x",)) == 1
    assert state.tasks_in(other).get(("x",)) is None
    one.unmap(0)
    assert state.tasks_in(one).get(("x",)) is None
    assert state.tasks_in(one) is state.tasks_in(one)
    del one
    gc.collect()
    assert len(state._tasks) == 1


@pytest.mark.parametrize(("threads", "workers"), [(1, False), (2, True)])
def test_one_thread_needs_no_workers(threads, workers):
    assert (CoreState(threads=threads).workers is not None) == workers
    assert CoreState(compiled=False).kernel is None


def test_work_areas_grow_and_are_lent_again():
    scratch = Scratch()
    first = scratch.take("a", (4, 4), np.float64)
    first[...] = 7
    assert scratch.take("a", (128,), np.uint8)[0] == first.view(np.uint8).reshape(-1)[0]
    assert np.shares_memory(scratch.take("a", (16,), np.float64), first)
    assert not np.shares_memory(scratch.take("a", (17,), np.float64), first)
    assert not np.shares_memory(scratch.take("b", (17,), np.float64), scratch.take("a", (17,), np.float64))
    assert scratch.take("a", (0, 3), np.int16).shape == (0, 3)


@pytest.mark.parametrize(
    ("address", "words", "text"),
    [
        (16, 0, "a list of 0 words"),
        (16, -1, "a list of -1 words"),
        (16, 1, "none of the 1 words starts a unit"),
        (24, 2, "a list at 0x18, which is not a multiple of 16"),
    ],
)
def test_the_shortest_lists(address, words, text):
    memory = Memory()
    memory.map(0, np.zeros(64, np.uint8))
    with pytest.raises(SimulationError, match=text) as caught:
        Npu(memory).run_task(address, words)
    assert (caught.value.unit, caught.value.task) == ("PC", None)


def test_what_a_report_says_where_nothing_is_wrong():
    report = TaskReport(("DPU",), 0x100, 5)
    assert (report.defects, report.remarks) == ((), ())


def test_an_error_keeps_the_task_that_it_names():
    stream = flying(2, 3, 16)
    del stream.fields["DPU.S_POINTER"]
    with pytest.raises(SimulationError) as caught:
        run(stream, {FEATURES: np.zeros(96, np.uint8), OUTPUT: np.zeros(96, np.uint8)})
    assert caught.value.task == 0
    assert caught.value.at_task(4).task == 4


@pytest.mark.parametrize("unit", ["DPU", "DPU_RDMA"])
def test_both_units_must_be_pointed_to_a_group(unit):
    name = "RDMA_S_POINTER" if unit.endswith("RDMA") else "S_POINTER"
    stream = flying(2, 3, 16)
    del stream.fields[f"{unit}.{name}"]
    x = np.arange(96).astype(np.int8).reshape(2, 3, 16)
    memory = {FEATURES: to_slots(x), OUTPUT: np.zeros(96, np.uint8)}
    _, report = run(stream, memory, strict=False)
    assert [f"{unit}.S_POINTER: the list does not write it" in remark for remark in report.remarks] == [True]
    assert report.defects == ()
    assert np.array_equal(memory[OUTPUT], to_slots(x))


@pytest.mark.parametrize("enabled", [("PPU", "PPU_RDMA", "DPU"), ("CNA", "CORE"), ("DPU_RDMA",), ("PPU_RDMA",)])
def test_sets_of_units_that_no_program_starts(enabled):
    words = np.array([MARKER, enable(enabled)], "<u8")
    memory = Memory()
    memory.map(0, words.view(np.uint8))
    names = ", ".join(unit.name for unit in BLOCKS if unit.name in enabled)
    with pytest.raises(SimulationError, match=f"no known program starts {names} together"):
        Npu(memory, strict=False).run_task(0, 2)


def test_words_for_nobody_are_refused_with_their_place():
    stream = Stream(("DPU", "DPU_RDMA"))
    stream.first = [0, pack(0x0777, 0x10, 5)]
    memory = Memory()
    words = stream.words()
    memory.map(0, words.view(np.uint8))
    with pytest.raises(SimulationError, match=r"word 1 \(0x0777000000050010\) has target 0x0777, which is no unit"):
        Npu(memory).run_task(0, words.size)
