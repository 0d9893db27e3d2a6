"""The emulated node as raw ioctls, the way a driver's author would poke at the kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rocketnpu.device import uapi as drm
from rocketnpu.emulator import EmulatedNode, shim_library
from rocketnpu.rockchip.drivers import rocket_uapi as uapi
from rocketnpu.rockchip.simulator import Memory

BAD_POINTER = 0xDEAD0000
PROT_READ_WRITE, MAP_SHARED, MAP_PRIVATE = 3, 1, 2


class GateCore:
    """A core whose tasks wait for a gate and then write a byte, so that tests decide when jobs end."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ran: list[int] = []
        self.memory = Memory()

    def begin(self, memory: Memory) -> None:
        self.memory = memory

    def run(self, address: int, words: int) -> None:
        self.gate.wait(10)
        self.ran.append(address)
        self.memory.view(address, (1,), unit="PC", register="BASE_ADDRESS", write=True)[0] += 1


@dataclass
class Rig:
    """An emulated node with such cores, and what it reported."""

    node: EmulatedNode = field(repr=False)
    cores: list[GateCore] = field(repr=False)
    lines: list[str] = field(repr=False)

    def release(self) -> None:
        """Let all jobs run."""
        for core in self.cores:
            core.gate.set()


class File:
    """One open file of the node."""

    path = b"/dev/accel/accel0"

    def __init__(self) -> None:
        library = ctypes.CDLL(str(shim_library()), use_errno=True)
        self._ioctl, self._mmap, self._open = library.ioctl, library.mmap64, library.open64
        self._ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._mmap.argtypes = (pointer, ctypes.c_size_t, number, number, number, ctypes.c_int64)
        self._mmap.restype = ctypes.c_void_p
        self.fd = self._open(self.path, os.O_RDWR | os.O_CLOEXEC)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())

    def close(self) -> None:
        os.close(self.fd)

    def raw(self, request: int, pointer: int) -> int:
        """Do an ioctl; return 0 or the error number."""
        return ctypes.get_errno() if self._ioctl(self.fd, request, pointer) else 0

    def do(self, request: int, argument: ctypes.Structure) -> int:
        return self.raw(request, ctypes.addressof(argument))

    def create(self, size: int) -> uapi.CreateBo:
        made = uapi.CreateBo(size=size)
        assert self.do(uapi.CREATE_BO, made) == 0
        return made

    def gem_close(self, handle: int) -> int:
        return self.do(drm.GEM_CLOSE, drm.GemClose(handle=handle))

    def prep(self, handle: int, seconds: float = 5.0, reserved: int = 0) -> int:
        deadline = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(seconds * 1e9)
        return self.do(uapi.PREP_BO, uapi.PrepBo(handle=handle, reserved=reserved, timeout_ns=deadline))

    def fini(self, handle: int, reserved: int = 0) -> int:
        return self.do(uapi.FINI_BO, uapi.FiniBo(handle=handle, reserved=reserved))

    def mmap(self, offset: int, length: int, flags: int = MAP_SHARED) -> int:
        """Return 0 if such a mapping can be made (it is undone again), else the error number."""
        address = self._mmap(None, length, PROT_READ_WRITE, flags, self.fd, offset)
        if address == ctypes.c_void_p(-1).value:
            return ctypes.get_errno()
        ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(length))
        return 0

    def byte(self, made: uapi.CreateBo) -> int:
        """Return the first byte of a buffer."""
        address = self._mmap(None, 4096, PROT_READ_WRITE, MAP_SHARED, self.fd, made.offset)
        value = ctypes.c_uint8.from_address(address).value
        ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(4096))
        return value

    def submit(self, *jobs: tuple[Sequence[tuple[int, int]], Sequence[int], Sequence[int]], **changes: int) -> int:
        """Submit jobs of (tasks, handles read, handles written); ``changes`` overwrite fields of the request."""
        keep: list[object] = []
        array = (uapi.Job * max(1, len(jobs)))()
        for number, (tasks, reads, writes) in enumerate(jobs):
            parts = (
                (uapi.Task * len(tasks))(*(uapi.Task(*task) for task in tasks)),
                (ctypes.c_uint32 * len(reads))(*reads),
                (ctypes.c_uint32 * len(writes))(*writes),
            )
            keep += parts
            array[number] = uapi.Job(
                *map(ctypes.addressof, parts), len(tasks), ctypes.sizeof(uapi.Task), len(reads), len(writes)
            )
        request = uapi.Submit(ctypes.addressof(array), len(jobs), ctypes.sizeof(uapi.Job), 0)
        for name, value in changes.items():
            setattr(request, name, value)
        return self.do(uapi.SUBMIT, request)


def name(code: int) -> str:
    """Return an error number's name."""
    return errno.errorcode.get(code, str(code)) if code else "0"
