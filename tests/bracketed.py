"""The emulated etnaviv node's calls, with an eye on who may touch a buffer."""

from __future__ import annotations

import ctypes

from rocketnpu.device.calls import SystemCalls
from rocketnpu.emulator import shim_library
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi


class Bracketed(SystemCalls):
    """The emulated node's calls; complains where CPU_FINI has no CPU_PREP before it, as the kernel does in its log."""

    def __init__(self) -> None:
        super().__init__(str(shim_library()))
        self.held: set[tuple[int, int]] = set()
        self.unbalanced: list[int] = []
        self.submissions: list[int] = []
        """Bytes of each stream that was submitted."""

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        super().ioctl(fd, request, argument)
        if request == uapi.CPU_PREP:
            self.held.add((fd, argument.handle))
        elif request == uapi.CPU_FINI:
            if (fd, argument.handle) not in self.held:
                self.unbalanced.append(argument.handle)
            self.held.discard((fd, argument.handle))
        elif request == uapi.SUBMIT:
            self.submissions.append(argument.stream_size)
