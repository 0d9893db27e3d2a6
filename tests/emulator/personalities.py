"""The emulated node as each of its drivers, so that one test attacks all of them."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "verisilicon" / "drivers"))
from etnaviv_node import HIGH, EtnavivFile, GateNpu
from raw_node import File, GateCore

from rocketnpu.device import uapi as drm
from rocketnpu.emulator import EmulatedNode, Limits, driver_of
from rocketnpu.rockchip.drivers import rocket_uapi
from rocketnpu.verisilicon.drivers import etnaviv_uapi

CHIPS = ("rk3588", "a311d")
"""One for each driver."""


class Rocket(File):
    """An open file of the first."""

    calls: ClassVar[Any] = {
        rocket_uapi.CREATE_BO: rocket_uapi.CreateBo,
        rocket_uapi.SUBMIT: rocket_uapi.Submit,
        rocket_uapi.PREP_BO: rocket_uapi.PrepBo,
        rocket_uapi.FINI_BO: rocket_uapi.FiniBo,
        drm.GEM_CLOSE: drm.GemClose,
    }
    creates = rocket_uapi.CREATE_BO

    def buffer(self, size: int = 4096) -> tuple[int, int]:
        """Allocate; return the error number and the handle."""
        made = rocket_uapi.CreateBo(size=size)
        return self.do(rocket_uapi.CREATE_BO, made), made.handle

    def job(self, handle: int) -> int:
        """Have a job write a buffer; return the error number."""
        return self.submit(([(0, 4)], [], [handle]))

    def finished(self, handle: int, seconds: float = 10.0) -> int:
        """Wait for the jobs that write a buffer; return the error number."""
        return self.prep(handle, seconds)


class Etnaviv(EtnavivFile):
    """An open file of the second."""

    calls: ClassVar[Any] = {
        etnaviv_uapi.GET_PARAM: etnaviv_uapi.GetParam,
        etnaviv_uapi.GEM_NEW: etnaviv_uapi.GemNew,
        etnaviv_uapi.GEM_INFO: etnaviv_uapi.GemInfo,
        etnaviv_uapi.CPU_PREP: etnaviv_uapi.CpuPrep,
        etnaviv_uapi.CPU_FINI: etnaviv_uapi.CpuFini,
        etnaviv_uapi.SUBMIT: etnaviv_uapi.Submit,
        etnaviv_uapi.WAIT_FENCE: etnaviv_uapi.WaitFence,
        etnaviv_uapi.GEM_WAIT: etnaviv_uapi.GemWait,
        drm.GEM_CLOSE: drm.GemClose,
    }
    creates = etnaviv_uapi.GEM_NEW

    def buffer(self, size: int = 4096) -> tuple[int, int]:
        """Allocate; return the error number and the handle."""
        return self.new(size)

    def job(self, handle: int) -> int:
        """Have a job write a buffer; return the error number."""
        return self.send([(etnaviv_uapi.SUBMIT_BO_WRITE, handle, HIGH + 0x10000 * handle)], [0, 0])[0]

    def finished(self, handle: int, seconds: float = 10.0) -> int:
        """Wait for the jobs that write a buffer; return the error number."""
        return self.prepare(handle, etnaviv_uapi.PREP_READ, seconds)


class Node:
    """A running node whose cores wait for the test, and what it reported."""

    def __init__(self, chip: str, **limits: float) -> None:
        self.chip, self.lines = chip, []
        gate: Any = [GateCore() for _ in range(3)] if chip == "rk3588" else [GateNpu()]
        self.cores: list[Any] = gate
        limited = Limits(**{"job_timeout": 0.0, **limits})  # type: ignore[arg-type]
        self.node = EmulatedNode(gate, limited, self.lines.append, driver=driver_of(chip))

    def open(self) -> Any:
        """Open the node."""
        return Rocket() if self.chip == "rk3588" else Etnaviv()

    def release(self) -> None:
        """Let all jobs run."""
        for core in self.cores:
            core.gate.set()

    def hold(self) -> None:
        """Let no job end."""
        for core in self.cores:
            core.gate = threading.Event()

    def honest(self) -> None:
        """Have a well-behaved program served."""
        self.release()
        file = self.open()
        error, handle = file.buffer()
        assert (error, handle) == (0, 1)
        assert file.job(handle) == 0
        assert file.finished(handle) == 0
        assert file.gem_close(handle) == 0
        file.close()


def fields_of(kind: type[ctypes.Structure]) -> list[tuple[tuple[str, ...], int]]:
    """Return the paths of a structure's numbers, and how many bits each has."""
    found: list[tuple[tuple[str, ...], int]] = []
    for name, part in kind._fields_:  # type: ignore[misc]
        if issubclass(part, ctypes.Structure):
            found += [((name, *path), bits) for path, bits in fields_of(part)]
        else:
            found.append(((name,), 8 * ctypes.sizeof(part)))
    return found
