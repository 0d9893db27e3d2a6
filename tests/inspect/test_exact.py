"""Results in 64 bits, operators cut out of files, and kernels that stand for missing ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli.main import run
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.exact import wrapped
from rocketnpu.inspect.kernels import Kernels
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder


def layer(bias: int, depthwise: bool) -> bytes:
    """Build a 3x3 layer of four channels whose last one has such a bias and next to no scale."""
    builder = ModelBuilder()
    source = builder.tensor((1, 6, 5, 4), DType.INT8, scale=0.1, zero_point=-7)
    target = builder.tensor((1, 3, 3, 4), DType.INT8, scale=0.3, zero_point=3)
    scales = np.array([0.01, 0.02, 0.01, 1e-9], np.float32)
    shape = (1, 3, 3, 4) if depthwise else (4, 3, 3, 4)
    data = np.random.default_rng(2).integers(-127, 128, shape)
    weights = builder.tensor(shape, DType.INT8, scale=scales, axis=3 if depthwise else 0, data=data)
    biases = builder.tensor((4,), DType.INT32, scale=scales * np.float32(0.1), data=np.array([5, -9, 100, bias]))
    attributes = (ops.DepthwiseConv2D if depthwise else ops.Conv2D)((2, 2), Padding.SAME)
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    builder.operator(kind, [source, weights, biases], [target], attributes)
    return builder.build([source], [target])


def values_of(graph: Graph) -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, graph.tensors[0].shape).astype(np.int8)


@pytest.mark.parametrize("depthwise", [False, True])
def test_only_outputs_that_wrap_around_are_named(depthwise: bool) -> None:
    model = layer(2**31 - 1, depthwise)
    graph = tflite.parse(model)
    values = values_of(graph)
    found = wrapped(graph, graph.operators[0], {0: values})
    assert found is not None
    assert found.channels == (3,)
    plain = reference(model, [values])[graph.outputs[0]]
    # Where nothing wraps around, exact results are the reference's, but for how it rounds.
    assert np.abs(found.exact.astype(int) - plain)[~found.mask].max() <= 1
    # Elsewhere the sum turns negative: -0.07 steps and so on would be +0.07.
    assert (found.exact[found.mask] >= 3).all()


def test_a_layer_that_cannot_wrap_around_is_left_alone() -> None:
    graph = tflite.parse(layer(1000, False))
    assert wrapped(graph, graph.operators[0], {0: values_of(graph)}) is None


def test_an_operator_is_cut_out_of_its_file() -> None:
    model = layer(1000, False)
    graph = tflite.parse(model)
    values = values_of(graph)
    kernels = Kernels(model)
    (found,) = kernels.run(graph, graph.operators[0], {0: values})
    np.testing.assert_array_equal(found, reference(model, [values])[graph.outputs[0]])
    assert not kernels.substituted


def test_default_kernels_stand_for_missing_ones(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "-m", str(shared / "field" / "models" / "espcn.tflite")]) == 0
    assert "default kernels stand for them: 5 (DEPTH_TO_SPACE)" in capsys.readouterr().out
