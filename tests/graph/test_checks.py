"""What a graph must satisfy: where LiteRT would read memory that is not its own, scales, zero points, and work."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Graph, Operator, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.sparse import Level, Sparsity, densify
from rocketnpu.graph.verify import verify
from rocketnpu.graph.work import operator_macs
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.third_party import tflite_schema as schema

SOURCE = (1, 8, 7, 3)


def strided(begin: list[int], end: list[int], step: list[int], made: tuple[int, ...], masks: tuple[int, int]) -> bytes:
    builder = ModelBuilder()
    source = builder.tensor(SOURCE, DType.UINT8, scale=0.1)
    limits = [builder.tensor((4,), DType.INT32, data=np.array(values, np.int32)) for values in (begin, end, step)]
    target = builder.tensor(made, DType.UINT8, scale=0.1)
    builder.operator("STRIDED_SLICE", [source, *limits], [target], ops.StridedSlice(*masks, offset=True))
    return builder.build([source], [target])


@pytest.mark.parametrize(
    ("begin", "end", "made", "masks", "said"),
    [
        # LiteRT crashes, or gives what lies behind its input.
        ([0, 0, 0, 0], [0, 8, 6, 0], (1, 3, 2, 3), (9, 9), "masked"),
        ([0, 0, 0, 0], [1, 8, 6, 0], (1, 3, 2, 3), (0, 8), "masked"),
        ([0, 1, 0, 0], [1, 7, 6, 3], (1, 3, 2, 3), (2, 0), "masked"),
        ([0, 1, 0, 0], [1, 8, 6, 3], (1, 3, 2, 3), (0, 0), "it takes 8 from 1 of a dimension of 8"),
        ([0, -7, 0, 0], [1, 8, 6, 3], (1, 3, 2, 3), (0, 0), "it takes 8 from -7 of a dimension of 8"),
        ([0, -9, 0, 0], [1, 8, 6, 3], (1, 3, 2, 3), (0, 0), "it takes 8 from -9 of a dimension of 8"),
        ([0, 0, 0, 0], [1, 8, 0, 3], (1, 3, 2, 3), (0, 0), "it takes 0 from 0 of a dimension of 7"),
    ],
)
def test_slices_beyond_their_input(begin: list[int], end: list[int], made: tuple[int, ...], masks, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        parse(strided(begin, end, [1, 3, 3, 1], made, masks))


@pytest.mark.parametrize(("begin", "end"), [([0, 1, 0, 0], [1, 7, 6, 3]), ([0, 1, 1, 0], [1, 7, 6, 3])])
def test_slices_inside_are_taken_as_litert_takes_them(begin: list[int], end: list[int]) -> None:
    model = strided(begin, end, [1, 3, 3, 1], (1, 3, 2, 3), (0, 0))
    values = np.arange(168, dtype=np.uint8).reshape(SOURCE)
    wanted = values[:, 1:8:3, begin[2] : begin[2] + 6 : 3]
    graph = parse(model)
    np.testing.assert_array_equal(reference(model, [values])[graph.outputs[0]], wanted)
    assert plan(graph).parts


def test_a_step_backwards_is_refused() -> None:
    with pytest.raises(ModelError, match="it takes 3 from 0"):
        parse(strided([0, 0, 0, 0], [1, 8, 6, 3], [1, 3, 3, -1], (1, 3, 2, 3), (0, 0)))


def added(scales: tuple[float, float, float]) -> bytes:
    builder = ModelBuilder()
    tensors = [builder.tensor((1, 2, 2, 4), DType.INT8, scale=scale) for scale in scales]
    builder.operator("ADD", tensors[:2], tensors[2:], ops.Arithmetic())
    return builder.build(tensors[:2], tensors[2:])


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ((2.0**18, 1, 1), ""),
        ((2.0**19, 1, 1), "out of proportion"),
        ((1, 2.0**19, 1), "out of proportion"),
        ((2.0**60, 2.0**60, 2.0**60), ""),
        ((2.0**-60, 2.0**-60, 2.0**-60), ""),
        ((2.0**61, 1, 1), "has a scale of"),
        ((1, 1, 2.0**-61), "has a scale of"),
    ],
)
def test_scales_with_which_nothing_can_be_computed(scales: tuple[float, float, float], said: str) -> None:
    if not said:
        assert parse(added(scales)).operators
        return
    with pytest.raises(ModelError, match=said):
        parse(added(scales))


@pytest.mark.parametrize(
    ("dtype", "zero", "taken"),
    [
        (DType.INT8, -128, True),
        (DType.INT8, 127, True),
        (DType.INT8, 128, False),
        (DType.INT8, -129, False),
        (DType.UINT8, 255, True),
        (DType.UINT8, -1, False),
        (DType.UINT8, 256, False),
        (DType.INT32, 1 << 40, True),
        (DType.INT32, -(1 << 40), True),
    ],
)
def test_zero_points_lie_in_their_type(dtype: DType, zero: int, taken: bool) -> None:
    tensor = Tensor(0, "t", (1, 2), dtype, Quantisation(np.float32([0.1]), np.array([zero])))
    graph = Graph("g", {0: tensor}, (), (0,), (0,))
    if taken:
        verify(graph)
        return
    with pytest.raises(ModelError, match="has a zero point outside"):
        verify(graph)


@pytest.mark.parametrize(("axis", "taken"), [(0, False), (1, True), (-1, False), (2, False)])
def test_scales_of_channels_lie_along_an_axis_of_their_length(axis: int, taken: bool) -> None:
    scales = Quantisation(np.full(3, 0.1, np.float32), np.zeros(3, np.int64), axis)
    graph = Graph("g", {0: Tensor(0, "t", (2, 3), DType.INT8, scales)}, (), (0,), (0,))
    if taken:
        verify(graph)
        return
    with pytest.raises(ModelError, match="but its shape is"):
        verify(graph)


def test_work_is_counted_where_there_are_weights() -> None:
    def tensor(number: int, *shape: int, data: bool = False) -> Tensor:
        return Tensor(number, "t", shape, DType.INT8, None, np.zeros(shape, np.int8) if data else None)

    def macs(kind: str, *shapes: tuple[int, ...], made: tuple[int, ...] = (1, 3, 4, 5)) -> int:
        tensors = {n: tensor(n, *shape) for n, shape in enumerate((*shapes, made))}
        last = len(shapes)
        operator = Operator(0, kind, tuple(range(last)), (last,))
        return operator_macs(Graph("g", tensors, (operator,), (0,), (last,)), operator)

    assert macs("CONV_2D", (1, 3, 4, 7), (5, 3, 3, 7)) == 60 * 63
    assert macs("DEPTHWISE_CONV_2D", (1, 3, 4, 5), (1, 3, 3, 5)) == 60 * 9
    assert macs("FULLY_CONNECTED", (2, 7), (5, 7), made=(2, 5)) == 70
    assert macs("TRANSPOSE_CONV", (4,), (5, 2, 2, 7), (1, 3, 4, 7)) == 12 * 7 * 5 * 4
    assert macs("RELU", (1, 3, 4, 5)) == macs("ADD", (1, 3, 4, 5), (1, 3, 4, 5)) == macs("CONV_2D", (1, 3, 4, 7)) == 0
    assert macs("CONV_2D", (1, 3, 4, 7), ()) == macs("CONV_2D", (1, 3, 4, 7), (0, 3, 3, 7)) == 0
    assert macs("TRANSPOSE_CONV", (4,), (5, 2, 2, 7)) == 0


def test_blocks_of_three_are_written_out() -> None:
    """With blocks of 2, 4 or 8 a wrong sum of block and place might come out right."""
    values = np.arange(1, 13, dtype=np.int8)
    levels = (Level(2), Level(2), Level(3))
    dense = densify(Sparsity((0, 1, 2), (1,), levels), values, (2, 6))
    assert dense.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    rows = densify(Sparsity((0, 1, 2), (0,), (Level(2), Level(2), Level(3))), values, (6, 2))
    assert rows.tolist() == [[1, 4], [2, 5], [3, 6], [7, 10], [8, 11], [9, 12]]


def test_options_that_a_file_leaves_out_are_those_of_the_schema() -> None:
    assert ops.Resize() == ops.Resize(align_corners=False, half_pixel_centers=False)
    assert (ops.StridedSlice().begin_mask, ops.StridedSlice().offset) == (0, False)
    builder = ModelBuilder()
    source = builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1)
    size = builder.tensor((2,), DType.INT32, data=np.array([8, 8], np.int32))
    target = builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1)
    builder.operator("RESIZE_NEAREST_NEIGHBOR", [source, size], [target], table=schema.ResizeNearestNeighborOptionsT())
    (operator,) = parse(builder.build([source], [target])).operators
    assert operator.attributes == ops.Resize()
