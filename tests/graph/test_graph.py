"""Graphs: who makes and reads what, cutting out, verification, and the text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Graph, Operator, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.verify import verify
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse

SCALE = Quantisation.per_tensor(0.5, 3)


def tensor(number: int, shape: tuple[int, ...] = (1, 4), **changes: object) -> Tensor:
    return replace(Tensor(number, f"n{number}", shape, DType.INT8, SCALE), **changes)


def diamond() -> Graph:
    """0 -> relu -> 1; 1 -> logistic -> 2; 1 + 2 -> 3; 3 * constant 4 -> 5."""
    constant = tensor(4, data=np.ones((1, 4), np.int8))
    tensors = {n: tensor(n) for n in (0, 1, 2, 3, 5)} | {4: constant}
    operators = (
        Operator(0, "RELU", (0,), (1,)),
        Operator(1, "LOGISTIC", (1,), (2,)),
        Operator(2, "ADD", (1, 2), (3,), ops.Arithmetic()),
        Operator(3, "MUL", (3, 4), (5,), ops.Arithmetic()),
    )
    return Graph("diamond", tensors, operators, (0,), (5,))


def with_operator(index: int, operator: Operator) -> Graph:
    graph = diamond()
    return replace(graph, operators=(*graph.operators[:index], operator, *graph.operators[index + 1 :]))


def with_tensor(found: Tensor) -> Graph:
    graph = diamond()
    return replace(graph, tensors={**graph.tensors, found.index: found})


@pytest.mark.parametrize("size", [0, 4], ids=["nothing", "something"])
def test_an_operator_that_reads_its_own_output_is_refused(size: int) -> None:
    """However small: the planner would wait for it for ever."""
    builder = ModelBuilder()
    shape = (1, size, 4, 16)
    source, target = (builder.tensor(shape, DType.INT8, scale=0.1) for _ in range(2))
    builder.operator("ADD", [source, target], [target], ops.Arithmetic())
    with pytest.raises(ModelError, match="reads tensor 1, which nothing makes before it"):
        parse(builder.build([source], [target]))


def test_a_constant_of_no_elements_needs_no_data() -> None:
    builder = ModelBuilder()
    source, target = builder.tensor((1, 1), DType.INT8, scale=0.1), builder.tensor((), DType.INT8, scale=0.1)
    shape = builder.tensor((0,), DType.INT32, data=np.zeros(0, np.int32))
    builder.operator("RESHAPE", [source, shape], [target])
    assert parse(builder.build([source], [target])).operators


def test_producers_and_consumers() -> None:
    graph = diamond()
    assert {number: operator.index for number, operator in graph.producers.items()} == {1: 0, 2: 1, 3: 2, 5: 3}
    assert {n: [o.index for o in found] for n, found in graph.consumers.items()} == {
        0: [0],
        1: [1, 2],
        2: [2],
        3: [3],
        4: [3],
        5: [],
    }


def test_a_tensor_read_twice_has_one_reader() -> None:
    graph = with_operator(2, Operator(2, "ADD", (1, 1), (3,), ops.Arithmetic()))
    assert [operator.index for operator in graph.consumers[1]] == [1, 2]


def test_a_part_has_its_own_ends() -> None:
    graph = diamond()
    part = graph.subgraph(graph.operators[1:3], "part")
    assert (part.name, part.inputs, part.outputs, sorted(part.tensors)) == ("part", (1,), (3,), [1, 2, 3])
    first = graph.subgraph(graph.operators[:2], "first")
    assert (first.inputs, first.outputs) == ((0,), (1, 2))
    last = graph.subgraph(graph.operators[3:], "last")
    assert (last.inputs, last.outputs, sorted(last.tensors)) == ((3,), (5,), [3, 4, 5])
    verify(part)
    verify(first)
    verify(last)


def test_an_operator_knows_which_inputs_are_absent() -> None:
    operator = Operator(0, "FULLY_CONNECTED", (4, None), (5,))
    assert [operator.input(place) for place in range(3)] == [4, None, None]
    assert str(operator) == "  0 FULLY_CONNECTED (t4, -) -> t5 NoAttributes()"


def test_the_text_lists_everything() -> None:
    lines = str(diamond()).splitlines()
    assert lines[0] == "graph diamond: [0] -> [5]"
    assert lines[1] == "t0 int8 1x4 0.5 zero point 3"
    assert lines[5] == "t4 int8 1x4 0.5 zero point 3 constant"
    assert lines[7] == "  0 RELU (t0) -> t1 NoAttributes()"
    assert len(lines) == 11


def test_scalars_and_channels_in_the_text() -> None:
    scales = Quantisation(np.array([0.5, 2], np.float32), np.zeros(2, np.int64), 1)
    assert str(tensor(7, (), quantisation=None)) == "t7 int8 scalar"
    assert str(tensor(7, (3, 2), quantisation=scales)) == "t7 int8 3x2 2 scales 0.5..2 on axis 1"


def test_a_sound_graph_passes() -> None:
    verify(diamond())


def test_element_sizes() -> None:
    assert {dtype.name: dtype.bytes for dtype in (DType.INT8, DType.INT32, DType.FLOAT64, DType.OTHER)} == {
        "INT8": 1,
        "INT32": 4,
        "FLOAT64": 8,
        "OTHER": None,
    }
    assert tensor(0, (2, 3, 4)).elements == 24
    assert tensor(0, ()).elements == 1


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (with_operator(0, Operator(0, "RELU", (2,), (1,))), r"operator 0 \(RELU\) reads tensor 2, which nothing makes"),
        (
            with_operator(1, Operator(1, "LOGISTIC", (0,), (1,))),
            r"operator 1 \(LOGISTIC\) writes tensor 1, which already",
        ),
        (with_operator(1, Operator(1, "LOGISTIC", (1,), (4,))), "writes tensor 4, which already has a value"),
        (
            replace(diamond(), outputs=(5, 6), tensors={**diamond().tensors, 6: tensor(6)}),
            "output tensor 6 is made by",
        ),
        (with_operator(1, Operator(1, "LOGISTIC", (1, 0), (2,))), "it has 2 inputs, 1 to 1 are known"),
        (with_operator(2, Operator(2, "ADD", (1, None), (3,), ops.Arithmetic())), "input 1 is missing"),
        (with_operator(1, Operator(1, "LOGISTIC", (1,), ())), "it has 0 outputs"),
        (with_tensor(tensor(3, (1, 5))), r"operator 2 \(ADD\): output 0 has shape \(1, 5\), its inputs make \(1, 4\)"),
        (with_tensor(tensor(2, dtype=DType.UINT8)), r"operator 1 \(LOGISTIC\): its input is int8, its output uint8"),
        (with_tensor(tensor(3, quantisation=None)), r"tensor 3 \(n3\) is int8 but has no scale"),
        (with_tensor(tensor(3, quantisation=Quantisation.per_tensor(1e-44, 0))), "has a scale of 9.8"),
        (with_tensor(tensor(3, quantisation=Quantisation.per_tensor(1e-9, 0))), "out of proportion"),
        (with_tensor(tensor(3, quantisation=Quantisation.per_tensor(-1.0, 0))), "not a positive number"),
        (with_tensor(tensor(3, quantisation=Quantisation.per_tensor(float("nan"), 0))), "not a positive number"),
        (
            with_tensor(tensor(3, quantisation=Quantisation.per_tensor(1.0, 128))),
            r"outside -128\.\.127 of int8",
        ),
        (with_tensor(tensor(3, (1,) * 9)), "has 9 dimensions, at most 8"),
        (with_tensor(tensor(0, (1 << 16, 1 << 16))), "more than any NPU tensor"),
        (
            with_tensor(tensor(0, quantisation=Quantisation(np.ones(3, np.float32), np.zeros(3, np.int64), 1))),
            "3 scales 1..1 on axis 1, but its shape is",
        ),
        (
            with_tensor(tensor(0, quantisation=Quantisation(np.ones(4, np.float32), np.zeros(4, np.int64), 2))),
            "on axis 2, but its shape is",
        ),
    ],
)
def test_what_does_not_hold_is_named(graph: Graph, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        verify(graph)


def test_unknown_shapes_are_not_held_against_the_operators() -> None:
    verify(with_tensor(tensor(5, (1, 1), is_dynamic=True)))


def test_softmax_needs_a_beta_that_counts() -> None:
    for beta, fine in ((1.0, True), (0.0, False), (-1.0, False), (1e-9, False), (float("nan"), False)):
        graph = with_operator(1, Operator(1, "SOFTMAX", (1,), (2,), ops.Softmax(beta)))
        if fine:
            verify(graph)
        else:
            with pytest.raises(ModelError, match="is too small"):
                verify(graph)


def conv(features: Tensor, weights: Tensor, bias: Tensor | None, output: Tensor) -> Graph:
    tensors = {found.index: found for found in (features, weights, bias, output) if found is not None}
    inputs = (0, 1) if bias is None else (0, 1, 2)
    operator = Operator(0, "CONV_2D", inputs, (3,), ops.Conv2D((1, 1), ops.Padding.SAME))
    return Graph("conv", tensors, (operator,), (0,), (3,))


def test_integer_convolutions_need_scales_and_a_bias() -> None:
    x, y = tensor(0, (1, 2, 2, 1)), tensor(3, (1, 2, 2, 1))
    w = tensor(1, (1, 1, 1, 1), data=np.ones((1, 1, 1, 1), np.int8))
    b = tensor(2, (1,), dtype=DType.INT32, data=np.ones(1, np.int32))
    verify(conv(x, w, b, y))
    with pytest.raises(ModelError, match="it has no bias"):
        verify(conv(x, w, None, y))
    with pytest.raises(ModelError, match="its weights have no scale"):
        verify(conv(x, replace(w, quantisation=None), b, y))
    with pytest.raises(ModelError, match="has no scale"):
        verify(conv(replace(x, quantisation=None), w, b, y))
    with pytest.raises(ModelError, match=r"multiplier of 2\.5e\+13"):
        verify(conv(x, w, b, replace(y, quantisation=Quantisation.per_tensor(1e-14, 0))))


def test_quantisations_compare() -> None:
    one = Quantisation.per_tensor(0.5, 3)
    channels = Quantisation(np.array([1, 2], np.float32), np.zeros(2, np.int64), 1)
    assert one.same_as(Quantisation(np.array([0.5], np.float32), np.array([3]), axis=2))
    assert not one.same_as(Quantisation.per_tensor(0.5, 4))
    assert not one.same_as(Quantisation.per_tensor(0.25, 3))
    assert not one.same_as(None)
    assert channels.same_as(replace(channels))
    assert not channels.same_as(replace(channels, axis=0))
    assert (one.is_per_channel, channels.is_per_channel) == (False, True)
    assert (one.scale, one.zero_point) == (0.5, 3)
    assert Quantisation.per_tensor(0.1, 0).scale == float(np.float32(0.1))
