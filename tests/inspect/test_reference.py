"""LiteRT's reference kernels, run as a whole and one operator at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.errors import InputError, ModelError, UnsupportedError
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import operator_reference, reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from strategies import FAMILIES, case


def pool_then_relu() -> bytes:
    builder = ModelBuilder()
    x, y, z = (builder.tensor((1, n, n, 1), DType.UINT8, scale=0.5, zero_point=2) for n in (4, 2, 2))
    builder.operator("MAX_POOL_2D", [x], [y], ops.Pool2D((2, 2), Padding.VALID, (2, 2)))
    builder.operator("RELU", [y], [z])
    return builder.build([x], [z])


def test_every_tensor_is_returned_with_known_values() -> None:
    x = np.array([0, 1, 9, 8, 1, 0, 7, 6, 2, 3, 4, 5, 3, 2, 5, 4], np.uint8).reshape(1, 4, 4, 1)
    tensors = reference(pool_then_relu(), [x])
    np.testing.assert_array_equal(tensors[0], x)
    assert tensors[1].ravel().tolist() == [1, 9, 3, 5]
    assert tensors[2].ravel().tolist() == [2, 9, 3, 5]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_operator_alone_gives_what_it_gives_in_its_model(family: str) -> None:
    for seed in range(6):
        found = case(family, seed)
        inputs = found.inputs("random")
        expected = reference(found.model, inputs)
        operator = found.graph.operators[0]
        order = [n for n in dict.fromkeys(operator.inputs) if n in found.graph.inputs]
        outputs = operator_reference(found.graph, operator, [inputs[found.graph.inputs.index(n)] for n in order])
        for number, values in zip(operator.outputs, outputs, strict=True):
            np.testing.assert_array_equal(values, expected[number])


def test_every_operator_of_a_real_model_alone(shared: Path) -> None:
    path = shared / "models" / "resnet8_cifar10_int8.tflite"
    graph = parse(path.read_bytes())
    picture = np.random.default_rng(1).integers(-128, 127, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
    tensors = reference(path, [picture])
    for operator in graph.operators:
        read = dict.fromkeys(n for n in operator.inputs if n is not None and not graph.tensors[n].is_constant)
        for number, values in zip(
            operator.outputs, operator_reference(graph, operator, [tensors[n] for n in read]), strict=True
        ):
            np.testing.assert_array_equal(values, tensors[number], err_msg=str(operator))


def test_a_tensor_read_twice_is_given_once() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 3), DType.INT8, scale=scale) for scale in (1.0, 2.0))
    builder.operator("ADD", [x, x], [y], ops.Arithmetic())
    graph = parse(builder.build([x], [y]))
    (found,) = operator_reference(graph, graph.operators[0], [np.array([[1, -7, 100]], np.int8)])
    assert found.tolist() == [[1, -7, 100]]


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(InputError, match="takes 1 inputs, 0 are given"):
        reference(pool_then_relu(), [])
    with pytest.raises(InputError, match=r"input 0 is int8 \(1, 4, 4, 1\), the model takes uint8"):
        reference(pool_then_relu(), [np.zeros((1, 4, 4, 1), np.int8)])
    with pytest.raises(InputError, match=r"uint8 \(4, 4\)"):
        reference(pool_then_relu(), [np.zeros((4, 4), np.uint8)])


def test_refusals_carry_the_words_of_litert() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 3), DType.INT8, scale=1.0) for _ in range(2))
    builder.operator("CUSTOM:Own", [x], [y])
    with pytest.raises(UnsupportedError, match="unresolved custom op: Own"):
        reference(builder.build([x], [y]), [np.zeros((1, 3), np.int8)])
    builder = ModelBuilder()
    x, y = builder.tensor((1, 3), DType.INT8, scale=1.0), builder.tensor((1, 3), DType.INT8, scale=0.5)
    builder.operator("MAXIMUM", [x, x], [y])
    builder.operator("SOFTMAX", [y], [z := builder.tensor((1, 3), DType.INT8, scale=1.0)], ops.Softmax())
    with pytest.raises(ModelError, match=r"LiteRT refuses the model: .*SOFTMAX"):
        reference(builder.build([x], [z]), [np.zeros((1, 3), np.int8)])


def test_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read model"):
        reference(tmp_path / "none.tflite", [])


def test_nothing_is_written_to_standard_error(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(pool_then_relu())
    script = (
        "import sys, numpy\nfrom rocketnpu.inspect.reference import reference\n"
        "reference(sys.argv[1], [numpy.zeros((1, 4, 4, 1), numpy.uint8)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.tflite"], capture_output=True, check=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
