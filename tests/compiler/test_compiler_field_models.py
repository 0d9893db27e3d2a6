"""Models such as are found in the field meet rules, not crashes.

What the NPU takes of them stays within its operators' bounds, what it does not take says why, and the whole model with
LiteRT as its host gives LiteRT's own answer but for those bounds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from chip import simulate

import rocketnpu
from field_models import MODELS
from rocketnpu.graph import DType, Graph, Tensor
from rocketnpu.inspect.compare import compare_operators
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.pictures import picture_for
from rocketnpu.zoo import resolve

Array = npt.NDArray[Any]
NAMES = tuple(MODELS)
HENS = Path(__file__).resolve().parents[2] / "examples" / "hens.jpg"
ON_CPU = {
    "detection": {"RESHAPE", "CUSTOM:TFLite_Detection_PostProcess"},
    "segmentation": {"QUANTIZE", "RESIZE_BILINEAR", "ARG_MAX"},
    "pose": {"QUANTIZE", "DEQUANTIZE"},
    "streaming": {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "STRIDED_SLICE", "ASSIGN_VARIABLE", "SOFTMAX"},
    "svdf": {"SVDF", "SOFTMAX"},
    "lstm": {"QUANTIZE", "RESHAPE", "DEQUANTIZE", "UNIDIRECTIONAL_SEQUENCE_LSTM"},
}
"""Operators that may be left to the CPU; convolutions never are."""
FRAMES = 12
"""Inferences of one interpreter: more than a streaming model remembers."""
PART_MEAN, STEPS = 1.5, 12
"""Mean and largest distance from end to end, in steps of the output: each of up to 20 layers is off by 1 now and then,
random weights amplify it, and LOGISTIC doubles it."""


@cache
def graph_of(name: str) -> Graph:
    return tflite.parse(MODELS[name](), name)


@cache
def tensors_of(name: str) -> dict[int, Array]:
    return reference(MODELS[name](), inputs_of(graph_of(name), 0))


def inputs_of(graph: Graph, seed: int) -> list[Array]:
    return [noise(graph.tensors[number], seed) for number in graph.inputs]


def noise(tensor: Tensor, seed: int) -> Array:
    random = np.random.default_rng(seed)
    if tensor.dtype is DType.FLOAT32:
        return random.uniform(-1, 1, tensor.shape).astype(np.float32)
    limits = np.iinfo(tensor.dtype.value)
    return random.integers(limits.min, limits.max, tensor.shape, tensor.dtype.value, endpoint=True)


def host(model: bytes) -> Any:
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    return interpreter


def answer(interpreter: Any, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    for number, values in zip(graph.inputs, inputs, strict=True):
        interpreter.set_tensor(number, values)
    interpreter.invoke()
    return [interpreter.get_tensor(number) for number in graph.outputs]


def check_reasons(divided: Plan, allowed: set[str]) -> None:
    left = [decision for decision in divided.decisions if not decision.supported]
    assert all(decision.reason for decision in left)
    assert {decision.kind for decision in left} <= allowed
    assert divided.coverage == 1


def check_operators(divided: Plan, tensors: dict[int, Array]) -> int:
    """Hold what the NPU runs as one against the reference, each; returns how many operators were held."""
    seen = 0
    chosen = {decision.operator for decision in divided.decisions if decision.supported}
    for operators in operator_groups(divided):
        if operators[0].index not in chosen:
            continue
        found = compare_operators(divided, operators, tensors)
        assert found.is_sound, found
        assert found.where != "cpu", found
        seen += len(operators)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_on_the_cpu_has_a_reason(name: str) -> None:
    divided = plan(graph_of(name))
    assert divided.parts
    check_reasons(divided, ON_CPU[name])


@pytest.mark.parametrize("name", NAMES)
def test_each_operator_keeps_its_bound(name: str) -> None:
    divided = plan(graph_of(name))
    supported = sum(decision.supported for decision in divided.decisions)
    assert check_operators(divided, tensors_of(name)) == supported


@pytest.mark.parametrize("name", NAMES)
def test_each_part_compiles_and_runs(name: str) -> None:
    tensors = tensors_of(name)
    for part in plan(graph_of(name)).parts:
        outputs = simulate(part, [tensors[number] for number in part.inputs])
        for number, values in zip(part.outputs, outputs, strict=True):
            wanted = tensors[number].astype(int)
            assert np.abs(values.astype(int) - wanted).mean() <= PART_MEAN, (part.name, number)


class TestWholeModels:
    """The model with LiteRT as its host against LiteRT alone."""

    @pytest.fixture
    def pair(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        name = request.param
        model = MODELS[name]()
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(model)
        graph = graph_of(name)
        with rocketnpu.Inference(path, device="simulator") as inference:
            alone = host(model)
            yield graph, inference.run, lambda inputs: answer(alone, graph, inputs)

    @pytest.mark.parametrize("pair", ["detection"], indirect=True)
    def test_detection(self, pair: Any) -> None:
        graph, ours, alone = pair
        boxes, classes, scores, count = ours(inputs_of(graph, 1))
        _, _, wanted, wanted_count = alone(inputs_of(graph, 1))
        assert count == wanted_count == 10
        assert np.abs(scores - wanted).max() <= STEPS / 256
        assert boxes.any()
        assert set(classes.ravel()) <= {0.0, 1.0, 2.0, 3.0}

    @pytest.mark.parametrize("pair", ["segmentation"], indirect=True)
    def test_segmentation(self, pair: Any) -> None:
        graph, ours, alone = pair
        labels, scores = ours(inputs_of(graph, 1))
        wanted_labels, wanted_scores = alone(inputs_of(graph, 1))
        assert len(np.unique(wanted_labels)) > 1
        assert np.mean(labels != wanted_labels) <= 0.05
        assert np.abs(scores.astype(int) - wanted_scores).max() <= STEPS

    @pytest.mark.parametrize("pair", ["pose"], indirect=True)
    def test_pose(self, pair: Any) -> None:
        graph, ours, alone = pair
        heat, offsets = ours(inputs_of(graph, 1))
        wanted_heat, wanted_offsets = alone(inputs_of(graph, 1))
        assert heat.dtype == np.float32
        assert np.abs(heat - wanted_heat).max() <= STEPS / 256
        assert np.abs(offsets.astype(int) - wanted_offsets).max() <= STEPS

    @pytest.mark.parametrize("pair", ["streaming", "svdf"], indirect=True)
    def test_state_lasts(self, pair: Any) -> None:
        graph, ours, alone = pair
        seen = set()
        for step in range(FRAMES):
            frame = inputs_of(graph, step % 3)
            (found,), (wanted,) = ours(frame), alone(frame)
            assert np.abs(found.astype(int) - wanted).max() <= STEPS, step
            seen.add(wanted.tobytes())
        assert len(seen) > 3, "the state changes the answer"

    @pytest.mark.parametrize("pair", ["lstm"], indirect=True)
    def test_lstm(self, pair: Any) -> None:
        graph, ours, alone = pair
        for step in range(FRAMES):
            sound = inputs_of(graph, step)
            (found,), (wanted,) = ours(sound), alone(sound)
            assert np.abs(found - wanted).max() <= 0.02, step


def test_mobiledet_from_the_catalogue() -> None:
    """The real SSD: 125 operators, its own post-process."""
    if os.environ.get("ROCKETNPU_TEST_NETWORK") != "1":
        pytest.skip("fetches Debian's source package of Mesa: set ROCKETNPU_TEST_NETWORK=1")
    path = resolve("ssdlite_mobiledet")
    graph = tflite.load(path)
    divided = plan(graph)
    check_reasons(divided, ON_CPU["detection"])
    picture = picture_for(HENS, graph.tensors[graph.inputs[0]])
    tensors = reference(path, [picture])
    assert check_operators(divided, tensors) >= 110
    with rocketnpu.Inference(path, device="simulator") as inference:
        outputs = inference.run([picture])
    scores, wanted = outputs[2], tensors[graph.outputs[2]]
    assert np.abs(scores - wanted).max() <= 0.05
