"""Which operators go to the NPU, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Activation, DType, Graph, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.partition.rules.tensors import unquantised
from rocketnpu.policy import Policy
from rocketnpu.rockchip.rules.table import RULES


def chain(*kinds: str) -> Graph:
    """Build a chain of operators: "conv" runs on the NPU, "softmax" does not."""
    builder = ModelBuilder()
    first = current = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    for kind in kinds:
        following = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
        if kind == "conv":
            weights = builder.tensor((16, 1, 1, 16), DType.INT8, scale=0.05, data=np.ones((16, 1, 1, 16), np.int8))
            bias = builder.tensor((16,), DType.INT32, scale=0.005, data=np.zeros(16, np.int32))
            builder.operator("CONV_2D", [current, weights, bias], [following], ops.Conv2D((1, 1), Padding.SAME))
        else:
            builder.operator("SOFTMAX", [current], [following], ops.Softmax())
        current = following
    return tflite.parse(builder.build([first], [current]))


def test_what_no_host_can_order_is_said_to_be_so() -> None:
    builder = ModelBuilder()
    tensors = [builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(4)]
    builder.operator("RELU", tensors[:1], tensors[1:2])
    builder.operator("ADD", [tensors[1], tensors[1]], tensors[2:3], ops.Arithmetic())
    builder.operator("RELU", tensors[2:3], tensors[3:])
    graph = tflite.parse(builder.build(tensors[:1], tensors[3:]))
    circle = replace(graph.operators[1], inputs=(1, 3))
    with pytest.raises(ModelError, match="cannot be ordered"):
        plan(replace(graph, operators=(graph.operators[0], circle, graph.operators[2])))


def test_parts_are_those_of_a_host_that_begins_on_the_cpu() -> None:
    """LiteRT takes all that is ready on the side of its first operator, here the CPU: one part, not two."""
    builder = ModelBuilder()
    one, two, three, four, five = (builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(5))
    builder.operator("CUSTOM:unknown", [one], [two])
    builder.operator("RELU", [one], [three])
    builder.operator("ADD", [two, three], [four], ops.Arithmetic())
    builder.operator("RELU", [four], [five])
    (part,) = plan(tflite.parse(builder.build([one], [five]))).parts
    assert [operator.index for operator in part.operators] == [1, 2, 3]


def test_parts_and_reasons() -> None:
    found = plan(chain("conv", "conv", "softmax", "conv"))
    assert [decision.supported for decision in found.decisions] == [True, True, False, True]
    assert found.decisions[2].reason == "the NPU has no SOFTMAX"
    assert [[operator.index for operator in part.operators] for part in found.parts] == [[0, 1], [3]]
    assert found.coverage == 1.0


def test_a_batch_is_judged_by_one_image_and_counts_as_all() -> None:
    (decision,) = plan(one_conv(batch=4)).decisions
    assert decision.supported
    assert decision.macs == 4 * plan(one_conv()).decisions[0].macs


def test_a_part_too_small_to_pay_stays_on_the_cpu() -> None:
    found = plan(chain("conv", "softmax", "conv", "conv"), Policy(minimum_macs=20_000))
    assert [decision.supported for decision in found.decisions] == [False, False, True, True]
    assert "16384 multiply-accumulates, fewer than 20000 do not pay" in found.decisions[0].reason


def one_conv(activation: Activation = Activation.NONE, stride: int = 1, batch: int = 1) -> Graph:
    builder = ModelBuilder()
    source = builder.tensor((batch, 16, 16, 4), DType.UINT8, scale=0.1, zero_point=3)
    rows = -(-16 // stride)
    target = builder.tensor((batch, rows, rows, 5), DType.UINT8, scale=0.1, zero_point=9)
    weights = builder.tensor(
        (5, 3, 3, 4), DType.UINT8, scale=0.1, zero_point=100, data=np.zeros((5, 3, 3, 4), np.uint8)
    )
    bias = builder.tensor((5,), DType.INT32, scale=0.01, data=np.zeros(5, np.int32))
    attributes = ops.Conv2D((stride, stride), Padding.SAME, activation=activation)
    builder.operator("CONV_2D", [source, weights, bias], [target], attributes)
    return tflite.parse(builder.build([source], [target]))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (one_conv(stride=11), ("Strides are 1 to 7.", "Found: 11x11")),
        (one_conv(activation=Activation.TANH), ("fused activation", "TANH")),
    ],
)
def test_a_reason_is_the_rule_and_the_value(graph: Graph, words: tuple[str, ...]) -> None:
    found = plan(graph)
    (decision,) = found.decisions
    assert not found.parts
    for word in words:
        assert word in decision.reason
    with pytest.raises(UnsupportedError):
        compile_graph(chain("softmax"))


def test_every_rule_is_published() -> None:
    for kind, rules in RULES.items():
        for rule in rules:
            assert (rule.__doc__ or "").strip().endswith("."), f"{kind}: {rule.__name__} has no rule text"


def test_a_shape_that_is_computed_keeps_a_reshape_on_the_cpu() -> None:
    builder = ModelBuilder()
    source = builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1)
    shape = builder.tensor((4,), DType.INT32)
    middle = builder.tensor((1, 2, 8, 16), DType.INT8, scale=0.1)
    target = builder.tensor((1, 2, 8, 16), DType.INT8, scale=0.1)
    weights = builder.tensor((16, 1, 1, 16), DType.INT8, scale=0.05, data=np.ones((16, 1, 1, 16), np.int8))
    bias = builder.tensor((16,), DType.INT32, scale=0.005, data=np.zeros(16, np.int32))
    builder.operator("RESHAPE", [source, shape], [middle])
    builder.operator("CONV_2D", [middle, weights, bias], [target], ops.Conv2D((1, 1), Padding.SAME))
    found = plan(tflite.parse(builder.build([source, shape], [target])))
    assert [decision.supported for decision in found.decisions] == [False, True]
    assert "The new shape is constant. Found: tensor 1 is computed" in found.decisions[0].reason


@pytest.mark.parametrize(("scale", "taken"), [(2.0**-126, True), (2.0**-127, False), (1.4e-45, False)])
def test_a_scale_without_a_finite_reciprocal_stays_on_the_cpu(scale: float, taken: bool) -> None:
    """LiteRT's logarithm gave 128 steps less for an output of scale 1.4e-45."""
    tensor = Tensor(0, "t", (1, 4, 4, 16), DType.INT8, Quantisation(np.float32([scale]), np.array([3])))
    assert (unquantised(tensor) is None) == taken
