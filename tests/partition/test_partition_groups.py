"""Which operators of a graph stand behind those that the passes made."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes import enable
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.groups import joined_groups
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


def upsampled() -> Graph:
    """Build SOFTMAX and an up-sampling whose shape is worked out from that of the model's input, as converters do."""
    builder = ModelBuilder()

    def integers(*numbers: int) -> int:
        return builder.tensor((len(numbers),), DType.INT32, data=np.array(numbers, np.int32))

    def single(number: int) -> int:
        return builder.tensor((), DType.INT32, data=np.array(number, np.int32))

    x = builder.tensor((1, 4, 4, 16), DType.INT8, scale=1 / 256, zero_point=-128)
    y = builder.tensor((1, 4, 4, 16), DType.INT8, scale=1 / 256, zero_point=-128)
    spread = builder.tensor((1, 4, 1, 4, 16), DType.INT8, scale=1 / 256, zero_point=-128)
    tiled = builder.tensor((1, 4, 2, 4, 16), DType.INT8, scale=1 / 256, zero_point=-128)
    z = builder.tensor((1, 8, 4, 16), DType.INT8, scale=1 / 256, zero_point=-128)
    shape, first = builder.tensor((4,), DType.INT32), builder.tensor((), DType.INT32)
    wanted = builder.tensor((4,), DType.INT32)
    builder.operator("SOFTMAX", [x], [y], ops.Softmax())
    builder.operator("RESHAPE", [y, integers(1, 4, 1, 4, 16)], [spread])
    builder.operator("TILE", [spread, integers(1, 1, 2, 1, 1)], [tiled])
    builder.operator("SHAPE", [x], [shape])
    slicing = [shape, integers(0), integers(1), integers(1)]
    builder.operator("STRIDED_SLICE", slicing, [first], ops.StridedSlice(shrink_axis_mask=1))
    builder.operator("PACK", [first, single(8), single(4), single(16)], [wanted], ops.Pack(0))
    builder.operator("RESHAPE", [tiled, wanted], [z])
    return tflite.parse(builder.build([x], [z]))


def test_a_shape_that_is_asked_far_away_draws_nothing_in() -> None:
    graph = upsampled()
    groups = list(joined_groups(graph, enable(graph)))
    assert [[operator.kind for operator in group.originals] for group in groups] == [
        ["SOFTMAX"],
        ["RESHAPE", "TILE", "RESHAPE"],
    ]


@pytest.mark.parametrize("policy", [Policy(), Policy("mainline", allow_unproven=False)])
def test_what_the_npu_lacks_stays_on_the_cpu(policy: Policy) -> None:
    divided = plan(upsampled(), policy)
    assert [d.kind for d in divided.decisions if d.supported] == [
        *("RESHAPE", "TILE", "SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"),
    ]
    for part in divided.parts:
        assert compile_graph(part, policy).tasks
