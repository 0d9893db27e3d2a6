"""A core behind its registers and page tables, driven as rocket_job.c and rockchip-iommu.c do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli.device.selftest import cases
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.rockchip.board import iommu
from rocketnpu.rockchip.board.npu_function import FIRST_MMU, RESET, SECOND_MMU

sys.path.insert(0, str(Path(__file__).parent))

from tabled_device import DPU_INTERRUPTS, TabledDevice

CASE = {case.name: case for case in cases()}


@pytest.fixture
def device() -> Iterator[TabledDevice]:
    with TabledDevice() as made:
        yield made


@pytest.mark.parametrize("core", [0, 1])
@pytest.mark.parametrize("name", ["pointwise", "odd", "chain"])
def test_bytes_are_the_simulators_whatever_the_pages_order(name: str, core: int) -> None:
    program, picture = CASE[name].program(), CASE[name].picture()
    with SimulatorDevice() as plain, TabledDevice(core) as tabled:
        wanted, got = run(plain, program, [picture])[0], run(tabled, program, [picture])[0]
        assert np.array_equal(got, wanted)
        assert {verdict.outcome for verdict in tabled.verdicts} == {"done"}
        assert not any(verdict.defects for verdict in tabled.verdicts)
        assert {verdict.core for verdict in tabled.verdicts} == {core}


def test_posted_tasks_end_in_their_own_time() -> None:
    case = CASE["pointwise"]
    with TabledDevice(blocking=False) as device, PlacedProgram(device, case.program()) as placed:
        list_of = placed.program.jobs[0].tasks[0]
        address = placed.buffers[placed.program.commands].address
        device.sync_for_device(placed.buffers[placed.program.commands])
        device.start(address, list_of.words)
        limit = time.monotonic() + 20
        while not device.woken and time.monotonic() < limit:
            time.sleep(0.001)
        assert not device.finished(), "nothing changes before the server takes the outcome over"
        device.function.collect()
        assert [verdict.outcome for verdict in device.verdicts] == ["done"]
        assert device.finished()


def test_a_reset_forgets_the_task_that_it_overtakes() -> None:
    with TabledDevice(blocking=False) as device:
        device.start(0x8000_0000, 4)
        device.function.write(RESET, 3)
        device.function.write(RESET, 0)
        limit = time.monotonic() + 20
        while not device.woken and time.monotonic() < limit:
            time.sleep(0.001)
        device.function.collect()
        assert device.verdicts == []
        assert device.function.read(FIRST_MMU + iommu.STATUS) & 2 == 0, "no fault became active"


def test_a_read_fault_stops_at_its_address_and_waits_for_the_driver(device: TabledDevice) -> None:
    device.start(0x9000_0010, 4)
    assert not device.finished()
    assert device.verdicts[-1].outcome == "fault"
    status = device.function.read(FIRST_MMU + iommu.STATUS)
    assert (status & 0x02, status & 0x20) == (2, 0), "active, a read"
    assert device.function.read(FIRST_MMU + iommu.FAULT_ADDRESS) == 0x9000_0010
    assert device.function.read(FIRST_MMU + iommu.INTERRUPT_STATUS) == 1
    device.function.write(FIRST_MMU + iommu.COMMAND, 5)
    device.function.write(FIRST_MMU + iommu.INTERRUPT_CLEAR, 1)
    assert device.function.read(FIRST_MMU + iommu.STATUS) & 0x22 == 0
    assert device.function.read(FIRST_MMU + iommu.INTERRUPT_STATUS) == 0


def test_a_write_fault_says_so(device: TabledDevice) -> None:
    case = CASE["pointwise"]
    with PlacedProgram(device, case.program()) as placed:
        words = placed.task_words(0, 0)
        target = [number for number, word in enumerate(words.tolist()) if word & 0xFFFF == 0x4020]
        words[target] = words[target] & ~np.uint64(0xFFFFFFFF0000) | np.uint64(0xE000_0000 << 16)
        buffer = placed.buffers[placed.program.commands]
        device.sync_for_device(buffer)
        device.start(buffer.address, placed.program.jobs[0].tasks[0].words)
    assert device.verdicts[-1].text.startswith("page fault at 0xe0000000, write")
    assert device.function.read(FIRST_MMU + iommu.STATUS) & 0x22 == 0x22


def test_a_list_that_nobody_understands_hangs_until_the_reset(device: TabledDevice) -> None:
    buffer = device.allocate(4096)
    device.sync_for_device(buffer)
    device.start(buffer.address, 4)
    assert not device.finished()
    assert device.verdicts[-1].outcome == "hang"
    device.function.write(RESET, 3)
    assert device.function.read(0x20) == 0, "the interrupt mask is gone"
    case = CASE["pointwise"]
    with SimulatorDevice() as plain:
        wanted = run(plain, case.program(), [case.picture()])[0]
    device.function.write(RESET, 0)
    assert np.array_equal(run(device, case.program(), [case.picture()])[0], wanted)


def test_paging_switched_off_reaches_nothing(device: TabledDevice) -> None:
    for block in (FIRST_MMU, SECOND_MMU):
        device.function.write(block + iommu.COMMAND, 1)
    device.start(0x1000, 4)
    assert device.verdicts[-1].outcome == "fault"


def test_the_interrupt_follows_mask_and_clear(device: TabledDevice) -> None:
    raised: list[bool] = []
    device.interrupt.set = raised.append  # type: ignore[method-assign]
    device.function._raw = DPU_INTERRUPTS
    device.function.write(0x20, 0)
    device.function.write(0x20, 0x300)
    device.function.write(0x24, 0x300)
    assert raised == [False, True, False]
