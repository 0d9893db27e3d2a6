"""Models as few converters write them: batches, single numbers and constants among the inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli.main import run
from rocketnpu.estimate.estimate import Conditions
from rocketnpu.estimate.sources import estimate_plan
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inference import Inference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


def convolution(images: int) -> bytes:
    builder, random = ModelBuilder(), np.random.default_rng(1)
    given = builder.tensor((images, 8, 8, 16), DType.INT8, scale=0.1)
    made = builder.tensor((images, 8, 8, 8), DType.INT8, scale=0.5)
    weights = builder.tensor((8, 3, 3, 16), DType.INT8, scale=0.01, data=random.integers(-90, 90, (8, 3, 3, 16)))
    bias = builder.tensor((8,), DType.INT32, scale=0.001, data=random.integers(-500, 500, 8))
    builder.operator("CONV_2D", [given, weights, bias], [made], ops.Conv2D((1, 1), Padding.SAME))
    return builder.build([given], [made])


def number_and_constant() -> bytes:
    """Make a model of a map and a single number, with a constant among its inputs."""
    builder = ModelBuilder()
    given, made, doubled = (builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(3))
    row = builder.tensor((16,), DType.INT8, scale=0.1, data=np.arange(16))
    number, sum_of_it = (builder.tensor((), DType.INT32) for _ in range(2))
    builder.operator("ADD", [given, row], [made], ops.Arithmetic())
    builder.operator("ADD", [made, made], [doubled], ops.Arithmetic())
    builder.operator("ADD", [number, number], [sum_of_it], ops.Arithmetic())
    return builder.build([given, row, number], [doubled, sum_of_it])


MODELS = {"batch": convolution(3), "number and constant": number_and_constant()}
VERBS = {
    "compare": ("compare",),
    "estimate": ("estimate",),
    "why": ("inspect", "--why", "0"),
    "benchmark": ("benchmark", "--num-runs", "1"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("model", MODELS)
def test_verbs_take_them(
    verb: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROCKETNPU_DEVICE", "simulator")
    path = tmp_path / "model.tflite"
    path.write_bytes(MODELS[model])
    assert run([*VERBS[verb], "-m", str(path)]) == 0, capsys.readouterr().err


def test_a_constant_among_the_inputs_is_none_and_a_number_is_one(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(MODELS["number and constant"])
    with Inference(path, device="simulator", cache="off") as inference:
        assert inference.graph.inputs == (0, 4)
        image = np.full((1, 4, 4, 16), 5, np.int8)
        doubled, total = inference.run([image, np.array(21, np.int32)])
    np.testing.assert_array_equal(doubled, 2 * (image + np.arange(16, dtype=np.int8)))
    assert (total.shape, int(total)) == ((), 42)


def test_an_estimate_of_a_batch_is_that_of_its_images() -> None:
    policy, conditions = Policy("mainline"), Conditions("mainline")
    one, three = (estimate_plan(plan(parse(convolution(n)), policy), conditions) for n in (1, 3))
    assert three.total_us == pytest.approx(3 * one.total_us)
    assert [row.operator for row in three.operators] == [row.operator for row in one.operators]
