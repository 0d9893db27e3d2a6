"""What looks like an idiom and is none stays as it is: one condition of a pass is broken at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from idiom_models import Idiom, dilated, upsampled
from rocketnpu.graph import DType, Graph, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes import fuse_add
from rocketnpu.graph.passes.idioms.dilation import dilate
from rocketnpu.graph.passes.idioms.selecting import is_map
from rocketnpu.graph.passes.idioms.upsampling import upsample
from rocketnpu.graph.passes.rewrite import same_quantisation
from rocketnpu.graph.passes.widen_scales import layer_channels
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from sheets import kinds, with_tensor

SCALE = Quantisation.per_tensor(0.5, 3)
MAP = Tensor(0, "x", (1, 4, 4, 16), DType.INT8, SCALE)


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, True),
        ({"dtype": DType.UINT8}, True),
        ({"dtype": DType.INT16}, False),
        ({"shape": (2, 4, 4, 16)}, False),
        ({"shape": (4, 4, 16)}, False),
        ({"shape": (1, 0, 4, 16)}, False),
        ({"is_dynamic": True}, False),
        ({"data": np.zeros((1, 4, 4, 16), np.int8)}, False),
        ({"quantisation": None}, False),
        ({"quantisation": Quantisation(np.full(16, 0.5, np.float32), np.zeros(16, np.int64), 3)}, False),
    ],
)
def test_maps(changes: dict[str, object], taken: bool) -> None:
    assert is_map(replace(MAP, **changes)) == taken


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"dtype": DType.UINT8}, False),
        ({"quantisation": None}, False),
        ({"quantisation": Quantisation.per_tensor(0.5, 4)}, False),
        ({"quantisation": Quantisation.per_tensor(0.25, 3)}, False),
    ],
)
def test_quantisations_are_the_same(changes: dict[str, object], same: bool) -> None:
    assert same_quantisation(MAP, replace(MAP, **changes)) == same
    assert same_quantisation(replace(MAP, **changes), MAP) == same
    assert not same_quantisation(replace(MAP, quantisation=None), replace(MAP, quantisation=None))


def up() -> Graph:
    idiom = Idiom(3)
    output = upsampled(idiom)
    return tflite.parse(idiom.builder.build(idiom.inputs, [output]))


def test_upsampling_is_found() -> None:
    assert kinds(up()) == ["RESHAPE", "TILE", "RESHAPE"]
    assert kinds(upsample(up())) == ["RESIZE_NEAREST_NEIGHBOR"]


@pytest.mark.parametrize("broken", ["spread is read", "repeated is read", "source", "target", "last", "first", "scale"])
def test_upsampling_that_is_none(broken: str) -> None:
    graph = up()
    first, repeat, last = graph.operators
    source, spread, repeated, target = first.inputs[0], first.outputs[0], repeat.outputs[0], last.outputs[0]
    assert source is not None
    graph = {
        "spread is read": lambda: replace(graph, outputs=(*graph.outputs, spread)),
        "repeated is read": lambda: replace(graph, outputs=(*graph.outputs, repeated)),
        "source": lambda: with_tensor(graph, source, is_dynamic=True),
        "target": lambda: with_tensor(graph, target, is_dynamic=True),
        "last": lambda: replace(graph, operators=(first, repeat, replace(last, kind="EXPAND_DIMS"))),
        "first": lambda: replace(graph, operators=(replace(first, kind="TRANSPOSE"), repeat, last)),
        "scale": lambda: with_tensor(graph, repeated, quantisation=Quantisation.per_tensor(9.0, 0)),
    }[broken]()
    assert upsample(graph) is graph


def layer(axis: int, zero: int, biases: int = 4) -> tuple[Graph, Operator]:
    weights = Quantisation(np.full(4, 0.01, np.float32), np.full(4, zero, np.int64), axis)
    data = np.ones((4, 1, 1, 4), np.int8)
    bias = np.zeros(biases, np.int32)
    tensors = {
        0: replace(MAP, shape=(1, 2, 2, 4)),
        1: Tensor(1, "w", data.shape, DType.INT8, weights, data),
        2: Tensor(2, "b", bias.shape, DType.INT32, None, bias),
        3: replace(MAP, index=3, shape=(1, 2, 2, 4)),
    }
    operator = Operator(0, "CONV_2D", (0, 1, 2), (3,), ops.Conv2D((1, 1), Padding.SAME))
    return Graph("g", tensors, (operator,), (0,), (3,)), operator


def test_layers_with_a_scale_for_each_channel() -> None:
    found = layer_channels(*layer(0, 0))
    assert found is not None
    assert found.weights.shape == (4, 4)
    assert (found.lowest, found.highest) == (-131, 124)
    np.testing.assert_allclose(found.factors, 0.01)
    for axis, zero, biases in ((3, 0, 4), (1, 0, 4), (0, 1, 4), (3, 1, 4), (0, 0, 3)):
        assert layer_channels(*layer(axis, zero, biases)) is None
    graph, operator = layer(0, 0)
    for number, changes in (
        (0, {"quantisation": None}),
        (3, {"quantisation": None}),
        (3, {"quantisation": Quantisation.per_tensor(0.0, 0)}),
        (0, {"dtype": DType.INT16}),
        (1, {"data": None}),
        (1, {"quantisation": Quantisation.per_tensor(0.1, 0)}),
        (1, {"dtype": DType.UINT8}),
        (2, {"data": None}),
    ):
        assert layer_channels(with_tensor(graph, number, **changes), operator) is None
    assert layer_channels(graph, replace(operator, inputs=(0, 1))) is None


@pytest.mark.parametrize(("middle", "fused"), [(0.2, True), (0.21, False), (0.15, True), (1.9, False)])
def test_the_convolution_before_an_addition_has_at_most_twice_its_scale(middle: float, fused: bool) -> None:
    builder = ModelBuilder()
    x, y, m, z = (builder.tensor((1, 2, 2, 16), DType.INT8, scale=scale) for scale in (0.1, 0.1, middle, 0.1))
    w = builder.tensor((16, 1, 1, 16), DType.INT8, scale=0.02, data=np.ones((16, 1, 1, 16), np.int8))
    b = builder.tensor((16,), DType.INT32, scale=0.002, data=np.zeros(16, np.int32))
    builder.operator("CONV_2D", [x, w, b], [m], ops.Conv2D((1, 1), Padding.SAME))
    builder.operator("ADD", [m, y], [z], ops.Arithmetic())
    graph = tflite.parse(builder.build([x, y], [z]))
    assert kinds(fuse_add(graph)) == ([ops.CONV_ADD] if fused else ["CONV_2D", "ADD"])


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("side", ["cut", "joined"])
def test_dilation_whose_numbers_are_computed_is_none(place: int, side: str) -> None:
    idiom = Idiom(1)
    output = dilated(idiom)
    graph = tflite.parse(idiom.builder.build(idiom.inputs, [output]))
    assert kinds(graph)[0] == "SPACE_TO_BATCH_ND"
    assert len(kinds(dilate(graph))) == 1
    operator = graph.operators[0 if side == "cut" else -1]
    number = operator.inputs[place]
    assert number is not None
    computed = with_tensor(graph, number, data=None)
    assert dilate(computed) is computed
