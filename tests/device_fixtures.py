"""Each device, as the tests open it: mainline's drivers over the emulated node, the vendor's over a fake kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bracketed import Bracketed
from device_cases import CASES
from fake_rknpu import FakeRknpu
from rocketnpu.cli.device.selftest import Case
from rocketnpu.device.base import Device, DeviceJob
from rocketnpu.device.calls import Calls, SystemCalls
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.emulator import EmulatedNode, Limits, driver_of, shim_library
from rocketnpu.policy import DEFAULT_CHIP
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.soc import SOCS

JOB_TIMEOUT = 0.05
"""Seconds; the real kernel's 0.5 would only make tests slow."""


@dataclass
class Node:
    """An emulated node, how to reach it from this process, and what it reported."""

    node: EmulatedNode
    calls: Calls
    lines: list[str] = field(default_factory=list)


@pytest.fixture
def start_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Node]]:
    """Start emulated nodes of a chip with the limits given; all are stopped at the end."""
    nodes: list[EmulatedNode] = []
    library = shim_library()

    def start(chip: str = DEFAULT_CHIP, **limits: float) -> Node:
        lines: list[str] = []
        limited = Limits(**{"job_timeout": JOB_TIMEOUT, **limits})
        node = EmulatedNode(limits=limited, report=lines.append, driver=driver_of(chip))
        nodes.append(node)
        for name, value in node.variables().items():
            monkeypatch.setenv(name, value)
        return Node(node, SystemCalls(str(library)), lines)

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def node(start_node: Callable[..., Node]) -> Node:
    return start_node()


@pytest.fixture
def fake_rknpu() -> Iterator[FakeRknpu]:
    fake = FakeRknpu()
    yield fake
    fake.end()


@pytest.fixture(
    params=["simulator", "rocket", "rknpu", "simulator a311d", "etnaviv a311d", "simulator imx8mp", "etnaviv imx8mp"]
)
def open_one(request: pytest.FixtureRequest) -> Iterator[Callable[[], Device]]:
    """A function that opens the device under test."""
    name, _, chip = request.param.partition(" ")
    if name == "simulator":
        yield lambda: SimulatorDevice(chip=chip or DEFAULT_CHIP)
    elif name == "rocket":
        emulated: Node = request.getfixturevalue("node")
        yield lambda: RocketDevice(calls=emulated.calls)
    elif name == "etnaviv":
        request.getfixturevalue("start_node")(chip)
        bracketed = Bracketed()
        yield lambda: EtnavivDevice(SOCS[chip], calls=bracketed)
        assert bracketed.unbalanced == []
    else:
        fake: FakeRknpu = request.getfixturevalue("fake_rknpu")
        yield lambda: RknpuDevice(calls=fake)


@pytest.fixture
def device(open_one: Callable[[], Device]) -> Iterator[Device]:
    with open_one() as opened:
        yield opened


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class Watched:
    """Passes everything on to a device, and notes how many such devices have a job in flight at once."""

    lock = threading.Lock()
    busy: set[int]
    most = 0

    def __init__(self, device: Device) -> None:
        self._device = device
        self.name, self.chip = device.name, device.chip
        Watched.busy, Watched.most = set(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        with Watched.lock:
            Watched.busy.add(id(self))
            Watched.most = max(Watched.most, len(Watched.busy))
        self._device.submit(jobs)

    def sync_for_cpu(self, buffer: Any, timeout: float) -> None:
        self._device.sync_for_cpu(buffer, timeout)
        with Watched.lock:
            Watched.busy.discard(id(self))
