"""Comparison with LiteRT: what it measures, and that it notices when something is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspect_models import chain
from rocketnpu.cli import main
from rocketnpu.family import chips
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect import compare as module
from rocketnpu.inspect.compare import compare_model, difference, steps
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.family import RockchipFamily
from rocketnpu.rockchip.models.bounds import bound_of

CHAIN = chain()


def prepared(model: bytes = CHAIN) -> tuple[Plan, dict]:
    graph = parse(model)
    random = np.random.default_rng(5)
    inputs = [random.integers(0, 256, graph.tensors[number].shape, np.uint8) for number in graph.inputs]
    return plan(graph), reference(model, inputs)


def convolution_then_softmax() -> bytes:
    """A convolution for the NPU and a SOFTMAX for the CPU, with a view between them."""
    builder = ModelBuilder()
    x = builder.tensor((1, 1, 1, 16), DType.UINT8, scale=0.05, zero_point=100)
    weights = builder.tensor(
        (10, 1, 1, 16), DType.UINT8, scale=0.01, zero_point=90, data=np.arange(160).reshape(10, 1, 1, 16)
    )
    bias = builder.tensor((10,), DType.INT32, scale=0.0005, data=np.arange(10) * 50)
    y = builder.tensor((1, 1, 1, 10), DType.UINT8, scale=0.1, zero_point=30)
    flat = builder.tensor((1, 10), DType.UINT8, scale=0.1, zero_point=30)
    shape = builder.tensor((2,), DType.INT32, data=np.array([1, 10]))
    z = builder.tensor((1, 10), DType.UINT8, scale=1 / 256)
    builder.operator("CONV_2D", [x, weights, bias], [y], ops.Conv2D((1, 1), ops.Padding.VALID))
    builder.operator("RESHAPE", [y, shape], [flat])
    builder.operator("SOFTMAX", [flat], [z], ops.Softmax())
    return builder.build([x], [z])


def tensor(zero_point: int):
    builder = ModelBuilder()
    x = builder.tensor((1, 4), DType.UINT8, scale=0.5, zero_point=zero_point)
    y = builder.tensor((1, 4), DType.UINT8, scale=0.5, zero_point=zero_point)
    builder.operator("RELU", [x], [y])
    return parse(builder.build([x], [y])).tensors[0]


def test_difference_counts_steps_and_takes_the_cosine_of_real_numbers() -> None:
    found = difference(np.array([[12, 10, 10, 10]], np.uint8), np.array([[10, 13, 10, 10]], np.uint8), tensor(10))
    assert (found.maximum, found.differing, found.values, found.share) == (3, 2, 4, 0.5)
    assert found.cosine == 0.0  # (2, 0, 0, 0) against (0, 3, 0, 0)
    assert difference(np.full((1, 4), 10, np.uint8), np.full((1, 4), 10, np.uint8), tensor(10)).cosine == 1.0


def test_real_numbers_that_are_none() -> None:
    nan, inf = np.nan, np.inf
    values = np.array([nan, inf, -inf, 2.0], np.float32)
    same = difference(values, values.copy(), None)
    assert (same.maximum, same.differing, same.values, same.cosine) == (0, 0, 4, 1.0)
    other = difference(values, np.array([1.0, inf, inf, 2.5], np.float32), None)
    assert (other.maximum, other.differing) == (int(np.finfo(np.float32).max), 3)
    assert other.cosine == pytest.approx(1.0)


def test_difference_does_not_wrap_around() -> None:
    assert difference(np.array([[255]], np.uint8), np.array([[0]], np.uint8), tensor(0)).maximum == 255


def test_every_operator_is_compared_and_equals_the_integer_model() -> None:
    divided, tensors = prepared()
    told: list[str] = []
    found = compare_model(divided, tensors, told.append)
    assert len(told) == steps(divided)
    assert [row.operators for row in found.operators] == [(n,) for n in range(4)]
    assert all(row.where == "npu" and row.equals_model and row.difference.maximum <= 1 for row in found.operators)
    assert found.is_sound
    assert found.first_noticeable is None
    assert found.outputs[0].difference.values == 16 * 14 * 14


def test_operators_get_the_references_own_inputs() -> None:
    """With a reference that is shifted in the middle only the operator that makes that tensor may look wrong."""
    divided, tensors = prepared()
    middle = divided.graph.operators[1].outputs[0]
    shifted = {**tensors, middle: tensors[middle] ^ np.uint8(0x40)}
    shifted[divided.graph.operators[2].outputs[0]] = tensors[divided.graph.operators[2].outputs[0]]
    rows = compare_model(divided, shifted).operators
    assert rows[1].difference.maximum > 30
    assert rows[0].difference.maximum <= 1
    assert rows[3].difference.maximum <= 1


def test_the_first_operator_beyond_its_bound_is_named() -> None:
    divided, tensors = prepared()
    number = divided.graph.operators[3].outputs[0]
    wrong = tensors[number].copy()
    wrong.flat[7] = (int(wrong.flat[7]) + 100) % 256
    found = compare_model(divided, {**tensors, number: wrong})
    assert found.first_noticeable.operators == (3,)
    assert found.operators[3].exceeds
    assert not found.is_sound


def test_a_difference_from_the_integer_model_is_unsound(monkeypatch: pytest.MonkeyPatch) -> None:
    divided, tensors = prepared()
    true = RockchipFamily.model

    def off_by_one(family: RockchipFamily, graph: Graph, *rest: object) -> dict:
        return {number: values ^ np.uint8(1) for number, values in true(family, graph, *rest).items()}

    monkeypatch.setattr(RockchipFamily, "model", off_by_one)
    found = compare_model(divided, tensors)
    assert all(row.equals_model is False and not row.exceeds for row in found.operators)
    assert not found.is_sound


def test_cpu_operators_and_views_take_part_from_end_to_end() -> None:
    divided, tensors = prepared(convolution_then_softmax())
    found = compare_model(divided, tensors)
    assert [row.where for row in found.operators] == ["npu", "view", "cpu"]
    assert found.operators[1].difference.maximum == 0
    assert found.operators[2].difference is None
    assert found.outputs[0].difference.values == 10


def test_a_view_that_changes_bytes_is_noticed() -> None:
    divided, tensors = prepared(convolution_then_softmax())
    flat = divided.graph.operators[1].outputs[0]
    found = compare_model(divided, {**tensors, flat: tensors[flat] ^ np.uint8(1)})
    assert found.operators[1].exceeds


def residual() -> Graph:
    """Two convolutions and their sum."""
    path = Path(__file__).resolve().parents[1] / "data" / "golden" / "conv_conv_add_u8.tflite"
    return parse(path.read_bytes())


def test_what_the_npu_runs_as_one_is_compared_as_one() -> None:
    graph = residual()
    divided = plan(graph)
    assert [[operator.index for operator in group] for group in operator_groups(divided)] == [[0], [1, 2]]
    picture = np.random.default_rng(3).integers(0, 256, (1, 16, 16, 32), np.uint8)
    path = Path(__file__).resolve().parents[1] / "data" / "golden" / "conv_conv_add_u8.tflite"
    found = compare_model(divided, reference(path, [picture]))
    assert [row.kind for row in found.operators] == ["CONV_2D", "CONV_2D + ADD"]
    assert found.is_sound
    assert found.operators[1].equals_model is True


@pytest.mark.parametrize(("ratio", "steps"), [(0.1, 1), (1.0, 1), (1.3, 2), (2.0, 2), (8.0, 7)])
def test_a_fused_sum_may_be_off_by_what_the_reference_rounds_between(ratio: float, steps: int) -> None:
    graph = residual()
    assert bound_of(graph, graph.operators[:1]).steps == 1
    addition = graph.operators[2]
    tensors = dict(graph.tensors)
    number = graph.operators[1].outputs[0]
    scales = tensors[addition.outputs[0]].quantisation.scales * np.float32(ratio)
    tensors[number] = replace(tensors[number], quantisation=replace(tensors[number].quantisation, scales=scales))
    assert bound_of(replace(graph, tensors=tensors), graph.operators[1:]).steps == steps


def test_the_verb_prints_a_table_and_json(tmp_path, capsys) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    assert main.run(["compare", "-m", str(path)]) == 0
    out = capsys.readouterr().out
    assert "DEPTHWISE_CONV_2D" in out
    assert "first operator that differs by more than 1: none" in out
    assert main.run(["compare", "-m", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sound"] is True
    assert [row["equals integer model"] for row in document["operators"]] == [True] * 4


def test_the_verb_fails_when_a_bound_is_exceeded(tmp_path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    true = module.run
    monkeypatch.setattr(module, "run", lambda *given: [values ^ np.uint8(0x10) for values in true(*given)])
    assert main.run(["compare", "-m", str(path)]) == 1
    assert "EXCEEDED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1_0.25_128_quant",
        "mobilenet_v1_1.0_224_quant",
        "mobilenet_v2_1.0_224_quant",
        "resnet8_cifar10_int8",
        "tf2_mobilenet_v2_1.0_224_ptq",
    ],
)
def test_whole_networks_are_within_their_bounds(request: pytest.FixtureRequest, name: str) -> None:
    if name == "mobilenet_v1_1.0_224_quant":
        path = request.getfixturevalue("mobilenet_v1")
    else:
        path = request.getfixturevalue("shared") / "models" / f"{name}.tflite"
    graph = parse(path.read_bytes())
    (number,) = graph.inputs
    kind = np.iinfo(graph.tensors[number].dtype.value)
    noise = np.random.default_rng(0).integers(kind.min, kind.max, graph.tensors[number].shape, kind.dtype, True)
    found = compare_model(plan(graph), reference(path, [noise]))
    assert found.is_sound, [row for row in found.operators if not row.is_sound]


def one_cut_two_convolutions() -> bytes:
    """Two dilated convolutions that share the map which SPACE_TO_BATCH_ND cuts for both."""
    builder = ModelBuilder()
    feature = {"dtype": DType.UINT8, "scale": 0.05, "zero_point": 100}
    x = builder.tensor((1, 8, 8, 16), **feature)
    block, none = (builder.tensor((2,), DType.INT32, data=np.array([2, 2], np.int32)) for _ in (0, 1))
    edges = builder.tensor((2, 2), DType.INT32, data=np.array([[2, 2], [2, 2]], np.int32))
    crops = builder.tensor((2, 2), DType.INT32, data=np.zeros((2, 2), np.int32))
    cells = builder.tensor((4, 6, 6, 16), **feature)
    builder.operator("SPACE_TO_BATCH_ND", [x, block, edges], [cells], ops.NoAttributes())
    outputs = []
    for seed in (1, 2):
        data = np.random.default_rng(seed).integers(0, 256, (8, 3, 3, 16), np.uint8)
        weights = builder.tensor(data.shape, DType.UINT8, scale=0.002, zero_point=128, data=data)
        middle, y = (builder.tensor(shape, **feature) for shape in ((4, 4, 4, 8), (1, 8, 8, 8)))
        bias = builder.tensor((8,), DType.INT32, scale=0.0001, data=np.arange(8))
        builder.operator("CONV_2D", [cells, weights, bias], [middle], ops.Conv2D((1, 1), Padding.VALID))
        builder.operator("BATCH_TO_SPACE_ND", [middle, none, crops], [y], ops.NoAttributes())
        outputs.append(y)
    return builder.build([x], outputs)


@pytest.mark.parametrize("chip", chips())
def test_what_a_group_makes_for_others_too_is_no_output_of_it(chip: str) -> None:
    model = one_cut_two_convolutions()
    divided = plan(parse(model), Policy(chip=chip))
    assert all(decision.supported for decision in divided.decisions)
    inputs = [np.random.default_rng(3).integers(0, 256, (1, 8, 8, 16), np.uint8)]
    found = compare_model(divided, reference(model, inputs))
    assert found.is_sound
    assert [row.operators for row in found.operators] == [(0, 1, 2), (0, 3, 4)]
