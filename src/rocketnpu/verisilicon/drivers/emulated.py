"""The etnaviv driver behind an emulated node: a chip's identity, and one simulated NPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from rocketnpu.emulator.driver import KernelDriver
from rocketnpu.emulator.drm_file import DrmFile, Limits
from rocketnpu.emulator.jobs import AnyCore, CorePool, QueuedJob
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.drivers.etnaviv_file import EtnavivFile
from rocketnpu.verisilicon.drivers.etnaviv_space import CommandSpace
from rocketnpu.verisilicon.drivers.etnaviv_uapi import DRIVER
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.simulator import Npu
from rocketnpu.verisilicon.soc import A311D, IMX8MP, Soc


class SimulatedNpu:
    """The NPU: one front end for all its cores."""

    def __init__(self, soc: Soc, report: Callable[[str], None] = lambda _line: None) -> None:
        """Start; ``report`` is told of jobs whose result would be wrong on silicon, and of other oddities."""
        self._npu = Npu(Memory(), soc)
        self._report = report

    def begin(self, memory: Memory) -> None:
        """Attach the address space of the next job's file."""
        self._npu.memory = memory

    def run_stream(self, stream: Words) -> None:
        """Run one stream; see :class:`~rocketnpu.verisilicon.drivers.etnaviv_file.StreamCore`."""
        done = self._npu.run_stream(stream)
        for remark in (*done.remarks, *(defect for job in done.jobs for defect in job.defects)):
            self._report(remark)


class EtnavivDriver(KernelDriver):
    """The driver of one chip."""

    name = DRIVER
    node = "/dev/dri/renderD128"

    def __init__(self, soc: Soc) -> None:
        """Drive this chip."""
        self.soc = soc
        self._spaces: WeakKeyDictionary[CorePool, CommandSpace] = WeakKeyDictionary()
        """Of each node, by its cores."""

    def cores(self, report: Callable[[str], None]) -> Sequence[AnyCore]:
        """Return the NPU: its cores work on one job together."""
        return [SimulatedNpu(self.soc, report)]

    def open(self, pool: CorePool, limits: Limits, observe: Callable[[DrmFile, QueuedJob], None]) -> DrmFile:
        """Return a new file."""
        space = self._spaces.setdefault(pool, CommandSpace())
        return EtnavivFile(self.soc.identity, space, pool, limits, observe)


ETNAVIV_A311D = EtnavivDriver(A311D)
ETNAVIV_IMX8MP = EtnavivDriver(IMX8MP)
