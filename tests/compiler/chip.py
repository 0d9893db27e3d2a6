"""Run a graph on the simulator, for tests that compare it with something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Graph
from rocketnpu.policy import Policy

Array = npt.NDArray[Any]


def simulate(graph: Graph, inputs: Sequence[Array], policy: Policy | None = None) -> list[Array]:
    """Compile a graph and run it on the simulator."""
    policy = policy or Policy()
    with SimulatorDevice(chip=policy.chip) as device:
        return run(device, compile_graph(graph, policy), inputs)
