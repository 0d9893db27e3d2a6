"""Cases in which a stated bound was once broken, or a claimed operator failed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from chip import simulate

from rocketnpu.compiler import compile_graph
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan

RANDOM = np.random.default_rng(11)


def spread_scales(channels: int) -> np.ndarray:
    """Return scales of which the second half is 300 times smaller, so that the channels must be cut."""
    return np.repeat(np.array([0.02, 0.02 / 300], np.float32), channels // 2)


def grouped_model(kind: str, shape: Sequence[int], axis: int, attributes: ops.Attributes, bias: int) -> bytes:
    builder = ModelBuilder()
    source = builder.tensor((1, 5, 5, 32), DType.INT8, scale=0.05)
    scales = spread_scales(64)
    weights = builder.tensor(
        shape, DType.INT8, scale=scales, axis=axis, data=RANDOM.integers(-127, 128, shape).astype(np.int8)
    )
    biases = np.rint(bias * 0.001 / scales).astype(np.int32)
    bias_tensor = builder.tensor((64,), DType.INT32, scale=scales * np.float32(0.05), data=biases)
    target = builder.tensor((1, 5, 5, 64), DType.INT8, scale=0.2)
    builder.operator(kind, [source, weights, bias_tensor], [target], attributes)
    return builder.build([source], [target])


@pytest.mark.parametrize(
    ("kind", "shape", "axis", "attributes"),
    [
        ("CONV_2D", (64, 3, 3, 8), 0, ops.Conv2D((1, 1), Padding.SAME)),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 64), 3, ops.DepthwiseConv2D((1, 1), Padding.SAME, depth_multiplier=2)),
    ],
)
def test_groups_whose_scales_are_cut(kind: str, shape: Sequence[int], axis: int, attributes: ops.Attributes) -> None:
    model = grouped_model(kind, shape, axis, attributes, 20_000)
    picture = RANDOM.integers(-128, 128, (1, 5, 5, 32)).astype(np.int8)
    (part,) = plan(tflite.parse(model)).parts
    (output,) = simulate(part, [picture])
    wanted = reference(model, [picture])[part.outputs[0]]
    assert np.abs(output.astype(int) - wanted).max() <= 1
    assert len(np.unique(wanted)) > 20


def adding(host: float, guest: float, output: float) -> Graph:
    builder = ModelBuilder()
    tensors = [builder.tensor((1, 4, 4, 16), DType.INT8, scale=scale) for scale in (host, guest, output)]
    builder.operator("ADD", tensors[:2], tensors[2:], ops.Arithmetic())
    return tflite.parse(builder.build(tensors[:2], tensors[2:]))


def test_an_addition_too_coarse_for_its_output_stays_on_the_cpu() -> None:
    (decision,) = plan(adding(1.0, 0.003, 0.001)).decisions
    assert "a unit of the accumulator is 3.92 output steps, too coarse for an addition" in decision.reason
    assert plan(adding(1.0, 0.003, 0.5)).parts


@pytest.mark.parametrize("weight_scale", [0.05, 5.0, 20.0])
def test_fused_additions_of_coarse_convolutions(weight_scale: float) -> None:
    builder = ModelBuilder()
    source = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    other = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    kernel = np.eye(16, dtype=np.int8)[:, None, None, :]
    weights = builder.tensor(kernel.shape, DType.INT8, scale=weight_scale, data=kernel)
    bias = builder.tensor((16,), DType.INT32, scale=weight_scale * 0.1, data=np.zeros(16, np.int32))
    middle = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    target = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    builder.operator("CONV_2D", [source, weights, bias], [middle], ops.Conv2D((1, 1), Padding.SAME))
    builder.operator("ADD", [middle, other], [target], ops.Arithmetic())
    model = builder.build([source, other], [target])
    pictures = [RANDOM.integers(-128, 128, (1, 8, 8, 16)).astype(np.int8) for _ in range(2)]
    (part,) = plan(tflite.parse(model)).parts
    (output,) = simulate(part, pictures)
    assert np.abs(output.astype(int) - reference(model, pictures)[part.outputs[0]]).max() <= 2


def test_padding_read_by_a_pool_where_tensor_0_is_elsewhere() -> None:
    builder = ModelBuilder()
    picture = builder.tensor((1, 6, 6, 16), DType.FLOAT32)
    bytes_ = builder.tensor((1, 6, 6, 16), DType.INT8, scale=0.1)
    padded = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    target = builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1)
    pads = builder.tensor((4, 2), DType.INT32, data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    builder.operator("QUANTIZE", [picture], [bytes_])
    builder.operator("PAD", [bytes_, pads], [padded])
    builder.operator("MAX_POOL_2D", [padded], [target], ops.Pool2D((2, 2), Padding.VALID, (2, 2)))
    (part,) = plan(tflite.parse(builder.build([picture], [target]))).parts
    assert [operator.kind for operator in part.operators] == ["PAD", "MAX_POOL_2D"]
    assert compile_graph(part).tasks
