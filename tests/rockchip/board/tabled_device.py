"""A device as the kernel makes one out of the NPU's registers: page tables, scattered pages, interrupts."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np

from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.board.vfio_user import Interrupt
from rocketnpu.closing import Closing
from rocketnpu.device.base import Buffer, DeviceJob
from rocketnpu.errors import DeviceError
from rocketnpu.rockchip.board import iommu
from rocketnpu.rockchip.board.npu_function import SECOND_MMU, NpuFunction, Verdict, mmu_blocks

PAGE = iommu.PAGE
RAM_START, RAM_SIZE = 0x1_4000_0000, 16 << 20
DPU_INTERRUPTS = 0x300


def entry(physical: int) -> int:
    """What Linux writes for a physical address: bits 32..35 in 8..11, bits 36..39 in 4..7."""
    return physical & 0xFFFFF000 | physical >> 24 & 0xF00 | physical >> 32 & 0xF0


class TabledDevice(Closing):
    """A :class:`~rocketnpu.device.base.Device` on one simulated core; every buffer's pages lie in random places."""

    name = "tabled"
    chip = "rk3588"

    def __init__(self, core: int = 0, blocking: bool = True) -> None:
        self.verdicts: list[Verdict] = []
        self.descriptor = os.memfd_create("ram")
        os.ftruncate(self.descriptor, RAM_SIZE)
        self.ram = mmap.mmap(self.descriptor, RAM_SIZE)
        self.guest, self.interrupt, self.woken = GuestMemory(), Interrupt(), []
        self.guest.add(RAM_START, RAM_SIZE, self.descriptor, 0)
        self.function = NpuFunction(
            core,
            self.guest,
            self.interrupt,
            blocking=blocking,
            wake=lambda: self.woken.append(1),
            observe=self.verdicts.append,
        )
        self.core = core
        self._free = np.random.default_rng(3588).permutation(RAM_SIZE // PAGE).tolist()
        self.directory = self.take_page()
        self._next, self._buffers = PAGE, {}
        for block in mmu_blocks(core):
            self.function.write(block + iommu.DTE_ADDRESS, entry(self.directory))
            self.function.write(block + iommu.INTERRUPT_MASK, 3)
            self.function.write(block + iommu.COMMAND, 0)

    def take_page(self) -> int:
        """Return the physical address of a zeroed page."""
        page = self._free.pop()
        self.ram[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
        return RAM_START + page * PAGE

    def map_page(self, address: int, physical: int, rights: int = 7) -> None:
        """Enter a page in the tables."""
        directory = self.guest.words(self.directory, 1024)
        if not directory[address >> 22]:
            directory[address >> 22] = entry(self.take_page()) | 1
        low, high = int(directory[address >> 22]) & ~0xFFF, int(directory[address >> 22]) & 0xF00
        self.guest.words(low | high << 24, 1024)[address >> 12 & 0x3FF] = entry(physical) | rights

    def allocate(self, size: int) -> Buffer:
        if size <= 0:
            raise DeviceError(f"cannot allocate {size} bytes")
        buffer = Buffer(len(self._buffers) + 1, self._next, size)
        pages = [self.take_page() for _ in range(-(-size // PAGE))]
        for number, page in enumerate(pages):
            self.map_page(self._next + number * PAGE, page)
        self._next += len(pages) * PAGE
        self._buffers[buffer.handle] = (pages, bytearray(size))
        return buffer

    def free(self, buffer: Buffer) -> None:
        del self._buffers[buffer.handle]

    def map(self, buffer: Buffer) -> memoryview:
        return memoryview(self._buffers[buffer.handle][1])

    def sync_for_device(self, buffer: Buffer) -> None:
        self._copy(buffer, out=True)

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        self._copy(buffer, out=False)

    def _copy(self, buffer: Buffer, out: bool) -> None:
        pages, data = self._buffers[buffer.handle]
        for number, page in enumerate(pages):
            start = page - RAM_START
            size = min(PAGE, buffer.size - number * PAGE)
            place, part = slice(start, start + size), slice(number * PAGE, number * PAGE + size)
            if out:
                self.ram[place] = bytes(data[part])
            else:
                data[part] = self.ram[place]

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        for job in jobs:
            self.function.write(SECOND_MMU + iommu.COMMAND, 0)
            for task in job.tasks:
                self.start(task.address, task.words)
                if not self.finished():
                    raise DeviceError(str(self.verdicts[-1]))

    def start(self, address: int, words: int) -> None:
        """Write the registers that rocket_job_hw_submit writes."""
        for offset, value in (
            (0x1004, 0xE | self.core << 28),
            (0x3004, 0xE | self.core << 28),
            (0x10, address),
            (0x14, (words + 1) // 2 - 1),
            (0x20, DPU_INTERRUPTS),
            (0x24, DPU_INTERRUPTS),
            (0x30, 0x7001),
            (0x34, 0),
            (0x08, 1),
        ):
            self.function.write(offset, value)
            self.function.run()

    def finished(self) -> bool:
        """Do what the interrupt handler does; say whether the task's interrupt came."""
        raised = self.function.read(0x28) & DPU_INTERRUPTS
        self.function.write(0x08, 0)
        self.function.write(0x24, raised)
        return bool(raised)

    def close(self) -> None:
        if self.descriptor >= 0:
            self.function.close()
            self.guest.close()
            os.close(self.descriptor)
            self.descriptor = -1
