"""Shapes sent through a graph, and what shapes decide folded to constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Graph, Operator, Padding, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes import fold_constants
from rocketnpu.graph.propagate import propagate
from rocketnpu.graph.sparse import Level, Sparsity, densify
from rocketnpu.graph.values import known_values
from rocketnpu.graph.verify import verify
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import unpacked
from sheets import Sheet, with_operator, with_tensor


def flattened(batch: int = 1) -> Graph:
    """Build what converters write for Flatten: SHAPE, STRIDED_SLICE and PACK say what RESHAPE makes of a map."""
    builder = ModelBuilder()
    source = builder.tensor((batch, 4, 4, 3), DType.INT8, scale=0.1)
    pooled = builder.tensor((batch, 2, 2, 3), DType.INT8, scale=0.1)
    shape = builder.tensor((4,), DType.INT32)
    size = builder.tensor((), DType.INT32)
    wanted = builder.tensor((2,), DType.INT32)
    row = builder.tensor((batch, 12), DType.INT8, scale=0.1)
    zero, one, rest = (builder.tensor((1,), DType.INT32, data=np.array([n], np.int32)) for n in (0, 1, -1))
    rest = builder.tensor((), DType.INT32, data=np.array(-1, np.int32))
    builder.operator("MAX_POOL_2D", [source], [pooled], ops.Pool2D((2, 2), Padding.VALID, (2, 2)))
    builder.operator("SHAPE", [pooled], [shape])
    builder.operator("STRIDED_SLICE", [shape, zero, one, one], [size], ops.StridedSlice(shrink_axis_mask=1))
    builder.operator("PACK", [size, rest], [wanted], ops.Pack(0))
    builder.operator("RESHAPE", [pooled, wanted], [row])
    return tflite.parse(builder.build([source], [row]))


def test_a_shape_chain_becomes_a_constant() -> None:
    folded = fold_constants(flattened())
    verify(folded)
    assert [operator.kind for operator in folded.operators] == ["MAX_POOL_2D", "RESHAPE"]
    shape = folded.input_of(folded.operators[1], 1)
    assert shape.data is not None
    assert shape.data.tolist() == [1, -1]


def test_another_input_shape_goes_through() -> None:
    graph = propagate(flattened(), {0: (2, 8, 6, 3)})
    assert graph.tensors[graph.outputs[0]].shape == (2, 36)
    verify(graph)
    assert not graph.problems


def test_an_operator_that_contradicts_itself_is_a_problem_and_not_the_whole_model() -> None:
    graph = propagate(flattened(), {0: (1, 1, 4, 3)})
    assert list(graph.problems) == [0]
    assert "a window of 2 has no place in 1" in graph.problems[0]
    assert graph.tensors[graph.outputs[0]].is_dynamic
    verify(graph)


SLICED = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([1, 2, -1, 3])), max_size=3)


@given(SLICED, st.integers(0, 7), st.integers(0, 7))
def test_strided_slices_are_numpys(limits: list[tuple[int, int, int]], begin: int, end: int) -> None:
    data = np.arange(60, dtype=np.int32).reshape(3, 4, 5)
    attributes = ops.StridedSlice(begin, end)
    columns = [np.array(column, np.int32) for column in zip(*limits, strict=True)] or [np.zeros(0, np.int32)] * 3
    tensors = [Tensor(n, "", array.shape, DType.INT32, data=array) for n, array in enumerate([data, *columns])]
    wanted = data[
        tuple(
            slice(None if begin >> n & 1 else low, None if end >> n & 1 else high, step)
            for n, (low, high, step) in enumerate(limits)
        )
    ]
    operator = Operator(0, "STRIDED_SLICE", (0, 1, 2, 3), (4,), attributes)
    found = known_values(operator, tensors, [Tensor(4, "", wanted.shape, DType.INT32)])
    assert found is not None
    np.testing.assert_array_equal(found[0], wanted)


def test_an_ellipsis_and_a_new_axis() -> None:
    data = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    tensors = [
        Tensor(n, "", np.shape(array), DType.INT32, data=np.array(array, np.int32))
        for n, array in enumerate([data, [0, 0, 1], [0, 0, 3], [1, 1, 2]])
    ]
    operator = Operator(0, "STRIDED_SLICE", (0, 1, 2, 3), (4,), ops.StridedSlice(ellipsis_mask=1, new_axis_mask=2))
    found = known_values(operator, tensors, [Tensor(4, "", (2, 3, 1, 1), DType.INT32)])
    assert found is not None
    np.testing.assert_array_equal(found[0], data[..., None, 1:3:2])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
def test_sparse_constants_are_written_out(seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    dense = random.integers(-9, 10, (rows, columns)).astype(np.int8) * (random.random((rows, columns)) < 0.4)
    places = [np.flatnonzero(row) for row in dense]
    segments = np.concatenate([[0], np.cumsum([len(found) for found in places])]).astype(np.int64)
    levels = (Level(rows), Level(0, segments, np.concatenate(places).astype(np.int64)))
    values = dense[dense != 0]
    np.testing.assert_array_equal(densify(Sparsity((0, 1), (), levels), values, dense.shape), dense)


def test_sparse_blocks_are_written_out() -> None:
    # Columns in blocks of two: the second block of the first row, the first of the second.
    levels = (Level(2), Level(0, np.array([0, 1, 2]), np.array([1, 0])), Level(2))
    values = np.array([1, 2, 3, 4], np.int8)
    found = densify(Sparsity((0, 1, 2), (1,), levels), values, (2, 4))
    np.testing.assert_array_equal(found, [[0, 0, 1, 2], [3, 4, 0, 0]])


@pytest.mark.parametrize(
    "levels",
    [
        (Level(2), Level(0, np.array([0, 1]), np.array([1]))),
        (Level(2), Level(0, np.array([0, 2, 1]), np.array([1]))),
        (Level(2), Level(0, np.array([0, 1, 2]), np.array([1, 9]))),
        (Level(2), Level(0, np.array([0, 1, 2]), np.array([1, -1]))),
        (Level(1 << 40), Level(1 << 40)),
        (Level(2),),
    ],
)
def test_contradictory_sparsity_is_refused(levels: tuple[Level, ...]) -> None:
    with pytest.raises(ModelError):
        densify(Sparsity((0, 1), (), levels), np.array([1, 2], np.int8), (2, 4))


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=9))
def test_four_bits_are_unpacked(values: list[int]) -> None:
    halves = [value & 15 for value in values] + [0] * (len(values) % 2)
    raw = np.array([low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True)], np.uint8)
    np.testing.assert_array_equal(unpacked(raw, (len(values),)), values)


def unruled(**changes: object) -> Graph:
    """An operator that has no shape rule, between two that have one."""
    sheet = Sheet()
    first = sheet.op("RELU", [sheet.map(2, 3)], sheet.map(2, 3))
    middle = sheet.op("CUSTOM:own", [first], sheet.map(5, 3))
    sheet.op("TANH", [middle], sheet.map(5, 3))
    return with_tensor(sheet.graph(), middle, **changes)


def test_shapes_that_nobody_can_work_out_hold_for_the_inputs_that_the_model_has() -> None:
    same, other = propagate(unruled()), propagate(unruled(), {0: (4, 3)})
    assert [tensor.is_dynamic for tensor in same.tensors.values()] == [False] * 4
    assert [tensor.shape for tensor in same.tensors.values()] == [(2, 3), (2, 3), (5, 3), (5, 3)]
    assert [tensor.is_dynamic for tensor in other.tensors.values()] == [False, False, True, True]
    assert other.tensors[1].shape == (4, 3)
    open_one = propagate(unruled(signature=(-1, 3)))
    assert [tensor.is_dynamic for tensor in open_one.tensors.values()] == [False, False, True, True]
    fixed = propagate(unruled(signature=(5, 3)))
    assert not any(tensor.is_dynamic for tensor in fixed.tensors.values())


def test_a_shape_that_is_given_is_known() -> None:
    graph = with_tensor(unruled(), 0, is_dynamic=True)
    assert [tensor.is_dynamic for tensor in propagate(graph).tensors.values()] == [True] * 4
    given_one = propagate(graph, {0: (2, 3)})
    assert [tensor.is_dynamic for tensor in given_one.tensors.values()] == [False] * 4


def test_what_is_a_problem_already_makes_nothing_of_known_shape() -> None:
    graph = propagate(replace(unruled(), problems={0: "it does not fit"}))
    assert dict(graph.problems) == {0: "it does not fit"}
    assert [tensor.is_dynamic for tensor in graph.tensors.values()] == [False, True, True, True]


def test_variables_and_what_has_too_few_tensors_keep_their_shapes() -> None:
    graph = with_tensor(unruled(), 1, is_variable=True)
    found = propagate(graph, {0: (4, 3)})
    assert (found.tensors[1].shape, found.tensors[1].is_dynamic) == ((2, 3), False)
    graph = with_operator(unruled(), 0, inputs=())
    assert propagate(graph).tensors[1] is graph.tensors[1]


def test_values_go_on_and_do_not_stay() -> None:
    graph = propagate(flattened(), {0: (2, 8, 6, 3)})
    assert [number for number, tensor in graph.tensors.items() if tensor.is_constant] == [
        number for number, tensor in flattened().tensors.items() if tensor.is_constant
    ]
