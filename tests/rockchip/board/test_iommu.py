"""Page tables as Linux writes them (rockchip-iommu.c), and views through them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.board.iommu import (
    COMMAND,
    DTE_ADDRESS,
    PAGE,
    STATUS,
    Iommu,
    PageFaultError,
    TranslatedMemory,
)

sys.path.insert(0, str(Path(__file__).parent))

from tabled_device import RAM_START, TabledDevice, entry


def opened(device: TabledDevice) -> TranslatedMemory:
    mmu, memory = Iommu(), TranslatedMemory()
    mmu.write(DTE_ADDRESS, entry(device.directory))
    mmu.write(COMMAND, 0)
    memory.refresh(mmu, device.guest)
    return memory


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, (1 << 20) - 1), min_size=1, max_size=40, unique=True),
    st.integers(0, PAGE - 16),
)
def test_each_page_is_where_the_tables_say(pages: list[int], offset: int) -> None:
    with TabledDevice() as device:
        physical = {page: device.take_page() for page in pages}
        for page, place in physical.items():
            device.map_page(page * PAGE, place)
            device.ram[place - RAM_START + offset : place - RAM_START + offset + 16] = page.to_bytes(16, "little")
        memory = opened(device)
        for page, place in physical.items():
            view = memory.view(page * PAGE + offset, (16,), unit="CNA", register="")
            assert int.from_bytes(view.tobytes(), "little") == page
            memory.view(page * PAGE + offset, (1,), unit="DPU", register="", write=True)[0] = 0xA5
            assert device.ram[place - RAM_START + offset] == 0xA5, "the guest's own memory, not a copy"
        for page in pages:
            behind = page + 1
            if behind < 1 << 20 and behind not in physical:
                with pytest.raises(PageFaultError) as caught:
                    memory.view(page * PAGE + offset, (2 * PAGE,), unit="DPU", register="", write=True)
                assert (caught.value.address, caught.value.write) == (behind * PAGE, True)


def test_views_with_steps_back_fault_at_their_lowest_page() -> None:
    with TabledDevice() as device:
        device.map_page(0x5000, device.take_page())
        memory = opened(device)
        with pytest.raises(PageFaultError) as caught:
            memory.view(0x5000, (3,), (-PAGE,), unit="CNA", register="")
        assert caught.value.address == 0x3000


def test_tables_that_change_are_followed() -> None:
    with TabledDevice() as device:
        mmu, memory = Iommu(), TranslatedMemory()
        mmu.write(DTE_ADDRESS, entry(device.directory))
        mmu.write(COMMAND, 0)
        first, second = device.take_page(), device.take_page()
        device.ram[first - RAM_START], device.ram[second - RAM_START] = 1, 2
        for place, value in ((first, 1), (second, 2)):
            device.map_page(0x7000, place)
            memory.refresh(mmu, device.guest)
            assert memory.view(0x7000, (1,), unit="CNA", register="")[0] == value
        device.map_page(0x7000, second, rights=1)
        memory.refresh(mmu, device.guest)
        with pytest.raises(PageFaultError):
            memory.view(0x7000, (1,), unit="CNA", register="")


def test_without_paging_nothing_is_reached() -> None:
    with TabledDevice() as device, pytest.raises(PageFaultError):
        TranslatedMemory().refresh(Iommu(), device.guest)


def test_commands_change_the_status() -> None:
    mmu = Iommu()
    assert mmu.read(STATUS) == 0x18, "idle, nothing to replay"
    for command, bits in ((0, 0x19), (2, 0x1D), (3, 0x19), (1, 0x18)):
        mmu.write(COMMAND, command)
        assert mmu.read(STATUS) == bits
    mmu.write(DTE_ADDRESS, 0x1234_5230)
    assert mmu.table == 0x32_1234_5000
    assert mmu.read(DTE_ADDRESS) == 0x1234_5230
    mmu.fault(PageFaultError(0xE000_0000, write=True))
    mmu.write(COMMAND, 6)
    assert (mmu.read(STATUS), mmu.table, mmu.fault_address) == (0x18, 0, 0)


def test_a_view_larger_than_the_address_space_is_a_fault_not_a_crash() -> None:
    with TabledDevice() as device:
        device.map_page(0x5000, device.take_page())
        memory = opened(device)
        with pytest.raises((PageFaultError, SimulationError)):
            memory.view(0x5000, (1 << 20,), (PAGE,), unit="CNA", register="")
        assert memory.view(0x5000, (4,), unit="CNA", register="", dtype=np.uint8).shape == (4,)
