"""What is known before a graph runs: values worked by hand, their shapes, and what is left to whoever runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rocketnpu.errors import ModelError
from rocketnpu.graph import Activation, DType, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.shapes import output_shapes
from rocketnpu.graph.values import MAX_ELEMENTS, known_values

PLAIN = ops.NoAttributes()
DEPTHWISE = ops.DepthwiseConv2D((1, 1), Padding.SAME)
UP = ops.TransposeConv((2, 2), Padding.SAME)
A = np.arange(24).reshape(2, 3, 4)
ROW = np.array([7, -3, 5])


def tensor(values: Any, number: int = 0, dtype: DType = DType.INT32, **more: Any) -> Tensor:
    data = np.array(values, dtype.value)
    return Tensor(number, f"t{number}", data.shape, dtype, None, data, **more)


def ask(kind: str, inputs: list[Any], attributes: Any = PLAIN, made: tuple[int, ...] = (1,), count: int = 1, **more):
    """Return the values and the shapes of an operator's outputs; ``made`` is the shape that its file gives them."""
    given = [value if isinstance(value, Tensor) else tensor(value, n) for n, value in enumerate(inputs)]
    dtype = more.pop("dtype", DType.INT32)
    outputs = [Tensor(50 + n, "y", made, dtype, more.get("quantisation")) for n in range(count)]
    operator = Operator(0, kind, tuple(range(len(given))), tuple(range(50, 50 + count)), attributes)
    return known_values(operator, given, outputs), output_shapes(operator, given, outputs)


CASES: list[tuple[str, list[Any], Any, list[Any]]] = [
    ("RESHAPE", [A, [4, -1]], PLAIN, [A.reshape(4, 6)]),
    ("RESHAPE", [A, [6, 4]], PLAIN, [A.reshape(6, 4)]),
    ("EXPAND_DIMS", [A, [1]], PLAIN, [A[:, None]]),
    ("EXPAND_DIMS", [A, [-1]], PLAIN, [A[..., None]]),
    ("SQUEEZE", [A[:, None, :, None]], ops.Squeeze((1,)), [A[:, :, None]]),
    ("SQUEEZE", [A[:, None, :, None]], ops.Squeeze((-2, 1)), [A]),
    ("TRANSPOSE", [A, [2, 0, 1]], PLAIN, [A.transpose(2, 0, 1)]),
    ("SLICE", [A, [1, 0, 2], [1, -1, 2]], PLAIN, [A[1:2, :, 2:4]]),
    ("SLICE", [A, [0, 1, 0], [-1, 2, 3]], PLAIN, [A[:, 1:3, :3]]),
    ("STRIDED_SLICE", [A, [0, 1, 3], [2, 3, 0], [1, 1, -2]], ops.StridedSlice(), [A[0:2, 1:3, 3:0:-2]]),
    ("STRIDED_SLICE", [A, [1, 1, 1], [9, 2, 2], [1, 1, 1]], ops.StridedSlice(2, 4), [A[1:, :2, 1:]]),
    ("STRIDED_SLICE", [A, [1, 1, 1], [9, 2, 2], [1, 1, 1]], ops.StridedSlice(5, 2), [A[:9, 1:, :2]]),
    ("STRIDED_SLICE", [A, [1, 2], [2, 3], [1, 1]], ops.StridedSlice(shrink_axis_mask=1), [A[1, 2:3]]),
    ("STRIDED_SLICE", [A, [1, 2], [2, 3], [1, 1]], ops.StridedSlice(shrink_axis_mask=2), [A[1:2, 2]]),
    ("STRIDED_SLICE", [A, [0, 9, 1], [0, 9, 3], [1, 1, 1]], ops.StridedSlice(1, 1, ellipsis_mask=2), [A[..., 1:3]]),
    ("STRIDED_SLICE", [A, [9, 0, 1], [9, 0, 3], [1, 1, 1]], ops.StridedSlice(2, 2, new_axis_mask=1), [A[None, :, 1:3]]),
    ("STRIDED_SLICE", [A, [1], [2], [1]], ops.StridedSlice(), [A[1:2]]),
    ("STRIDED_SLICE", [A, [0, 1, 1], [1, 2, 2], [1, 1, 1]], ops.StridedSlice(offset=True), [A[:1, 1:3, 1:3]]),
    ("GATHER", [A, [2, 0]], ops.Gather(1), [A[:, [2, 0]]]),
    ("GATHER", [A, [[1, 3]]], ops.Gather(-1), [A[:, :, [[1, 3]]]]),
    ("PACK", [ROW, ROW + 1], ops.Pack(0), [np.array([ROW, ROW + 1])]),
    ("PACK", [ROW, ROW + 1], ops.Pack(-1), [np.array([ROW, ROW + 1]).T]),
    ("UNPACK", [A], ops.Pack(1), [A[:, 0], A[:, 1], A[:, 2]]),
    ("UNPACK", [A], ops.Pack(-1), [A[..., 0], A[..., 1], A[..., 2], A[..., 3]]),
    ("CONCATENATION", [A, A + 1], ops.Concatenation(2), [np.concatenate([A, A + 1], 2)]),
    ("CONCATENATION", [A, A + 1, A], ops.Concatenation(-2), [np.concatenate([A, A + 1, A], 1)]),
    ("ADD", [A, [1, 2, 3, 4]], ops.Arithmetic(), [A + np.array([1, 2, 3, 4])]),
    ("SUB", [ROW, [1, 2, 3]], ops.Arithmetic(), [[6, -5, 2]]),
    ("MUL", [ROW, [2]], ops.Arithmetic(), [[14, -6, 10]]),
    ("DIV", [ROW, [2, 2, -2]], ops.Arithmetic(), [[3, -1, -2]]),
    ("FLOOR_DIV", [ROW, [2, 2, -2]], PLAIN, [[3, -2, -3]]),
    ("MAXIMUM", [ROW, [0, 0, 9]], PLAIN, [[7, 0, 9]]),
    ("MINIMUM", [ROW, [0, 0, 9]], PLAIN, [[0, -3, 5]]),
    ("SUM", [A, [1]], ops.Reduce(keep_dims=False), [A.sum(1)]),
    ("SUM", [A, [-1, 0]], ops.Reduce(keep_dims=True), [A.sum((0, 2), keepdims=True)]),
    ("REDUCE_MAX", [A, [0]], ops.Reduce(keep_dims=False), [A.max(0)]),
    ("REDUCE_MIN", [A, [2]], ops.Reduce(keep_dims=False), [A.min(2)]),
    ("REDUCE_PROD", [ROW, [0]], ops.Reduce(keep_dims=False), [np.array(-105)]),
    ("BROADCAST_TO", [[[1], [2]], [3, 2, 2]], PLAIN, [np.broadcast_to([[1], [2]], (3, 2, 2))]),
    ("TILE", [[[1, 2]], [2, 3]], PLAIN, [np.tile([[1, 2]], (2, 3))]),
    ("ZEROS_LIKE", [A], PLAIN, [np.zeros_like(A)]),
    ("SHAPE", [A], PLAIN, [[2, 3, 4]]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_values_and_shapes(case: tuple[str, list[Any], Any, list[Any]]) -> None:
    kind, inputs, attributes, wanted = case
    wanted = [np.asarray(values) for values in wanted]
    values, shapes = ask(kind, inputs, attributes, count=len(wanted), made=wanted[0].shape)
    assert values is not None
    assert [array.tolist() for array in values] == [array.tolist() for array in wanted]
    assert all(array.dtype == np.int32 and array.flags.c_contiguous for array in values)
    assert shapes is None or shapes == [array.shape for array in wanted]


@pytest.mark.parametrize(
    ("kind", "inputs", "wanted"),
    [
        ("RANGE", [2, 11, 3], [2, 5, 8]),
        ("RANGE", [5, 0, -2], [5, 3, 1]),
        ("RANGE", [0, 1, 0], None),
        ("RANGE", [0, MAX_ELEMENTS, 1], list(range(MAX_ELEMENTS))),
        ("RANGE", [0, MAX_ELEMENTS + 1, 1], None),
        ("FILL", [[2, 3], 7], [[7, 7, 7]] * 2),
        ("FILL", [[MAX_ELEMENTS + 1], 7], None),
        ("BROADCAST_TO", [1, [MAX_ELEMENTS + 1]], None),
        ("TILE", [[1, 2], [MAX_ELEMENTS // 2 + 1]], None),
        ("BROADCAST_ARGS", [[2, 1, 4], [3, 1]], [2, 3, 4]),
        ("RANK", [A], 3),
        ("DIV", [[1], [0]], None),
        ("FLOOR_DIV", [[1], [0]], None),
        ("STRIDED_SLICE", [ROW, [0, 0], [1, 1], [1, 1]], None),
        ("RESHAPE", [A, [5, -1]], None),
        ("SOFTMAX", [ROW], None),
    ],
)
def test_values_that_have_no_shape_rule_or_none_at_all(kind: str, inputs: list[Any], wanted: Any) -> None:
    attributes = ops.StridedSlice() if kind == "STRIDED_SLICE" else ops.Arithmetic() if kind == "DIV" else PLAIN
    given = [tensor(value, n) for n, value in enumerate(inputs)]
    operator = Operator(0, kind, tuple(range(len(given))), (50,), attributes)
    found = known_values(operator, given, [Tensor(50, "y", (1,), DType.INT32)])
    assert found is None if wanted is None else (found is not None and found[0].tolist() == wanted)


def test_shapes_that_a_file_gives() -> None:
    """RESHAPE without a second input, SQUEEZE without axes."""
    assert ask("RESHAPE", [A], made=(4, 6))[0][0].tolist() == A.reshape(4, 6).tolist()
    assert ask("SQUEEZE", [A[:, None]], ops.Squeeze(()), made=(2, 3, 4))[0][0].tolist() == A.tolist()
    assert ask("CAST", [np.array([1.75, -2.5])], dtype=DType.INT32)[0][0].tolist() == [1, -2]


def test_what_is_not_known() -> None:
    unknown = Tensor(1, "x", (3,), DType.INT32)
    assert ask("ADD", [ROW, unknown], ops.Arithmetic(), made=(3,))[0] is None
    assert ask("ADD", [ROW, ROW], ops.Arithmetic(Activation.RELU), made=(3,))[0] is None
    assert ask("CONCATENATION", [ROW, ROW], ops.Concatenation(0, Activation.RELU6), made=(6,))[0] is None
    assert ask("GATHER", [A, [[0], [1]]], ops.Gather(1, 1), made=(2, 1, 4))[0] is None
    assert ask("SHAPE", [Tensor(0, "x", (2, 3), DType.INT32, is_dynamic=True)], made=(2,))[0] is None
    assert ask("SHAPE", [Tensor(0, "x", (2, 3), DType.FLOAT32)], made=(2,))[0][0].tolist() == [2, 3]
    assert ask("ADD", [ROW, ROW], ops.Arithmetic(), made=(3,), dtype=DType.OTHER)[0] is None
    operator = Operator(0, "SHAPE", (), (50,), PLAIN)
    assert known_values(operator, [], [Tensor(50, "y", (1,), DType.INT32)]) is None
    assert known_values(operator, [tensor(ROW)], []) is None


def test_quantised_values_are_moved_and_not_computed() -> None:
    scale = Quantisation.per_tensor(0.5, 1)
    x = Tensor(0, "x", (3,), DType.INT8, scale, np.array([1, 2, 3], np.int8))
    moved = ask("RESHAPE", [x, [1, 3]], made=(1, 3), dtype=DType.INT8, quantisation=scale)[0]
    assert moved[0].tolist() == [[1, 2, 3]]
    assert ask("ADD", [x, x], ops.Arithmetic(), made=(3,), dtype=DType.INT8, quantisation=scale)[0] is None
    plain = Tensor(0, "x", (3,), DType.INT8, None, np.array([1, 2, 3], np.int8))
    assert ask("ADD", [plain, plain], ops.Arithmetic(), made=(3,), dtype=DType.INT8)[0][0].tolist() == [2, 4, 6]
    assert ask("ADD", [plain, plain], ops.Arithmetic(), made=(3,), dtype=DType.INT8, quantisation=scale)[0] is None


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "count", "wanted"),
    [
        ("SPLIT", [[2], A], PLAIN, 2, [(2, 3, 2)] * 2),
        ("SPLIT_V", [A, [1, 3], [2]], PLAIN, 2, [(2, 3, 1), (2, 3, 3)]),
        ("SPLIT_V", [A, [-1, 3], [-1]], PLAIN, 2, [(2, 3, 1), (2, 3, 3)]),
        ("TILE", [A, [1, 2, 3]], PLAIN, 1, [(2, 6, 12)]),
        ("BROADCAST_TO", [A[:1], [5, 7, 3, 4]], PLAIN, 1, [(5, 7, 3, 4)]),
        ("DEPTH_TO_SPACE", [np.zeros((1, 2, 3, 8))], ops.Block(2), 1, [(1, 4, 6, 2)]),
        ("SPACE_TO_DEPTH", [np.zeros((1, 4, 6, 3))], ops.Block(2), 1, [(1, 2, 3, 12)]),
        ("SPACE_TO_BATCH_ND", [np.zeros((1, 4, 5, 3)), [2, 3], [[1, 1], [0, 1]]], PLAIN, 1, [(6, 3, 2, 3)]),
        ("BATCH_TO_SPACE_ND", [np.zeros((6, 3, 2, 3)), [2, 3], [[1, 1], [0, 1]]], PLAIN, 1, [(1, 4, 5, 3)]),
        ("GATHER", [A, [[0], [1]]], ops.Gather(1, 1), 1, [(2, 1, 4)]),
        ("PAD", [A, [[1, 2], [0, 3], [4, 0]]], PLAIN, 1, [(5, 6, 8)]),
    ],
)
def test_more_shapes(kind: str, inputs: list[Any], attributes: Any, count: int, wanted: list[tuple[int, ...]]) -> None:
    assert ask(kind, inputs, attributes, count=count)[1] == wanted


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "count", "said"),
    [
        ("RESHAPE", [A, [-1, -1]], PLAIN, 1, "is asked to become"),
        ("RESHAPE", [A, [-2, 12]], PLAIN, 1, "is asked to become"),
        ("RESHAPE", [A, [5, 5]], PLAIN, 1, "cannot be reshaped"),
        ("RESHAPE", [A, [5, -1]], PLAIN, 1, "cannot be reshaped"),
        ("SQUEEZE", [A], ops.Squeeze((1,)), 1, "cannot lose"),
        ("EXPAND_DIMS", [A, [4]], PLAIN, 1, "axis 4 is outside"),
        ("SLICE", [A, [0, 0], [1, 1]], PLAIN, 1, "does not fit"),
        ("SLICE", [A, [0, 0, 1], [1, 1, 4]], PLAIN, 1, "lies outside"),
        ("SLICE", [A, [0, -1, 0], [1, 1, 4]], PLAIN, 1, "lies outside"),
        ("STRIDED_SLICE", [A, [0, 0], [1], [1]], ops.StridedSlice(), 1, "not of one length"),
        ("STRIDED_SLICE", [A, [0] * 4, [1] * 4, [1] * 4], ops.StridedSlice(), 1, "4 ranges for 3"),
        ("SPLIT", [[2], A], PLAIN, 3, "does not split into 3"),
        ("SPLIT_V", [A, [1, 2], [2]], PLAIN, 2, "does not split into"),
        ("SPLIT_V", [A, [1, 3, 1], [2]], PLAIN, 2, "SPLIT_V into"),
        ("SPLIT_V", [A, [-1, -1], [2]], PLAIN, 2, "SPLIT_V into"),
        ("SPLIT_V", [A, [-2, 6], [2]], PLAIN, 2, "SPLIT_V into"),
        ("SPLIT_V", [A, [-1, 5], [2]], PLAIN, 2, "does not split into"),
        ("PACK", [ROW, A], ops.Pack(0), 1, "do not stack"),
        ("UNPACK", [A], ops.Pack(1), 2, "does not unpack into 2"),
        ("GATHER", [A, [[0], [1]]], ops.Gather(0, 1), 1, "in common along axis 0"),
        ("GATHER", [A, [0]], ops.Gather(2, 2), 1, "in common along axis 2"),
        ("TILE", [A, [1, 2]], PLAIN, 1, "cannot be repeated"),
        ("TILE", [A, [1, 2, -1]], PLAIN, 1, "cannot be repeated"),
        ("BROADCAST_TO", [A, [3, 4]], PLAIN, 1, "does not broadcast"),
        ("BROADCAST_TO", [A, [2, 3, 5]], PLAIN, 1, "does not broadcast"),
        ("BROADCAST_TO", [A, [-1, 2, 3, 4]], PLAIN, 1, "does not broadcast"),
        ("DEPTH_TO_SPACE", [np.zeros((1, 2, 3, 6))], ops.Block(2), 1, "make no blocks"),
        ("DEPTH_TO_SPACE", [np.zeros((1, 2, 3, 8))], ops.Block(0), 1, "make no blocks"),
        ("SPACE_TO_DEPTH", [np.zeros((1, 4, 5, 3))], ops.Block(2), 1, "is not cut into"),
        ("SPACE_TO_DEPTH", [np.zeros((1, 5, 4, 3))], ops.Block(2), 1, "is not cut into"),
        ("SPACE_TO_BATCH_ND", [np.zeros((1, 4, 5, 3)), [2, 3], [[1, 1], [0, 0]]], PLAIN, 1, "is not cut into"),
        ("SPACE_TO_BATCH_ND", [np.zeros((1, 4, 5, 3)), [2, 0], [[1, 1], [0, 1]]], PLAIN, 1, "padded by"),
        ("SPACE_TO_BATCH_ND", [np.zeros((1, 4, 5, 3)), [2, 3], [[-1, 1], [0, 1]]], PLAIN, 1, "padded by"),
        ("BATCH_TO_SPACE_ND", [np.zeros((5, 3, 2, 3)), [2, 3], [[1, 1], [0, 1]]], PLAIN, 1, "makes no blocks"),
        ("BATCH_TO_SPACE_ND", [np.zeros((6, 3, 2, 3)), [2, 3], [[3, 3], [0, 1]]], PLAIN, 1, "nothing is left"),
        ("BATCH_TO_SPACE_ND", [np.zeros((6, 3, 2, 3)), [2, 3], [[1, -1], [0, 1]]], PLAIN, 1, "cropped by"),
        ("DEPTHWISE_CONV_2D", [np.zeros((1, 2, 2, 0)), np.zeros((1, 1, 1, 4))], DEPTHWISE, 1, "do not fit features"),
        (
            "TRANSPOSE_CONV",
            [[1, 4, 4, 4], np.zeros((4, 2, 5, 3)), np.zeros((1, 2, 2, 5))],
            UP,
            1,
            "do not fit features",
        ),
        (
            "TRANSPOSE_CONV",
            [[1, 4, 4, 4], np.zeros((4, 2, 2, 3)), np.zeros((1, 2, 2, 3)), ROW],
            UP,
            1,
            "3 values for 4",
        ),
    ],
)
def test_contradictions(kind: str, inputs: list[Any], attributes: Any, count: int, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ask(kind, inputs, attributes, count=count)
