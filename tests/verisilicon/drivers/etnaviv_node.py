"""The emulated etnaviv node as raw ioctls, the way a driver's author would poke at the kernel."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "emulator"))
from raw_node import File

from rocketnpu.memory import Memory
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi

HIGH = 0xF000_0000
"""An address for soft pinning."""


class GateNpu:
    """An NPU whose streams wait for a gate, and then add one to the byte at the address that is their first word."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ran: list[list[int]] = []
        self.memory = Memory()

    def begin(self, memory: Memory) -> None:
        self.memory = memory

    def run_stream(self, stream) -> None:
        self.gate.wait(10)
        words = stream.tolist()
        self.ran.append(words)
        if words:
            self.memory.view(words[0], (1,), unit="FE", register="", write=True)[0] += 1


class EtnavivFile(File):
    """One open file of the node."""

    path = b"/dev/dri/renderD128"

    def param(self, number: int, pipe: int = 0) -> tuple[int, int]:
        argument = uapi.GetParam(pipe, number, 0)
        return self.do(uapi.GET_PARAM, argument), argument.value

    def new(self, size: int, flags: int = uapi.BO_WRITE_COMBINED) -> tuple[int, int]:
        argument = uapi.GemNew(size, flags, 0)
        return self.do(uapi.GEM_NEW, argument), argument.handle

    def handle(self, size: int = 4096) -> int:
        error, handle = self.new(size)
        assert error == 0
        return handle

    def offset(self, handle: int) -> int:
        argument = uapi.GemInfo(handle, 0, 0)
        assert self.do(uapi.GEM_INFO, argument) == 0
        return argument.offset

    def prepare(self, handle: int, op: int = uapi.PREP_READ, seconds: float = 5.0) -> int:
        return self.do(uapi.CPU_PREP, uapi.CpuPrep(handle, op, deadline(seconds)))

    def finish(self, handle: int, flags: int = 0) -> int:
        return self.do(uapi.CPU_FINI, uapi.CpuFini(handle, flags))

    def wait(self, fence: int, seconds: float = 5.0, flags: int = 0, pipe: int = 0) -> int:
        return self.do(uapi.WAIT_FENCE, uapi.WaitFence(pipe, fence, flags, 0, deadline(seconds)))

    def gem_wait(self, handle: int, seconds: float = 5.0, flags: int = 0) -> int:
        return self.do(uapi.GEM_WAIT, uapi.GemWait(0, handle, flags, 0, deadline(seconds)))

    def send(self, buffers=(), words=(), moved=(), **changes) -> tuple[int, int]:
        """Submit buffers (flags, handle, address) and a stream; return the error number and the fence."""
        listed = (uapi.SubmitBo * max(1, len(buffers)))(*(uapi.SubmitBo(*buffer) for buffer in buffers))
        relocs = (uapi.Reloc * max(1, len(moved)))(*(uapi.Reloc(*reloc) for reloc in moved))
        stream = np.array(words, "<u4")
        request = uapi.Submit(
            bo_count=len(buffers),
            reloc_count=len(moved),
            stream_size=stream.nbytes,
            bos=ctypes.addressof(listed),
            relocs=ctypes.addressof(relocs),
            stream=stream.ctypes.data,
            flags=uapi.SUBMIT_SOFTPIN,
        )
        for name, value in changes.items():
            setattr(request, name, value)
        return self.do(uapi.SUBMIT, request), request.fence

    def contents(self, handle: int, size: int) -> bytearray:
        """Return a copy of a buffer's bytes."""
        return bytearray(self._mapped(handle, size))

    def fill(self, handle: int, data: bytes) -> None:
        """Write a buffer's first bytes."""
        self._mapped(handle, len(data), data)

    def _mapped(self, handle: int, size: int, data: bytes | None = None) -> bytes:
        address = self._mmap(None, size, 3, 1, self.fd, self.offset(handle))
        assert address != ctypes.c_void_p(-1).value
        if data is not None:
            ctypes.memmove(address, data, len(data))
        found = ctypes.string_at(address, size)
        ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
        return found


def deadline(seconds: float) -> uapi.Timespec:
    end = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(seconds * 1e9)
    return uapi.Timespec(*divmod(end, 1_000_000_000))
