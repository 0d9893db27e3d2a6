"""An emulated node whose cores the tests control, and raw files of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from raw_node import File, GateCore, Rig

from rocketnpu.emulator import EmulatedNode, Limits


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(cores: int = 3, **limits: float) -> Rig:
        lines: list[str] = []
        gates = [GateCore() for _ in range(cores)]
        node = EmulatedNode(list(gates), Limits(**{"job_timeout": 0.02, **limits}), lines.append)
        monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", str(node.path))
        rigs.append(Rig(node, gates, lines))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.release()
        rig.node.stop()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


@pytest.fixture
def file(rig: Rig) -> Iterator[File]:
    opened = File()
    yield opened
    opened.close()
