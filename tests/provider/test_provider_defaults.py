"""Constants that a model also names as inputs: a run may give others."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from onnx_nets import Net
from provider_hosts import session

pytestmark = pytest.mark.usefixtures("library")


@pytest.mark.parametrize("ir_version", [3, 8])
def test_what_a_run_gives_counts_and_not_its_default(ir_version: int) -> None:
    net = Net()
    net.ends = [net.conv(net.input((1, 8, 6, 6)), 8, (3, 3), bias=False)]
    model = net.model(*net.ends)
    model.ir_version = ir_version
    weights = next(tensor for tensor in model.graph.initializer if tensor.name.startswith("w_"))
    # Older models name all constants as inputs; nobody can give others to those.
    named = [weights] if ir_version > 3 else model.graph.initializer
    model.graph.input.extend(helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)) for one in named)
    silent = onnxruntime.SessionOptions()
    silent.log_severity_level = 3
    plain = onnxruntime.InferenceSession(model.SerializeToString(), silent, providers=["CPUExecutionProvider"])
    ours = session(model)
    given = {net.inputs[0].name: net.feed(1)[0]}
    other = np.random.default_rng(3).integers(-127, 127, list(weights.dims)).astype(np.int8)
    for feed in (given, {**given, weights.name: other}) if ir_version > 3 else (given,):
        (expected,), (found,) = plain.run(None, feed), ours.run(None, feed)
        assert np.abs(expected - found).max() <= net.ends[0].scale * 1.001
