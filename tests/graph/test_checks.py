"""What a graph must satisfy: where LiteRT would read memory that is not its own, scales, zero points, and work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Graph, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.checks import arity_error
from rocketnpu.graph.sparse import Level, Sparsity, densify
from rocketnpu.graph.verify import verified, verify
from rocketnpu.graph.work import operator_macs
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.third_party import tflite_schema as schema
from sheets import PLAIN, Sheet, with_tensor

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
@pytest.mark.litert
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


ARITY: list[tuple[str, int, int | None, int | None]] = [
    ("CONV_2D", 2, 3, 1),
    (ops.CONV_ADD, 3, 4, 1),
    ("DEPTHWISE_CONV_2D", 2, 3, 1),
    ("TRANSPOSE_CONV", 3, 4, 1),
    ("FULLY_CONNECTED", 2, 3, 2),
    ("CONCATENATION", 1, None, 1),
    ("PACK", 1, None, 1),
    ("UNPACK", 1, 1, None),
    ("SPLIT", 2, 2, None),
    ("SPLIT_V", 3, 3, None),
    ("RESHAPE", 1, 2, 1),
    ("STRIDED_SLICE", 4, 5, 1),
    *((kind, 3, 3, 1) for kind in ("PADV2", "SLICE", "SELECT", "SELECT_V2", "RANGE", "SPACE_TO_BATCH_ND")),
    *((kind, 2, 2, 1) for kind in ("ADD", "PAD", "MEAN", "GATHER", "TRANSPOSE", "TILE", "PRELU", "RESIZE_BILINEAR")),
    *((kind, 1, 1, 1) for kind in ("RELU", "SOFTMAX", "SQUEEZE", "DENSIFY", "SHAPE", "DEPTH_TO_SPACE", "QUANTIZE")),
    *((kind, 1, 1, 1) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "BYTE_FUNCTION")),
]
"""How many inputs and outputs TFLite's kernels take; None where any number will do."""


@pytest.mark.parametrize(("kind", "fewest", "most", "results"), ARITY, ids=[case[0] for case in ARITY])
def test_how_many_tensors_an_operator_has(kind: str, fewest: int, most: int | None, results: int | None) -> None:
    def said(inputs: int, outputs: int = 1) -> str | None:
        return arity_error(Operator(0, kind, tuple(range(inputs)), tuple(range(100, 100 + outputs))))

    many = 400
    assert said(fewest) is said(most or many) is said(fewest, results or many) is None
    assert f"it has {fewest - 1} inputs, {fewest} to" in str(said(fewest - 1))
    if most is not None:
        assert f"it has {most + 1} inputs" in str(said(most + 1))
    assert "it has 0 outputs" in str(said(fewest, 0))
    if results is not None:
        assert f"it has {results + 1} outputs, 1 to {results} are known" in str(said(fewest, results + 1))


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", ops.CONV_ADD])
def test_only_a_bias_may_be_absent(kind: str) -> None:
    count = 4 if kind in ("TRANSPOSE_CONV", ops.CONV_ADD) else 3
    for place in range(count):
        inputs = tuple(None if n == place else n for n in range(count))
        error = arity_error(Operator(0, kind, inputs, (9,)))
        assert error == (None if place == count - 1 else f"input {place} is missing")


def test_inputs_that_are_listed_are_needed() -> None:
    assert arity_error(Operator(0, "RESHAPE", (0, None), (9,))) == "input 1 is missing"
    assert arity_error(Operator(0, "ADD", (0, None), (9,))) == "input 1 is missing"
    assert arity_error(Operator(0, "CUSTOM:own", (None,), ())) is None


def alone(kind: str, shapes: list[tuple[int, ...]], attributes: ops.Attributes = PLAIN, **scales: float) -> Graph:
    """An operator of maps; ``scales`` are of its input, its weights and its output."""
    sheet = Sheet()
    inputs = [sheet.map(*shapes[0], scale=scales.get("source", 1.0))]
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        weights, bias = sheet.weights(*shapes[1], scale=scales.get("weights", 1.0))
        inputs = [sheet.whole(shapes[-1]), weights, *inputs] if kind == "TRANSPOSE_CONV" else [*inputs, weights]
        inputs.append(bias)
    sheet.op(kind, inputs, sheet.map(*shapes[-1], scale=scales.get("target", 1.0)), attributes)
    return sheet.graph()


CONVOLUTIONS = [
    ("CONV_2D", [(1, 2, 2, 3), (1, 1, 1, 3), (1, 2, 2, 1)], ops.Conv2D((1, 1), Padding.SAME)),
    ("DEPTHWISE_CONV_2D", [(1, 2, 2, 1), (1, 1, 1, 1), (1, 2, 2, 1)], ops.DepthwiseConv2D((1, 1), Padding.SAME)),
    ("FULLY_CONNECTED", [(1, 3), (1, 3), (1, 1)], ops.FullyConnected()),
    ("TRANSPOSE_CONV", [(1, 2, 2, 3), (1, 1, 1, 3), (1, 2, 2, 1)], ops.TransposeConv((1, 1), Padding.SAME)),
]


@pytest.mark.parametrize(("kind", "shapes", "attributes"), CONVOLUTIONS, ids=[case[0] for case in CONVOLUTIONS])
def test_multipliers_of_convolutions_have_31_bits(
    kind: str, shapes: list[tuple[int, ...]], attributes: ops.Attributes
) -> None:
    verify(alone(kind, shapes, attributes, source=2.0**15, weights=2.0**10, target=2.0**-4))
    for part in ({"source": 2.0**16}, {"weights": 2.0**11}, {"target": 2.0**-5}):
        with pytest.raises(ModelError, match="make a multiplier of"):
            verify(alone(kind, shapes, attributes, **{"source": 2.0**15, "weights": 2.0**10, "target": 2.0**-4} | part))


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"])
def test_which_convolutions_need_a_bias(kind: str) -> None:
    (case,) = [case for case in CONVOLUTIONS if case[0] == kind]
    graph = alone(*case)
    operator = graph.operators[0]
    for inputs in (operator.inputs[:-1], (*operator.inputs[:-1], None)):
        changed = replace(graph, operators=(replace(operator, inputs=inputs),))
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            with pytest.raises(ModelError, match="has no bias"):
                verify(changed)
        else:
            verify(changed)
    floats = {n: replace(t, dtype=DType.FLOAT32, quantisation=None) for n, t in graph.tensors.items()}
    whole = {n: t for n, t in graph.tensors.items() if t.quantisation is None}
    verify(replace(graph, tensors={**floats, **whole}, operators=(replace(operator, inputs=operator.inputs[:-1]),)))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("power", [60, -60])
def test_scales_lie_between_powers_of_two(number: int, power: int) -> None:
    graph = alone("RELU", [(2, 2), (2, 2)], source=2.0**power, target=2.0**power)
    verify(graph)
    beyond = Quantisation.per_tensor(2.0 ** (power * 61 / 60), 3)
    with pytest.raises(ModelError, match=f"tensor {number} .* has a scale of"):
        verify(with_tensor(graph, number, quantisation=beyond))


def test_softmax_counts_in_steps_of_its_input() -> None:
    verify(alone("SOFTMAX", [(2, 2), (2, 2)], ops.Softmax(2.0**-25)))
    verify(alone("SOFTMAX", [(2, 2), (2, 2)], ops.Softmax(0.5), source=2.0**-24, target=2.0**-20))
    for beta, scale in ((2.0**-26, 1.0), (0.5, 2.0**-25)):
        with pytest.raises(ModelError, match="is too small"):
            verify(alone("SOFTMAX", [(2, 2), (2, 2)], ops.Softmax(beta), source=scale, target=scale))


@pytest.mark.parametrize(
    ("kind", "source", "target", "fits"),
    [
        ("RELU", DType.INT8, DType.INT8, True),
        ("RELU", DType.INT8, DType.UINT8, False),
        ("RELU", DType.INT8, DType.OTHER, True),
        ("RELU", DType.OTHER, DType.INT8, True),
        ("QUANTIZE", DType.INT8, DType.UINT8, True),
        ("SOFTMAX", DType.INT8, DType.INT16, True),
        ("SOFTMAX", DType.UINT8, DType.INT16, True),
        ("SOFTMAX", DType.INT8, DType.UINT8, False),
        ("SOFTMAX", DType.FLOAT32, DType.INT16, False),
        ("TANH", DType.INT8, DType.INT16, False),
        # LiteRT writes real numbers into whatever memory the output has.
        ("SVDF", DType.FLOAT32, DType.FLOAT32, True),
        ("SVDF", DType.FLOAT32, DType.INT8, False),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", DType.FLOAT32, DType.OTHER, False),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", DType.OTHER, DType.FLOAT32, True),
    ],
)
def test_types_of_outputs(kind: str, source: DType, target: DType, fits: bool) -> None:
    attributes = ops.Softmax() if kind == "SOFTMAX" else PLAIN
    graph = with_tensor(with_tensor(alone(kind, [(2, 2), (2, 2)], attributes), 0, dtype=source), 1, dtype=target)
    if fits:
        verify(graph)
        return
    with pytest.raises(ModelError, match=f"its input is {source.value}, its output {target.value}"):
        verify(graph)


def test_both_directions_of_a_recurrent_operator_have_the_inputs_type() -> None:
    maps = {number: Tensor(number, "x", (2, 2), DType.FLOAT32) for number in range(3)}
    both = Operator(0, "BIDIRECTIONAL_SEQUENCE_RNN", (0,), (1, 2))
    verify(Graph("x", maps, (both,), (0,), (1, 2)))
    wrong = maps | {2: Tensor(2, "x", (2, 2), DType.INT8)}
    with pytest.raises(ModelError, match="its input is float32, its output int8"):
        verify(Graph("x", wrong, (both,), (0,), (1, 2)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": (1,) * 8}, ""),
        ({"shape": (1,) * 9}, "has 9 dimensions"),
        ({"shape": ((1 << 31) - 1,)}, ""),
        ({"shape": (1 << 31,)}, "more than any NPU tensor"),
        ({"dtype": DType.INT16, "quantisation": Quantisation.per_tensor(0.1, 32767)}, ""),
        ({"dtype": DType.INT16, "quantisation": Quantisation.per_tensor(0.1, 32768)}, "zero point outside"),
        ({"dtype": DType.INT16, "quantisation": Quantisation.per_tensor(0.1, -32768)}, ""),
        ({"dtype": DType.INT16, "quantisation": Quantisation.per_tensor(0.1, -32769)}, "zero point outside"),
        ({"dtype": DType.UINT8, "quantisation": Quantisation.per_tensor(0.1, 0)}, ""),
        ({"dtype": DType.INT32, "quantisation": Quantisation.per_tensor(0.1, (1 << 62) + 1)}, "zero point outside"),
        ({"dtype": DType.INT32, "quantisation": Quantisation.per_tensor(0.1, -(1 << 62) - 1)}, "zero point outside"),
        ({"quantisation": Quantisation.per_tensor(0.0, 0)}, ""),
        ({"quantisation": Quantisation.per_tensor(float("inf"), 0)}, "not a positive number"),
    ],
)
def test_limits_of_a_tensor(changes: dict[str, object], said: str) -> None:
    tensor = replace(Tensor(0, "t", (2, 2), DType.INT8), **changes)
    graph = Graph("g", {0: tensor}, (), (0,), (0,))
    if not said:
        verify(graph)
        return
    with pytest.raises(ModelError, match=said):
        verify(graph)


def test_problems_are_named_and_what_they_make_is_unknown() -> None:
    sheet = Sheet()
    first = sheet.op("RELU", [sheet.map(2, 2)], sheet.map(2, 3))
    sheet.op("TANH", [first], sheet.map(2, 3))
    found = verified(replace(sheet.graph(), problems={1: "known before"}))
    assert sorted(found.problems) == [0, 1]
    assert "output 0 has shape (2, 3)" in found.problems[0]
    assert found.problems[1] == "known before"
    assert [tensor.is_dynamic for tensor in found.tensors.values()] == [False, True, True]
    verify(found)
    sound = verified(with_tensor(sheet.graph(), 1, shape=(2, 2), is_dynamic=True))
    assert not sound.problems


def test_a_variable_may_be_written_more_than_once() -> None:
    sheet = Sheet()
    source, state = sheet.map(2, 2), sheet.map(2, 2)
    sheet.op("RELU", [source], state)
    graph = sheet.graph()
    graph = replace(graph, inputs=(source, state))
    with pytest.raises(ModelError, match="already has a value"):
        verify(graph)
    verify(with_tensor(replace(graph, inputs=(source,)), state, is_variable=True))
    verify(with_tensor(replace(graph, inputs=(source,), outputs=(state,)), state, is_variable=True))
    twice = replace(graph, inputs=(source,), operators=(*graph.operators, replace(graph.operators[0], index=1)))
    with pytest.raises(ModelError, match="already has a value"):
        verify(with_tensor(twice, state, is_variable=True))
