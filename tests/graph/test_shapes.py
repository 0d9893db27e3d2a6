"""Output shapes agree with what LiteRT computes, and contradictions are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import MODELS
from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Operator, Padding, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.shapes import output_shapes, window
from rocketnpu.inspect.reference import reference
from rocketnpu.model.tflite import parse
from strategies import FAMILIES, Case, cases


def tensor(*shape: int) -> Tensor:
    return Tensor(0, "x", shape, DType.INT8)


def whole(*values: object) -> Tensor:
    data = np.array(values, np.int32)
    return Tensor(0, "c", data.shape, DType.INT32, data=data)


def shapes(kind: str, inputs: list[Tensor | None], attributes: ops.Attributes = ops.NoAttributes(), outputs=None):  # noqa: B008
    operator = Operator(0, kind, tuple(range(len(inputs))), (9,), attributes)
    return output_shapes(operator, inputs, outputs or [tensor()])


@settings(max_examples=150)
@given(found=cases(*FAMILIES))
@pytest.mark.litert
def test_shapes_are_those_of_litert(found: Case) -> None:
    operator = found.graph.operators[0]
    inputs = [None if n is None else found.graph.tensors[n] for n in operator.inputs]
    outputs = [found.graph.tensors[n] for n in operator.outputs]
    computed = reference(found.model, found.inputs("zero point"))
    assert output_shapes(operator, inputs, outputs) == [computed[n].shape for n in operator.outputs]


@given(
    size=st.integers(1, 60),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 9),
    dilation=st.integers(1, 4),
)
def test_a_window_covers_what_it_should(size: int, kernel: int, stride: int, dilation: int) -> None:
    extent = (kernel - 1) * dilation + 1
    starts = [start for start in range(0, size, stride) if start + extent <= size]
    if starts:
        assert window(size, kernel, stride, dilation, Padding.VALID) == len(starts)
    else:
        with pytest.raises(ModelError, match="has no place"):
            window(size, kernel, stride, dilation, Padding.VALID)
    assert window(size, kernel, stride, dilation, Padding.SAME) == len(range(0, size, stride))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_strided_slices_are_those_of_numpy(shape: list[int], data: st.DataObject) -> None:
    bounds = st.lists(st.integers(-7, 7), min_size=len(shape), max_size=len(shape))
    begin, end = data.draw(bounds), data.draw(bounds)
    steps = data.draw(st.lists(st.sampled_from([1, 2, 3, -1, -2]), min_size=len(shape), max_size=len(shape)))
    masks = [data.draw(st.integers(0, (1 << len(shape)) - 1)) for _ in range(2)]
    index = tuple(
        slice(None if masks[0] >> a & 1 else begin[a], None if masks[1] >> a & 1 else end[a], steps[a])
        for a in range(len(shape))
    )
    found = shapes(
        "STRIDED_SLICE", [tensor(*shape), whole(*begin), whole(*end), whole(*steps)], ops.StridedSlice(*masks)
    )
    assert found == [np.zeros(shape)[index].shape]


def test_a_dimension_that_an_index_drops() -> None:
    inputs = [tensor(4, 5, 6), whole(1, -5, 0), whole(2, 0, 6), whole(1, 1, 2)]
    assert shapes("STRIDED_SLICE", inputs, ops.StridedSlice(shrink_axis_mask=3)) == [(3,)]
    with pytest.raises(ModelError, match="index -5 is outside dimension 0"):
        shapes("STRIDED_SLICE", [tensor(4, 5), *[whole(-5, 0)] * 2, whole(1, 1)], ops.StridedSlice(shrink_axis_mask=1))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "expected"),
    [
        ("TRANSPOSE", [tensor(1, 2, 3), whole(2, 0, -2)], ops.NoAttributes(), (3, 1, 2)),
        ("SLICE", [tensor(4, 5), whole(1, 2), whole(-1, 2)], ops.NoAttributes(), (3, 2)),
        ("SPLIT", [whole(-1), tensor(2, 6)], ops.NoAttributes(), (2, 6)),
        ("FULLY_CONNECTED", [tensor(2, 3, 4), tensor(5, 4)], ops.FullyConnected(keep_dims=True), (2, 3, 5)),
        ("FULLY_CONNECTED", [tensor(2, 3, 4), tensor(5, 12)], ops.FullyConnected(), (2, 5)),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 2)], ops.Conv2D((1, 1), Padding.VALID), (1, 3, 3, 6)),
        ("PAD", [tensor(2, 3), whole([0, 1], [2, 0])], ops.NoAttributes(), (3, 5)),
        ("MEAN", [tensor(2, 3, 4), whole(-1, 0)], ops.Reduce(), (3,)),
        ("LOGISTIC", [tensor(2, 3)], ops.NoAttributes(), (2, 3)),
    ],
)
def test_shapes_worked_by_hand(kind: str, inputs, attributes, expected) -> None:
    assert shapes(kind, inputs, attributes)[0] == expected


def test_a_computed_size_is_not_known() -> None:
    computed = Tensor(0, "c", (2,), DType.INT32)
    assert shapes("RESIZE_BILINEAR", [tensor(1, 2, 2, 1), computed], ops.Resize()) is None
    assert shapes("TRANSPOSE", [tensor(1, 2), computed]) is None
    assert shapes("WHILE", [tensor(1, 2)]) is None


CONV = ops.Conv2D((1, 1), Padding.SAME)
DEPTHWISE = ops.DepthwiseConv2D((1, 1), Padding.SAME)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "words"),
    [
        ("CONV_2D", [tensor(5, 5, 4), tensor(6, 3, 3, 4)], CONV, "not 4 dimensions"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 3)], CONV, "do not fit features"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(5, 3, 3, 2)], CONV, "5 kernels do not split"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 4), tensor(5)], CONV, "bias has 5 values for 6"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 4)], replace(CONV, stride=(0, 1)), "stride 0"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 0, 3, 4)], CONV, "kernel 0 is not positive"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 4)], replace(CONV, dilation=(1, -1)), "dilation -1"),
        ("CONV_2D", [tensor(1, 5, 5, 4)], CONV, "input 1 is missing"),
        (
            "MAX_POOL_2D",
            [tensor(1, 2, 5, 4)],
            ops.Pool2D((1, 1), Padding.VALID, (3, 3)),
            "window of 3 has no place in 2",
        ),
        (
            "DEPTHWISE_CONV_2D",
            [tensor(1, 5, 5, 4), tensor(2, 3, 3, 4)],
            ops.DepthwiseConv2D((1, 1), Padding.SAME),
            "begin with 1",
        ),
        ("ADD", [tensor(1, 2, 3), tensor(2, 4)], ops.Arithmetic(), "do not broadcast"),
        ("CONCATENATION", [tensor(1, 2), tensor(2, 2)], ops.Concatenation(1), "do not join along axis 1"),
        ("CONCATENATION", [tensor(1, 2), tensor(1, 2)], ops.Concatenation(2), "axis 2 is outside 2 dimensions"),
        ("MEAN", [tensor(1, 2), whole(4)], ops.Reduce(), "axis 4 is outside"),
        ("MEAN", [tensor(1, 2), replace(whole(1), dtype=DType.FLOAT32)], ops.Reduce(), "not whole numbers"),
        ("RESIZE_BILINEAR", [tensor(1, 2, 2, 1), whole(0, 4)], ops.Resize(), "cannot be resized"),
        ("TRANSPOSE", [tensor(1, 2), whole(0, 0)], ops.NoAttributes(), "no order of 2 dimensions"),
        ("PAD", [tensor(1, 2), whole([0, 0], [-1, 0])], ops.NoAttributes(), "negative padding"),
        ("PAD", [tensor(1, 2), whole([0, 0])], ops.NoAttributes(), "do not fit"),
        ("SLICE", [tensor(4), whole(2), whole(3)], ops.NoAttributes(), "lies outside"),
        ("STRIDED_SLICE", [tensor(4), whole(2), whole(3), whole(0)], ops.StridedSlice(), "step 0"),
        ("SPLIT", [whole(1), tensor(2, 6)], ops.NoAttributes(), "does not split into 4"),
        ("SOFTMAX", [tensor()], ops.Softmax(), "SOFTMAX of a scalar"),
        ("PRELU", [tensor(1, 3), tensor(2, 3)], ops.NoAttributes(), "slopes do not fit"),
        ("FULLY_CONNECTED", [tensor(2, 5), tensor(3, 4)], ops.FullyConnected(), "do not split into rows of 4"),
        ("RESHAPE", [tensor(2, 5)], ops.NoAttributes(), "cannot be reshaped"),
        ("SQUEEZE", [tensor(2, 5)], ops.NoAttributes(), "does not become"),
        (
            "TRANSPOSE_CONV",
            [whole(1, 9, 4, 2), tensor(2, 3, 3, 1), tensor(1, 2, 2, 1)],
            ops.TransposeConv((2, 2), Padding.SAME),
            "does not come from features",
        ),
    ],
)
def test_contradictions_are_named(kind: str, inputs, attributes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        shapes(kind, inputs, attributes, [tensor(3, 7)] * 4)


def test_the_error_names_the_operator() -> None:
    data, right, wrong = MODELS[0](), *(np.array(size, np.int32).tobytes() for size in ((1, 3, 3, 4), (1, 3, 2, 4)))
    assert data.count(right) == 1
    with pytest.raises(ModelError, match=r"operator 0 \(CONV_2D\): output 0 has shape \(1, 3, 2, 4\), its inputs make"):
        parse(data.replace(right, wrong))


VALID = ops.Conv2D((1, 1), Padding.VALID)
POOL = ops.Pool2D((1, 1), Padding.VALID, (3, 3))
UP = ops.TransposeConv((2, 2), Padding.SAME)
ADDED = ops.ConvAdd(VALID, 0.5, 3)
PLAIN = ops.NoAttributes()


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "expected"),
    [
        ("CONV_2D", [tensor(2, 5, 6, 4), tensor(6, 3, 2, 4), tensor(6)], replace(VALID, stride=(2, 3)), (2, 2, 2, 6)),
        ("CONV_2D", [tensor(1, 5, 6, 4), tensor(6, 3, 3, 4)], replace(VALID, dilation=(2, 1)), (1, 1, 4, 6)),
        (
            "CONV_2D",
            [tensor(1, 5, 6, 4), tensor(6, 3, 3, 4)],
            replace(VALID, pads=((1, 2), (0, 3))),
            (1, 6, 7, 6),
        ),
        (ops.CONV_ADD, [tensor(1, 5, 6, 4), tensor(4, 1, 1, 4), tensor(1, 5, 6, 4)], ADDED, (1, 5, 6, 4)),
        (ops.CONV_ADD, [tensor(1, 5, 6, 4), tensor(4, 1, 1, 4), tensor(1, 5, 6, 4), tensor(4)], ADDED, (1, 5, 6, 4)),
        ("DEPTHWISE_CONV_2D", [tensor(2, 5, 5, 4), tensor(1, 3, 3, 8), tensor(8)], DEPTHWISE, (2, 5, 5, 8)),
        ("TRANSPOSE_CONV", [whole(1, 3, 4, 6), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5), tensor(6)], UP, (1, 3, 4, 6)),
        ("FULLY_CONNECTED", [tensor(2, 6), tensor(5, 6), tensor(5)], ops.FullyConnected(), (2, 5)),
        ("FULLY_CONNECTED", [tensor(0, 6), tensor(5, 6)], ops.FullyConnected(), (0, 5)),
        ("MAX_POOL_2D", [tensor(2, 5, 6, 4)], replace(POOL, stride=(2, 1)), (2, 2, 4, 4)),
        ("MAX_POOL_2D", [tensor(2, 5, 6, 4)], replace(POOL, pads=((1, 2), (0, 3))), (2, 6, 7, 4)),
        ("CONCATENATION", [tensor(1, 2, 3)], ops.Concatenation(-2), (1, 2, 3)),
        ("CONCATENATION", [tensor(1, 2, 3), tensor(1, 4, 3), tensor(1, 0, 3)], ops.Concatenation(1), (1, 6, 3)),
        ("MEAN", [tensor(2, 3, 4), whole(1, -2)], ops.Reduce(keep_dims=True), (2, 1, 4)),
        ("MEAN", [tensor(2, 3, 4), whole()], ops.Reduce(), (2, 3, 4)),
        ("RESIZE_BILINEAR", [tensor(2, 1, 1, 3), whole(1, 4)], ops.Resize(), (2, 1, 4, 3)),
        ("SOFTMAX", [tensor(3)], ops.Softmax(), (3,)),
        ("PRELU", [tensor(2, 3, 4), tensor(3, 1)], ops.NoAttributes(), (2, 3, 4)),
        ("SLICE", [tensor(4, 5), whole(0, 4), whole(4, 1)], ops.NoAttributes(), (4, 1)),
        ("SLICE", [tensor(4, 5), whole(4, 5), whole(0, -1)], ops.NoAttributes(), (0, 0)),
        ("PAD", [tensor(2, 3), whole([0, 0], [0, 0])], ops.NoAttributes(), (2, 3)),
        ("EXPAND_DIMS", [tensor(2, 3), whole(2)], ops.NoAttributes(), (2, 3, 1)),
        ("EXPAND_DIMS", [tensor(2, 3), whole(-3)], ops.NoAttributes(), (1, 2, 3)),
        ("PACK", [tensor(2, 3)] * 4, ops.Pack(2), (2, 3, 4)),
        ("PACK", [tensor(2, 3)] * 4, ops.Pack(-3), (4, 2, 3)),
        ("GATHER", [tensor(2, 3, 4, 5), tensor(2, 7)], ops.Gather(2, 1), (2, 3, 7, 5)),
        ("GATHER", [tensor(2, 3, 4), tensor(2, 3)], ops.Gather(2, 2), (2, 3)),
        ("TILE", [tensor(2, 3), whole(0, 2)], ops.NoAttributes(), (0, 6)),
        ("BROADCAST_TO", [tensor(3, 1), whole(0, 3, 4)], ops.NoAttributes(), (0, 3, 4)),
        ("RESHAPE", [tensor(2, 0), whole(0, 5)], ops.NoAttributes(), (0, 5)),
        ("RESHAPE", [tensor(2, 0), whole(-1, 5)], ops.NoAttributes(), (0, 5)),
        ("RESHAPE", [tensor(1, 1), whole()], ops.NoAttributes(), ()),
        ("RESHAPE", [tensor(2, 6), whole(3, -1)], ops.NoAttributes(), (3, 4)),
        ("BATCH_TO_SPACE_ND", [tensor(4, 1, 1, 3), whole(2, 2), whole([0, 1], [1, 0])], PLAIN, (1, 1, 1, 3)),
        ("SPACE_TO_BATCH_ND", [tensor(2, 6, 3), whole(3), whole([1, 2])], ops.NoAttributes(), (6, 3, 3)),
    ],
)
def test_shapes_at_their_limits(kind: str, inputs, attributes, expected) -> None:
    assert shapes(kind, inputs, attributes, [tensor(3, 7)]) == [expected]


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "words"),
    [
        ("CONV_2D", [tensor(1, 5, 5, 0), tensor(6, 3, 3, 1)], CONV, "do not split into groups"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 0)], CONV, "do not fit features"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3)], CONV, "input 1 has shape"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 4)], replace(CONV, pads=((0, 0), (0, 0))), "beside SAME"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 1, 1, 4)], replace(CONV, stride=(1, 1 << 15)), "out of range"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 1, 1, 4)], replace(CONV, dilation=(1 << 15, 1)), "out of range"),
        ("CONV_2D", [tensor(1, 5, 5, 4), tensor(6, 3, 3, 4)], replace(CONV, stride=(1, -1)), "out of range"),
        ("CONV_2D", [tensor(1, 0, 5, 4), tensor(6, 3, 3, 4)], CONV, "has no place in 0"),
        (ops.CONV_ADD, [tensor(1, 5, 6, 4), tensor(4, 1, 1, 4), tensor(1, 5, 6, 1)], ADDED, "an addend of shape"),
        (ops.CONV_ADD, [tensor(1, 5, 6, 4), tensor(4, 1, 1, 4), tensor(1, 5, 6, 4), tensor(5)], ADDED, "5 values"),
        ("DEPTHWISE_CONV_2D", [tensor(1, 5, 5, 4), tensor(1, 3, 3, 6)], DEPTHWISE, "do not fit features"),
        ("DEPTHWISE_CONV_2D", [tensor(1, 5, 5, 4), tensor(1, 3, 3, 8), tensor(4)], DEPTHWISE, "4 values for 8"),
        ("TRANSPOSE_CONV", [whole(2, 4, 4, 6), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP, "fits neither"),
        ("TRANSPOSE_CONV", [whole(1, 4, 4, 5), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP, "fits neither"),
        ("TRANSPOSE_CONV", [whole(1, 4, 5, 6), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP, "does not come from"),
        ("TRANSPOSE_CONV", [whole(4, 4, 6), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP, "is no output shape"),
        ("TRANSPOSE_CONV", [whole(1, 4, 0, 6), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP, "is no output shape"),
        ("FULLY_CONNECTED", [tensor(2, 5), tensor(3, 0)], ops.FullyConnected(), "do not split into rows of 0"),
        ("FULLY_CONNECTED", [tensor(2, 5), tensor(3, 5), tensor(4)], ops.FullyConnected(), "4 values for 3"),
        ("FULLY_CONNECTED", [tensor(2, 6), tensor(3, 3)], ops.FullyConnected(keep_dims=True), "do not end in 3"),
        ("FULLY_CONNECTED", [tensor(2, 6), tensor(3, 12)], ops.FullyConnected(keep_dims=True), "do not end in 12"),
        ("FULLY_CONNECTED", [tensor(), tensor(3, 1)], ops.FullyConnected(keep_dims=True), "do not end in 1"),
        ("MAX_POOL_2D", [tensor(1, 5, 5, 4)], replace(POOL, kernel=(0, 3)), "kernel 0 is not positive"),
        ("MAX_POOL_2D", [tensor(1, 5, 5, 4)], replace(POOL, kernel=(3, 1 << 15)), "too large"),
        ("MAX_POOL_2D", [tensor(1, 5, 2, 4)], POOL, "window of 3 has no place in 2"),
        (
            "MAX_POOL_2D",
            [tensor(1, 5, 5, 4)],
            replace(POOL, padding=Padding.SAME, pads=((0, 0), (0, 0))),
            "beside SAME",
        ),
        ("CONCATENATION", [tensor(1, 2), tensor(1, 2, 1)], ops.Concatenation(0), "do not join"),
        ("RESIZE_BILINEAR", [tensor(1, 2, 2, 1), whole(4)], ops.Resize(), "cannot be resized"),
        ("RESIZE_BILINEAR", [tensor(1, 2, 0, 1), whole(4, 4)], ops.Resize(), "cannot be resized"),
        ("PRELU", [tensor(3), tensor(2, 3)], ops.NoAttributes(), "slopes do not fit"),
        ("EXPAND_DIMS", [tensor(2, 3), whole(3)], ops.NoAttributes(), "axis 3 is outside"),
        ("EXPAND_DIMS", [tensor(2, 3), whole(-4)], ops.NoAttributes(), "axis -4 is outside"),
        ("EXPAND_DIMS", [tensor(2, 3), whole(0, 0)], ops.NoAttributes(), "does not become"),
        ("PAD", [tensor(2, 3), whole([0, 0, 0], [0, 0, 0])], ops.NoAttributes(), "do not fit"),
        ("SPLIT", [whole(1, 1), tensor(2, 4)], ops.NoAttributes(), "SPLIT along"),
        ("SPLIT_V", [tensor(2, 4), whole(1, 1, 1, 1), whole(1, 1)], ops.NoAttributes(), "SPLIT_V into"),
        ("SPLIT_V", [tensor(2, 4), whole(1, 1, 1), whole(1)], ops.NoAttributes(), "SPLIT_V into"),
        ("SPLIT_V", [tensor(2, 4), whole(2, 2, 2, -1), whole(1)], ops.NoAttributes(), "does not split"),
        ("GATHER", [tensor(2, 3, 4), tensor()], ops.Gather(1, 1), "in common"),
        ("GATHER", [tensor(2, 3, 4), tensor(2)], ops.Gather(1, -1), "in common"),
        ("DEPTH_TO_SPACE", [tensor(2, 3, 4)], ops.Block(2), "not 4 dimensions"),
        ("SPACE_TO_DEPTH", [tensor(1, 2, 3, 4)], ops.Block(0), "is not cut into"),
        ("SPACE_TO_BATCH_ND", [tensor(4), whole(2), whole([0, 0])], ops.NoAttributes(), "blocks"),
        ("SPACE_TO_BATCH_ND", [tensor(4, 4), whole(), whole()], ops.NoAttributes(), "blocks"),
        ("SPACE_TO_BATCH_ND", [tensor(1, 4, 4), whole(2), whole([0, 0], [0, 0])], ops.NoAttributes(), "padded by"),
        ("BATCH_TO_SPACE_ND", [tensor(4), whole(2), whole([0, 0])], ops.NoAttributes(), "blocks"),
        ("BATCH_TO_SPACE_ND", [tensor(4, 4), whole(), whole()], ops.NoAttributes(), "blocks"),
        ("BATCH_TO_SPACE_ND", [tensor(4, 4, 4), whole(2), whole([0, 0], [0, 0])], ops.NoAttributes(), "cropped by"),
        ("BATCH_TO_SPACE_ND", [tensor(4, 4, 4), whole(0), whole([0, 0])], ops.NoAttributes(), "cropped by"),
        ("BATCH_TO_SPACE_ND", [tensor(4, 1, 1, 3), whole(2, 2), whole([1, 1], [0, 0])], PLAIN, "nothing is left"),
        (
            "STRIDED_SLICE",
            [tensor(4), whole(0, 0), whole(1, 1), whole(1, 1)],
            ops.StridedSlice(new_axis_mask=0, shrink_axis_mask=3),
            "2 ranges for 1",
        ),
        ("STRIDED_SLICE", [tensor(4), whole(4), whole(5), whole(1)], ops.StridedSlice(shrink_axis_mask=1), "index 4"),
    ],
)
def test_contradictions_just_beyond_the_limits(kind: str, inputs, attributes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        shapes(kind, inputs, attributes, [tensor(3, 7)] * 4)


@pytest.mark.parametrize("kernel", [1, (1 << 15) - 1])
@pytest.mark.parametrize("stride", [1, (1 << 15) - 1])
@pytest.mark.parametrize("dilation", [1, (1 << 15) - 1])
def test_the_largest_steps(kernel: int, stride: int, dilation: int) -> None:
    extent = (kernel - 1) * dilation + 1
    assert window(extent, kernel, stride, dilation, Padding.VALID) == 1
    assert window(extent + stride, kernel, stride, dilation, Padding.VALID) == 2
    assert window(extent + stride - 1, kernel, stride, dilation, Padding.VALID) == 1


def computed(*shape: int) -> Tensor:
    return Tensor(0, "c", shape, DType.INT32)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("SLICE", [tensor(4, 5), computed(2), whole(1, 1)], PLAIN),
        ("SLICE", [tensor(4, 5), whole(1, 1), computed(2)], PLAIN),
        *(
            (
                "STRIDED_SLICE",
                [tensor(4), *(computed(1) if n == at else whole(1) for n in range(3))],
                ops.StridedSlice(),
            )
            for at in range(3)
        ),
        ("SPLIT", [computed(1), tensor(4, 8)], PLAIN),
        ("SPLIT_V", [tensor(4, 8), computed(4), whole(1)], PLAIN),
        ("SPLIT_V", [tensor(4, 8), whole(2, 2, 2, 2), computed(1)], PLAIN),
        ("TILE", [tensor(4, 8), computed(2)], PLAIN),
        ("BROADCAST_TO", [tensor(4, 8), computed(2)], PLAIN),
        ("SPACE_TO_BATCH_ND", [tensor(1, 4, 4, 1), computed(2), whole([0, 0], [0, 0])], PLAIN),
        ("SPACE_TO_BATCH_ND", [tensor(1, 4, 4, 1), whole(2, 2), computed(2, 2)], PLAIN),
        ("BATCH_TO_SPACE_ND", [tensor(4, 4, 4, 1), computed(2), whole([0, 0], [0, 0])], PLAIN),
        ("BATCH_TO_SPACE_ND", [tensor(4, 4, 4, 1), whole(2, 2), computed(2, 2)], PLAIN),
        ("PAD", [tensor(2, 3), computed(2, 2)], PLAIN),
        ("MEAN", [tensor(2, 3), computed(1)], ops.Reduce()),
        ("TRANSPOSE_CONV", [computed(4), tensor(6, 2, 2, 5), tensor(1, 2, 2, 5)], UP),
        ("RESHAPE", [tensor(3, 7), computed(2)], PLAIN),
        ("EXPAND_DIMS", [tensor(3, 7), computed(1)], PLAIN),
        ("SQUEEZE", [tensor(3, 1, 7)], ops.Squeeze()),
        ("DEPTH_TO_SPACE", [tensor(1, 4, 4, 4)], PLAIN),
        ("SPACE_TO_DEPTH", [tensor(1, 4, 4, 4)], PLAIN),
    ],
)
def test_shapes_that_only_a_run_knows(kind: str, inputs, attributes) -> None:
    assert shapes(kind, inputs, attributes, [tensor(3, 7)] * 4) is None
