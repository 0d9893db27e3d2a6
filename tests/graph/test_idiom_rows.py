"""Maps of one row, seen as columns or as rows of a stride: which, and that LiteRT computes the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Padding, Quantisation
from rocketnpu.graph import operators as ops
from rocketnpu.graph.maps import same_padding
from rocketnpu.graph.passes.idioms.single_rows import WIDEST, stand_up
from rocketnpu.graph.verify import verify
from sheets import PLAIN, Sheet, any_values, computed, with_operator, with_tensor

pytestmark = pytest.mark.litert


def convolved(
    width: int, kernel: int, stride: int, padding: Padding = Padding.SAME, channels: int = 1, **changes: object
) -> Graph:
    sheet = Sheet()
    made = -(-width // stride) if padding is Padding.SAME else (width - kernel) // stride + 1
    weights, bias = sheet.weights(2, 1, kernel, channels)
    attributes = replace(ops.Conv2D((1, stride), padding), **changes)
    target = sheet.map(1, 1, made, 2, scale=9.0)
    sheet.op("CONV_2D", [sheet.map(1, 1, width, channels), weights, bias], target, attributes)
    return sheet.graph()


def one(kind: str, width: int, attributes: object = PLAIN, more: int | None = None) -> Graph:
    """An operator of a row, and of another row or a constant of ``more`` values."""
    sheet = Sheet()
    inputs = [sheet.map(1, 1, width, 2)]
    if more is not None:
        inputs.append(sheet.constant(np.arange(more)) if more < width else sheet.map(1, 1, width, 2))
    sheet.op(kind, inputs, sheet.map(1, 1, width, 4 if kind == "CONCATENATION" else 2), attributes)
    return sheet.graph()


@settings(max_examples=120)
@given(st.integers(1, 160), st.integers(1, 70), st.integers(1, 34), st.sampled_from(Padding), st.integers(1, 3))
@example(64, 31, 1, Padding.VALID, 1)
@example(64, 32, 1, Padding.VALID, 1)
@example(64, 32, 2, Padding.VALID, 1)
@example(64, 3, 7, Padding.SAME, 1)
@example(64, 3, 8, Padding.SAME, 1)
@example(64, 3, 31, Padding.SAME, 1)
@example(64, 3, 32, Padding.SAME, 1)
@example(96, 62, 2, Padding.VALID, 1)
@example(96, 63, 2, Padding.VALID, 1)
def test_large_strides_and_long_kernels(more: int, kernel: int, stride: int, padding: Padding, channels: int) -> None:
    graph = convolved(kernel + more, kernel, stride, padding, channels)
    after = stand_up(graph)
    verify(after)
    outputs = graph.tensors[graph.outputs[0]].shape[2]
    before = same_padding(kernel + more, kernel, stride, 1)[1] if padding is Padding.SAME else 0
    rows = max(-(-(before + kernel + more) // stride), outputs - 1 + -(-kernel // stride))
    needed, possible = stride > 7 or kernel > 31, 1 < stride <= 31 and rows - outputs < 31
    assert (after is not graph) == (needed and possible)
    if after is graph:
        return
    (made,) = [operator for operator in after.operators if operator.kind == "CONV_2D"]
    weights = after.input_of(made, 1)
    assert made.attributes == ops.Conv2D((1, 1), Padding.VALID)
    assert weights.shape[1] <= 31
    assert weights.shape[2:] == (stride, channels)
    values = any_values(graph, kernel)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


SEEN = convolved(80, 3, 8)


@pytest.mark.parametrize(
    "graph",
    [
        convolved(80, 3, 8, dilation=(1, 2)),
        convolved(80, 3, 8, Padding.VALID, pads=((0, 0), (0, 0))),
        with_tensor(SEEN, 0, data=None),
        with_tensor(SEEN, 0, quantisation=None),
        with_tensor(SEEN, 0, shape=(2, 3, 1, 1)),
        with_tensor(SEEN, 3, shape=(1, 1, 80, 2)),
        with_tensor(SEEN, 3, shape=(1, 2, 40, 1)),
        with_tensor(SEEN, 2, shape=(1, 2, 5, 2)),
        with_tensor(SEEN, 3, dtype=DType.INT16),
        replace(SEEN, problems={0: "it does not fit"}),
    ],
)
def test_other_strides_stay(graph: Graph) -> None:
    assert stand_up(SEEN) is not SEEN
    assert stand_up(graph) is graph


WIDE = [
    ("RELU", PLAIN, None),
    ("LOGISTIC", PLAIN, None),
    ("ADD", ops.Arithmetic(), WIDEST + 1),
    ("MUL", ops.Arithmetic(), 1),
    ("SUB", ops.Arithmetic(), 2),
    ("MAXIMUM", PLAIN, 2),
    ("CONCATENATION", ops.Concatenation(3), WIDEST + 1),
]


@pytest.mark.parametrize(("kind", "attributes", "more"), WIDE, ids=[case[0] for case in WIDE])
def test_rows_of_more_than_every_chip_takes_stand_up(kind: str, attributes: object, more: int | None) -> None:
    graph = one(kind, WIDEST + 1, attributes, more)
    after = stand_up(graph)
    verify(after)
    (made,) = [operator for operator in after.operators if operator.kind == kind]
    seen = [after.tensors[number] for number in (*made.inputs, *made.outputs)]
    assert {t.shape[:3] for t in seen if not t.is_constant} == {(1, WIDEST + 1, 1)}
    if kind != "LOGISTIC":  # of which LiteRT wants one scale
        values = any_values(graph, 1)
        np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    narrow = one(kind, WIDEST, attributes, more)
    assert stand_up(narrow) is narrow


CHANNELS = Quantisation(np.full(2, 0.1, np.float32), np.zeros(2, np.int64), 3)
RECTIFIED = one("RELU", WIDEST + 1)


@pytest.mark.parametrize(
    "graph",
    [
        with_tensor(RECTIFIED, 0, shape=(1, 2, WIDEST + 1, 2)),
        with_tensor(RECTIFIED, 0, shape=(2, 1, WIDEST + 1, 2)),
        with_tensor(RECTIFIED, 1, shape=(1, 2, 1024, 2)),
        with_tensor(RECTIFIED, 0, dtype=DType.INT16),
        with_tensor(RECTIFIED, 0, is_dynamic=True),
        with_tensor(RECTIFIED, 1, is_dynamic=True),
        with_tensor(RECTIFIED, 1, quantisation=None),
        with_tensor(RECTIFIED, 0, quantisation=CHANNELS),
        with_operator(RECTIFIED, 0, kind="SOFTMAX", attributes=ops.Softmax()),
        replace(RECTIFIED, problems={0: "it does not fit"}),
    ],
)
def test_what_is_no_wide_row_stays(graph: Graph) -> None:
    assert stand_up(RECTIFIED) is not RECTIFIED
    assert stand_up(graph) is graph


def operand(shape: tuple[int, ...]) -> Graph:
    sheet = Sheet()
    data = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 100
    inputs = [sheet.map(1, 1, WIDEST + 1, 2), sheet.constant(data)]
    sheet.op("ADD", inputs, sheet.map(1, 1, WIDEST + 1, 2), ops.Arithmetic())
    return sheet.graph()


@pytest.mark.parametrize(
    ("shape", "taken"),
    [((2,), True), ((1, 2), True), ((1, 1, 1, 2), True), ((1, 1, WIDEST + 1, 2), False), ((WIDEST + 1, 1), False)],
)
def test_a_constant_operand_has_a_value_for_each_channel_at_most(shape: tuple[int, ...], taken: bool) -> None:
    graph = operand(shape)
    after = stand_up(graph)
    assert (after is not graph) == taken
    values = any_values(graph, 2)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


def joined(shapes: tuple[tuple[int, ...], ...], axis: int, made: tuple[int, ...]) -> Graph:
    sheet = Sheet()
    inputs = [sheet.map(*shape) for shape in shapes]
    sheet.op("CONCATENATION", inputs, sheet.map(*made), ops.Concatenation(axis))
    return sheet.graph()


@pytest.mark.parametrize(
    ("graph", "taken"),
    [
        (joined(((1, 1, 2050, 2), (1, 1, 2050, 3)), -1, (1, 1, 2050, 5)), True),
        (joined(((1, 2050, 2), (1, 2050, 3)), 2, (1, 2050, 5)), True),
        (joined(((2050, 2), (2050, 3)), 1, (2050, 5)), True),
        (joined(((1, 1, 2050, 2), (1, 1, 3, 2)), 2, (1, 1, 2053, 2)), False),
        (joined(((1, 2050, 2), (1, 3, 2)), -2, (1, 2053, 2)), False),
    ],
)
def test_rows_are_joined_along_channels(graph: Graph, taken: bool) -> None:
    after = stand_up(graph)
    assert (after is not graph) == taken
    verify(after)
    values = any_values(graph, 3)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


def padded(
    edges: object, made: tuple[int, ...], shape: tuple[int, ...] = (1, 1, 2050, 2), value: int | None = None
) -> Graph:
    sheet = Sheet()
    inputs = [sheet.map(*shape), sheet.whole(edges)]
    if value is not None:
        inputs.append(sheet.constant([value], 0.5, 3))
    sheet.op("PAD" if value is None else "PADV2", inputs, sheet.map(*made))
    return sheet.graph()


@pytest.mark.parametrize("value", [None, 5])
@pytest.mark.parametrize(
    ("edges", "made", "shape"),
    [
        ([(0, 0), (0, 0), (1, 2), (0, 3)], (1, 1, 2053, 5), (1, 1, 2050, 2)),
        ([(0, 0), (1, 2), (0, 3)], (1, 2053, 5), (1, 2050, 2)),
        ([(1, 2), (0, 3)], (2053, 5), (2050, 2)),
    ],
)
def test_a_padded_row(value: int | None, edges: object, made: tuple[int, ...], shape: tuple[int, ...]) -> None:
    graph = padded(edges, made, shape, value)
    after = stand_up(graph)
    verify(after)
    assert after is not graph
    values = any_values(graph, 3)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    unknown = with_tensor(graph, 1, data=None)
    assert stand_up(unknown) is unknown


def test_rows_that_become_two_stay() -> None:
    graph = padded([(0, 0), (0, 1), (0, 0), (0, 0)], (1, 2, 2050, 2))
    assert stand_up(graph) is graph


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("pads", [None, ((0, 0), (2, 1))])
def test_windows_turn_by_a_quarter(kind: str, pads: ops.Pads | None) -> None:
    sheet = Sheet()
    source = sheet.map(1, 1, 2100, 2)
    made = (2100 + (3 if pads else 0) - 5) // 3 + 1
    target = sheet.map(1, 1, made, 2, scale=9.0 if "CONV" in kind else 0.5)
    inputs: list[int | None] = [source]
    if kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        attributes: ops.Attributes = ops.Pool2D((2, 3), Padding.VALID, (1, 5), pads=pads)
    elif kind == "CONV_2D":
        inputs += sheet.weights(2, 1, 3, 2)
        attributes = ops.Conv2D((2, 3), Padding.VALID, (5, 2), pads=pads)
    else:
        inputs += [sheet.weights(1, 1, 3, 2)[0], sheet.constant([9, -9], 0.01, 0, DType.INT32)]
        attributes = ops.DepthwiseConv2D((3, 3), Padding.VALID, (5, 2), pads=pads)
    sheet.op(kind, inputs, target, attributes)
    graph = sheet.graph()
    verify(graph)
    after = stand_up(graph)
    verify(after)
    assert after is not graph
    values = any_values(graph, 4)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
    if "CONV" in kind:
        for changes in ({"data": None}, {"quantisation": None}):
            unknown = with_tensor(graph, graph.operators[0].inputs[1], **changes)
            assert stand_up(unknown) is unknown


def test_a_column_is_read_where_there_is_one() -> None:
    """Two operators in a row share the column between them, unless its bytes count otherwise."""
    sheet = Sheet()
    first = sheet.op("RELU", [sheet.map(1, 1, 2050, 2)], sheet.map(1, 1, 2050, 2))
    sheet.op("RELU6", [first], sheet.map(1, 1, 2050, 2))
    after = stand_up(sheet.graph())
    relu, relu6 = (next(o for o in after.operators if o.kind == kind) for kind in ("RELU", "RELU6"))
    assert relu6.inputs == relu.outputs
    sheet = Sheet()
    source = sheet.map(1, 2050, 1, 2, scale=0.25)
    view = sheet.op("RESHAPE", [source, sheet.whole([1, 1, 2050, 2])], sheet.map(1, 1, 2050, 2))
    sheet.op("RELU", [view], sheet.map(1, 1, 2050, 2))
    graph = sheet.graph()
    after = stand_up(graph)
    (relu,) = (o for o in after.operators if o.kind == "RELU")
    assert relu.inputs[0] != source
    values = any_values(graph, 5)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))
