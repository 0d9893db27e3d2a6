"""The integer model of whole operators against the simulator, for every family that the NPU takes."""

from __future__ import annotations

import numpy as np
import pytest

from bench import Case
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.partition.plan import plan
from rocketnpu.rockchip.models.operator_model import graph_model
from strategies import FAMILIES, case


def taken(family: str) -> list[Case]:
    """Some cases of a family that the NPU takes whole."""
    found = (case(family, seed) for seed in range(24))
    return [one for one in found if all(decision.supported for decision in plan(one.graph).decisions)]


@pytest.mark.parametrize("family", FAMILIES)
def test_simulated_operators_equal_the_integer_model(family: str) -> None:
    cases = taken(family)
    if not cases:
        pytest.skip("the NPU takes no operator of this family")
    for one in cases:
        inputs = one.inputs("random")
        wanted = graph_model(one.graph, dict(zip(one.graph.inputs, inputs, strict=True)))
        with SimulatorDevice() as device:
            found = run(device, compile_graph(one.graph), inputs)
        for number, values in zip(one.graph.outputs, found, strict=True):
            np.testing.assert_array_equal(values, wanted[number], err_msg=repr(one))
