"""What one node of a file became stays together, wherever its inputs are made."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_nets import Net
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.family import chips
from rocketnpu.model.onnx.reader import convert
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.onnx_host.runtime import tensors
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


@pytest.mark.parametrize("chip", chips())
@pytest.mark.parametrize("late_first", [False, True])
def test_what_is_joined_with_a_value_from_before_the_host_s_part(chip: str, *, late_first: bool) -> None:
    """INT8 values are rescaled before they are joined: the early one must wait for the late one."""
    net = Net(kind="int8")
    early, soft = net.conv(net.input((1, 8, 6, 6)), 8, (3, 3)), net.name("soft")
    net.node("Softmax", [net.real(early)], [soft], axis=1)
    late = net.whole(soft, early.shape, 0.3)
    joined = net.concat([late, early] if late_first else [early, late])
    model = convert(net.model(joined))
    divided = plan(model.graph, Policy(chip=chip))
    for bundle in model.graph.bundles:
        assert sum(bool(bundle & {operator.index for operator in part.operators}) for part in divided.parts) <= 1
    assert "CONCATENATION" in {decision.kind for decision in divided.decisions if decision.supported}
    feed = net.feed(1)
    with OnnxInference(model, SimulatorDevice(chip=chip), cache="off") as inference:
        found = inference.run(feed)
    known = tensors(model, feed, fused=False)
    # One step of the convolution before it, one of its own.
    assert np.abs(found[0] - known[model.graph.outputs[0]]).max() <= 2.01 * joined.scale
