"""Host cost of one inference on the device path: packing, synchronisation, ioctls, unpacking; no job is executed.

The kernel is stood in for by real memory (memfds, mapped) and a real system call for each ioctl that does nothing, so
the figures are this package's own cost. Cache maintenance, which the kernel adds on a board, is not in them.

    python benchmarks/device_path.py [MODEL.tflite [CHIP]]     exit status 1 if an inference costs more than the limit
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.compiler import compile_graph
from rocketnpu.device import uapi
from rocketnpu.device.base import Device
from rocketnpu.device.calls import SystemCalls
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import DEFAULT_CHIP, Policy
from rocketnpu.program.program import Program
from rocketnpu.rockchip.drivers import rocket_uapi as kernel
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.verisilicon.drivers import etnaviv_uapi as etnaviv
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.soc import Identity, tried_soc
from rocketnpu.zoo import resolve

LIMIT_MS, AIM_MS = 1.0, 0.35
ROUNDS = 400


class IdleKernel(SystemCalls):
    """Answers the mainline driver's ioctls without executing anything; each costs one system call."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: dict[int, tuple[int, int]] = {}
        self._address = 0
        self.on_submit: Callable[[], None] = lambda: None
        self._call = ctypes.CDLL(None).ioctl

    def open(self, path: str) -> int:
        return os.memfd_create("idle-kernel")

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        self._call(fd, request, None)  # refused by the memfd, after the way into the kernel and back
        if isinstance(argument, uapi.Version):
            ctypes.memmove(argument.name, b"rocket", 6)
            argument.name_length = 6
        elif isinstance(argument, kernel.CreateBo):
            argument.handle = len(self._memory) + 1
            argument.dma_address, argument.offset = self._address, argument.handle << 32
            size = -(-argument.size // kernel.PAGE) * kernel.PAGE
            self._address += size
            store = os.memfd_create("idle-buffer")
            os.ftruncate(store, size)
            self._memory[argument.handle] = (store, size)
        elif isinstance(argument, kernel.Submit):
            self.on_submit()

    def map(self, fd: int, offset: int, size: int) -> int:
        return super().map(self._memory[offset >> 32][0], 0, size)


class IdleEtnaviv(IdleKernel):
    """The same for the etnaviv driver, with the chip's identity."""

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self._answers = {
            etnaviv.PARAM_MODEL: identity.model,
            etnaviv.PARAM_REVISION: identity.revision,
            etnaviv.PARAM_PRODUCT: identity.product,
            etnaviv.PARAM_SOFTPIN_START: etnaviv.SOFTPIN_START,
        }

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        self._call(fd, request, None)
        if isinstance(argument, uapi.Version):
            ctypes.memmove(argument.name, b"etnaviv", 7)
            argument.name_length = 7
        elif isinstance(argument, etnaviv.GetParam):
            argument.value = self._answers.get(argument.param, 0)
        elif isinstance(argument, etnaviv.GemNew):
            argument.handle = len(self._memory) + 1
            store = os.memfd_create("idle-buffer")
            size = -(-argument.size // kernel.PAGE) * kernel.PAGE
            os.ftruncate(store, size)
            self._memory[argument.handle] = (store, size)
        elif isinstance(argument, etnaviv.GemInfo):
            argument.offset = argument.handle << 32
        elif isinstance(argument, etnaviv.Submit) and argument.bo_count:
            self.on_submit()


class Clock:
    """Adds up the time spent in wrapped functions."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def wrap(self, owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*arguments)
            finally:
                self.spent[label] = self.spent.get(label, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)


def policies(chip: str) -> dict[str, Policy]:
    return {"proven rules": Policy("mainline", False, chip=chip), "all rules": Policy("mainline", chip=chip)}


def idle_device(chip: str) -> tuple[Device, IdleKernel]:
    """Open the chip's device on a kernel that does nothing."""
    if chip == DEFAULT_CHIP:
        idle = IdleKernel()
        return RocketDevice(calls=idle), idle
    soc = tried_soc(chip)
    idle = IdleEtnaviv(soc.identity)
    return EtnavivDevice(soc, calls=idle), idle


def programs(path: Path, policy: Policy) -> list[Program]:
    return [compile_graph(part, policy) for part in plan(tflite.load(path), policy).parts]


def place(program: Program) -> tuple[PlacedProgram, list[np.ndarray]]:
    """Place a program and make SUBMIT touch what the jobs would write, as the executor looks for it."""
    device, idle = idle_device(program.chip)
    placed = PlacedProgram(device, program, allow_unproven=True)
    spots = [(placed.memories[job.sentinel[0]], job.sentinel[1]) for job in program.jobs]

    def touch() -> None:
        for memory, offset in spots:
            memory[offset] ^= 0xFF

    idle.on_submit = touch
    random = np.random.default_rng(1)
    inputs = [random.integers(0, 256, item.shape, np.uint8).view(item.dtype.value) for item in program.inputs]
    return placed, inputs


def measure(placed: PlacedProgram, inputs: list[np.ndarray]) -> float:
    """Return the median time of an inference in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        placed.run(inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def breakdown(placed: PlacedProgram, inputs: list[np.ndarray]) -> dict[str, float]:
    """Return the median milliseconds of each part; the clock's own cost is in them."""
    clock = Clock()
    for name, label in (("sync_for_device", "sync to device"), ("submit", "submit"), ("sync_for_cpu", "sync to CPU")):
        clock.wrap(placed.device, name, label)
    layout: Any = type(placed.program.inputs[0].layout)
    originals = layout.pack, layout.unpack
    try:
        clock.wrap(layout, "pack", "pack")
        clock.wrap(layout, "unpack", "unpack")
        rounds = []
        for _ in range(ROUNDS):
            clock.spent = {}
            placed.run(inputs)
            rounds.append(clock.spent)
    finally:
        layout.pack, layout.unpack = originals
    return {label: statistics.median(spent[label] for spent in rounds) * 1e3 for label in rounds[0]}


def main(arguments: list[str]) -> int:
    path = resolve(arguments[0] if arguments else "mobilenet_v1")
    chip = arguments[1] if len(arguments) > 1 else DEFAULT_CHIP
    worst = max(host_cost(path, title, policy) for title, policy in policies(chip).items())
    return 0 if worst <= LIMIT_MS else 1


def host_cost(path: Path, title: str, policy: Policy) -> float:
    """Print what an inference costs under a policy, and return its milliseconds."""
    total = 0.0
    for program in programs(path, policy):
        placed, inputs = place(program)
        placed.run(inputs)
        whole = measure(placed, inputs)
        parts = breakdown(placed, inputs)
        total += whole
        jobs = f"{len(program.jobs)} jobs, {len(program.tasks)} tasks"
        print(f"{program.name}, {title}: {whole:.3f} ms an inference on the host ({jobs})")
        for label, spent in parts.items():
            print(f"  {label:15} {spent:.3f} ms")
        print(f"  {'the rest':15} {max(0.0, whole - sum(parts.values())):.3f} ms")
    verdict = "within" if total <= LIMIT_MS else "OVER"
    print(f"{path.stem}, {title}: {total:.3f} ms of host cost, {verdict} the limit of {LIMIT_MS} ms; aim {AIM_MS} ms")
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
