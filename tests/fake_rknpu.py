"""The vendor's kernel driver as a test sees it: checks what it is given, and runs jobs on the simulator.

Memory is not coherent: the CPU and the NPU each have their copy, and only MEM_SYNC moves bytes between them, so a
missing or misdirected synchronisation shows as wrong results.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu.device import uapi
from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.drivers import rknpu_uapi as kernel
from rocketnpu.rockchip.simulator import Memory, Npu

KERNEL_POINTER = 0xFFFF_8000_0000_0000
BASE = 0xFFF0_0000
"""The vendor's IOMMU hands addresses out from the top."""
VALID_CORE_MASKS = (0, 1, 2, 3, 4, 7)


@dataclass(eq=False)
class Memoryobject:
    size: int
    flags: int
    address: int
    pointer: int
    cpu: np.ndarray
    npu: np.ndarray


def _serialised(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def locked(self: FakeRknpu, *arguments: object) -> Any:
        with self._lock:
            return call(self, *arguments)

    return locked


class FakeRknpu:
    """Implements :class:`rocketnpu.device.calls.Calls`."""

    def __init__(self, node: str = "/dev/dri/renderD129", driver: str = "rknpu", memory: int = 1 << 30) -> None:
        self.node, self.driver, self.left = node, driver, memory
        self.objects: dict[int, Memoryobject] = {}
        self.mappings: dict[int, tuple[int, np.ndarray]] = {}
        self.open_files: set[int] = set()
        self.submits: list[kernel.Submit] = []
        self.resets = 0
        self.fail_next = 0
        self._memory = Memory()
        self._npu = Npu(self._memory)
        self._next = BASE
        self._file = os.memfd_create("fake-rknpu")
        self._lock = threading.RLock()
        """A kernel serialises its calls; programs of several cores make them from several threads."""

    def end(self) -> None:
        """Every file must be closed and every buffer given back by now."""
        os.close(self._file)
        assert not self.open_files
        assert not self.objects

    @_serialised
    def open(self, path: str) -> int:
        if path != self.node:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        fd = os.open(f"/proc/self/fd/{self._file}", os.O_RDWR)
        self.open_files.add(fd)
        return fd

    @_serialised
    def close(self, fd: int) -> None:
        self.open_files.remove(fd)
        os.close(fd)

    @_serialised
    def map(self, fd: int, offset: int, size: int) -> int:
        found = self.objects[offset >> 32]
        assert offset & 0xFFFF_FFFF == 0
        assert size <= len(found.cpu)
        address = found.cpu.ctypes.data
        self.mappings[address] = (size, found.cpu)  # the pages stay while they are mapped
        return address

    @_serialised
    def unmap(self, address: int, size: int) -> None:
        assert self.mappings.pop(address)[0] == size

    @_serialised
    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        assert fd in self.open_files
        assert request >> 16 & 0x3FFF == ctypes.sizeof(argument), "the size in the number is the structure's"
        handlers = {
            uapi.VERSION: self._version,
            0xC0086440: self._action,
            0xC0686441: self._submit,
            0xC0306442: self._create,
            0xC0106443: self._map,
            0xC0106444: self._destroy,
            0xC0206445: self._sync,
        }
        handlers[request](argument)

    def _version(self, argument: uapi.Version) -> None:
        name = self.driver.encode()
        ctypes.memmove(argument.name, name, min(len(name), argument.name_length))
        argument.name_length = len(name)

    def _action(self, argument: kernel.Action) -> None:
        assert argument.flags == kernel.ACTION_RESET
        self.resets += 1

    def _create(self, argument: kernel.MemoryCreate) -> None:
        assert argument.handle == 0, "another handle would return an existing object"
        assert argument.flags in (0x403, 0x40B)
        if argument.size > self.left:
            raise OSError(errno.ENOMEM, "no memory")
        self.left -= argument.size
        handle = max(self.objects, default=0) + 1
        size = -(-argument.size // 4096) * 4096
        self._next -= size + 4096
        dirty = np.full(size, 0xA5, np.uint8)
        made = Memoryobject(size, argument.flags, self._next, KERNEL_POINTER + handle * 0x1C0, dirty, dirty.copy())
        self.objects[handle] = made
        if made.address < 1 << 32:
            self._memory.map(made.address, made.npu)
        argument.handle, argument.dma_address, argument.object_address = handle, made.address, made.pointer

    def _map(self, argument: kernel.MemoryMap) -> None:
        assert argument.reserved == 0
        argument.offset = argument.handle << 32

    def _destroy(self, argument: kernel.MemoryDestroy) -> None:
        gone = self.objects.pop(argument.handle)
        assert gone.pointer == argument.object_address, "a kernel pointer must come back unchanged"
        self.left += gone.size
        if gone.address < 1 << 32:
            self._memory.unmap(gone.address)

    def _by_pointer(self, pointer: int) -> Memoryobject:
        return next(item for item in self.objects.values() if item.pointer == pointer)

    def _sync(self, argument: kernel.MemorySync) -> None:
        found = self._by_pointer(argument.object_address)
        assert found.flags & kernel.MEMORY_CACHEABLE
        part = slice(argument.offset, argument.offset + argument.size)
        if argument.flags & kernel.SYNC_TO_DEVICE:
            found.npu[part] = found.cpu[part]
        if argument.flags & kernel.SYNC_FROM_DEVICE:
            found.cpu[part] = found.npu[part]

    def _submit(self, argument: kernel.Submit) -> None:
        copy = kernel.Submit.from_buffer_copy(argument)
        self.submits.append(copy)
        if argument.flags != kernel.JOB_PC | kernel.JOB_PINGPONG or not argument.task_number:
            raise OSError(errno.EINVAL, "flags or task number")
        assert argument.core_mask in VALID_CORE_MASKS
        if self.fail_next:
            self.fail_next -= 1
            raise OSError(errno.ETIMEDOUT, "timed out")
        store = self._by_pointer(argument.task_object_address)
        assert store.flags & kernel.MEMORY_KERNEL_MAPPING, "the kernel would crash"
        core = argument.core_mask.bit_length() - 1
        part = argument.subcore_task[core]
        assert part.number == argument.task_number
        tasks = (kernel.Task * part.number).from_buffer_copy(store.npu[part.start * ctypes.sizeof(kernel.Task) :])
        amount = (tasks[0].regcfg_amount + 4 + 1) // 2 - 1
        try:
            done = self._npu.run_chain(tasks[0].regcmd_addr, amount, part.number)
        except SimulationError as error:
            raise OSError(errno.ETIMEDOUT, str(error)) from None
        last = tasks[part.number - 1].int_mask
        if last not in (kernel.INTERRUPT_DPU, kernel.INTERRUPT_PPU) or not done[-1].interrupts & last:
            raise OSError(errno.ETIMEDOUT, "the interrupt was not the one waited for")
        argument.task_counter = part.number
