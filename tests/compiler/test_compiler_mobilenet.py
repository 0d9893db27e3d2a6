"""MobileNetV1, every convolution with the reference's own inputs: the project's first promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chip import simulate

from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.pictures import picture_for
from rocketnpu.policy import Policy
from rocketnpu.rockchip.models.operator_model import graph_model

HENS = Path(__file__).resolve().parents[2] / "examples" / "hens.jpg"


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("mobilenet_v1_1.0_224_quant", 28), ("mobilenet_v1_0.25_128_quant", 28), ("tf2_mobilenet_v2_1.0_224_ptq", 53)],
)
def test_each_convolution_alone(request: pytest.FixtureRequest, name: str, convolutions: int) -> None:
    if name == "mobilenet_v1_1.0_224_quant":
        path = request.getfixturevalue("mobilenet_v1")
    else:
        path = request.getfixturevalue("shared") / "models" / f"{name}.tflite"
    graph = tflite.load(path)
    values = reference(path, [picture_for(HENS, graph.tensors[graph.inputs[0]])])
    seen = 0
    for operator in graph.operators:
        if not operator.kind.endswith("CONV_2D"):
            continue
        part = graph.subgraph([operator], f"operator {operator.index}")
        inputs = {number: values[number] for number in part.inputs}
        (output,) = simulate(part, list(inputs.values()))
        number = part.outputs[0]
        assert np.array_equal(output, graph_model(part, inputs)[number]), operator
        assert np.abs(output.astype(int) - values[number].astype(int)).max() <= 1, operator
        seen += 1
    assert seen == convolutions


def test_whole_networks_run_in_one_part(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.tflite")):
        for policy in (Policy(), Policy(allow_unproven=False), Policy("mainline", allow_unproven=False)):
            found = plan(tflite.load(path), policy)
            assert len(found.parts) == 1, (path.name, policy)
            assert found.coverage == 1.0, (path.name, policy)
