"""PAD, CONCATENATION, SPLIT and SLICE: values arrive where they belong, whatever lies beside them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from operator_checks import PROVEN, check, parsed

from bench import Case
from pairs import PAIRS, pair, pairs
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.compare import compare_model
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from strategies import case, cases

SHAPE = (1, 6, 5, 40)


@pytest.mark.parametrize(("family", "bound"), [("pad", 0), ("concatenation", 1)])
def test_seeded_operators_on_all_patterns(family: str, bound: int) -> None:
    outcomes = Counter(check(case(family, seed), bound) for seed in range(40))
    assert outcomes == {"": 40}


@settings(max_examples=60)
@given(found=cases("pad", "concatenation"))
def test_random_operators(found: Case) -> None:
    assert check(found, 1, patterns=("random", "channels", "rows")) == ""


@settings(max_examples=40)
@given(found=pairs("joined", "pad_conv", "conv_activation", "flattened"))
def test_random_networks_are_the_integer_model(found: Case) -> None:
    check(found, 255, patterns=("random", "channels"))


@pytest.mark.parametrize("family", sorted(PAIRS))
def test_every_operator_keeps_its_bound(family: str) -> None:
    for seed in range(12):
        found = pair(family, seed)
        inputs = found.inputs("random")
        tensors = reference(found.model, inputs)
        assert compare_model(plan(found.graph), tensors).is_sound, f"{family} {seed}"


def slicing(kind: str, tables: list[object], shapes: list[tuple[int, ...]], attributes: ops.Attributes) -> Case:
    """An operator that cuts a map; each of ``tables`` is a constant, and the map is the input that is None."""
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, DType.INT8, scale=0.1, zero_point=3)
    inputs = []
    for values in tables:
        array = np.asarray(0 if values is None else values, np.int32)
        inputs.append(x if values is None else builder.tensor(array.shape, DType.INT32, data=array))
    outputs = [builder.tensor(shape, DType.INT8, scale=0.1, zero_point=3) for shape in shapes]
    builder.operator(kind, inputs, outputs, attributes)
    return parsed(builder, [x], outputs, kind)


def takes_no_task(found: Case) -> bool:
    return "computes nothing" in next(iter(plan(found.graph).decisions)).reason


@pytest.mark.parametrize(
    "found",
    [
        slicing("SLICE", [None, [0, 1, 0, 3], [1, 4, 5, 30]], [(1, 4, 5, 30)], ops.NoAttributes()),
        slicing("SLICE", [None, [0, 2, 1, 16], [1, 3, 3, -1]], [(1, 3, 3, 24)], ops.NoAttributes()),
        slicing(
            "STRIDED_SLICE",
            [None, [0, 0, 0, 5], [1, -1, 0, 9], [1, 1, 1, 1]],
            [(1, 5, 5, 4)],
            ops.StridedSlice(end_mask=4),
        ),
        slicing("SPLIT", [[3], None], [(1, 6, 5, 8)] * 5, ops.NoAttributes()),
        slicing("SPLIT", [[2], None], [(1, 6, 1, 40)] * 5, ops.NoAttributes()),
        slicing("SPLIT_V", [None, [10, 30], [3]], [(1, 6, 5, 10), (1, 6, 5, 30)], ops.NoAttributes()),
    ],
    ids=["channels", "columns", "strided", "eighths", "columns one by one", "uneven"],
)
def test_slices_that_are_copied(found: Case) -> None:
    assert check(found, 0) == ""


def test_aligned_slices_take_no_task() -> None:
    found = slicing("SPLIT_V", [None, [16, 24], [3]], [(1, 6, 5, 16), (1, 6, 5, 24)], ops.NoAttributes())
    assert takes_no_task(found)
    rows = slicing("SLICE", [None, [0, 2, 0, 0], [1, 3, 5, 40]], [(1, 3, 5, 40)], ops.NoAttributes())
    assert takes_no_task(rows)


def test_a_slice_that_is_read_lies_in_the_whole_map() -> None:
    """SPLIT between two rectifiers: no copy is made, and both halves are right."""
    builder = ModelBuilder()
    x, whole = (builder.tensor((1, 4, 4, 48), DType.INT8, scale=0.1, zero_point=3) for _ in range(2))
    sizes = builder.tensor((2,), DType.INT32, data=np.array([16, 32], np.int32))
    axis = builder.tensor((1,), DType.INT32, data=np.array([3], np.int32))
    parts = [builder.tensor((1, 4, 4, n), DType.INT8, scale=0.1, zero_point=3) for n in (16, 32)]
    results = [builder.tensor((1, 4, 4, n), DType.INT8, scale=0.05, zero_point=-7) for n in (16, 32)]
    builder.operator("RELU", [x], [whole])
    builder.operator("SPLIT_V", [whole, sizes, axis], parts)
    for part, result in zip(parts, results, strict=True):
        builder.operator("RELU", [part], [result])
    found = parsed(builder, [x], results, "split")
    assert {task.operator for task in lower(found.graph, RK3588, Policy()).tasks} == {0, 2, 3}
    assert check(found, 1) == ""


@pytest.mark.parametrize("family", ["pad", "concatenation"])
def test_proven_rules_suffice(family: str) -> None:
    assert Counter(check(case(family, seed), 1, PROVEN, ("random",)) for seed in range(30)) == {"": 30}


@pytest.mark.parametrize(("scale", "zero"), [(0.1, 3), (0.1, 9), (0.07, -20)], ids=["a view", "moved", "scaled"])
@pytest.mark.parametrize("types", [(DType.UINT8, DType.INT8), (DType.INT8, DType.UINT8)])
def test_quantise_between_signed_and_unsigned(types: tuple[DType, DType], scale: float, zero: int) -> None:
    """A rectifier stands before it, for a view alone is not handed over."""
    middle = {DType.UINT8: 128, DType.INT8: 0}
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 3, 4, 20), types[0], scale=0.1, zero_point=3 + middle[types[0]]) for _ in range(2))
    z = builder.tensor((1, 3, 4, 20), types[1], scale=scale, zero_point=zero + middle[types[1]])
    builder.operator("RELU", [x], [y])
    builder.operator("QUANTIZE", [y], [z])
    found = parsed(builder, [x], [z], "quantise")
    assert check(found, 1) == ""
    assert len(lower(found.graph, RK3588, Policy()).tasks) == (1 if (scale, zero) == (0.1, 3) else 2)


@pytest.mark.parametrize("edges", [(20, 0), (0, 31), (14, 17)])
def test_wide_padding_is_done_in_steps(edges: tuple[int, int]) -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 4, 5), DType.UINT8, scale=0.1, zero_point=17)
    pads = builder.tensor((4, 2), DType.INT32, data=np.array([(0, 0), edges, edges[::-1], (0, 0)], np.int32))
    y = builder.tensor((1, 3 + sum(edges), 4 + sum(edges), 5), DType.UINT8, scale=0.1, zero_point=17)
    builder.operator("PAD", [x, pads], [y])
    assert check(parsed(builder, [x], [y], "pad"), 0) == ""
