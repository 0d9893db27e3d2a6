"""An emulated etnaviv node whose NPU the tests control, and raw files of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_node import EtnavivFile, GateNpu

from rocketnpu.emulator import EmulatedNode, Limits, driver_of


class NodeRig:
    """A running node, its NPU, and what it reported."""

    def __init__(self, chip, npu, **limits) -> None:
        self.npu, self.lines = npu, []
        cores = None if npu is None else [npu]
        limited = Limits(**{"job_timeout": 0.02, **limits})
        self.node = EmulatedNode(cores, limited, self.lines.append, driver=driver_of(chip))


@pytest.fixture
def make_node(monkeypatch):
    """Start a node; ``gated`` gives it an NPU that waits for the test."""
    made = []

    def make(chip="a311d", *, gated=True, **limits):
        rig = NodeRig(chip, GateNpu() if gated else None, **limits)
        for name, value in rig.node.variables().items():
            monkeypatch.setenv(name, value)
        made.append(rig)
        return rig

    yield make
    for rig in made:
        if rig.npu is not None:
            rig.npu.gate.set()
        rig.node.stop()


@pytest.fixture
def etnaviv_rig(make_node):
    """A node with a gated NPU."""
    return make_node()


@pytest.fixture
def etnaviv(etnaviv_rig):
    """An open file of it."""
    opened = EtnavivFile()
    yield opened
    opened.close()
