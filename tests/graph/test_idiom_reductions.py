"""Reductions as operators of maps: what each becomes, what stays, and that LiteRT computes the same of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.idioms.reductions import reduce_as_maps
from rocketnpu.graph.verify import verify
from sheets import Sheet, any_values, computed, kinds, with_tensor

pytestmark = pytest.mark.litert


def reduced(
    kind: str, shape: tuple[int, ...], axes: list[int], *, keep: bool = False, scale: float = 0.5, zero: int = 3
) -> Graph:
    sheet = Sheet()
    gone = {axis % len(shape) for axis in axes}
    made = [1 if axis in gone else size for axis, size in enumerate(shape) if keep or axis not in gone]
    inputs = [sheet.map(*shape), sheet.whole(axes)]
    sheet.op(kind, inputs, sheet.map(*made, scale=scale, zero=zero), ops.Reduce(keep))
    return sheet.graph()


def expected(kind: str, rank: int, axes: set[int]) -> set[str]:
    """Kinds of operators, besides views, that docstrings promise; ``axes`` are those of a map."""
    if kind == "REDUCE_MAX":
        return {"REDUCE_MAX"} if 3 in axes else {"MAX_POOL_2D"}
    return {"CONV_2D"} if 3 in axes else {"MEAN"}


@settings(max_examples=120)
@given(
    st.sampled_from(["MEAN", "REDUCE_MAX"]),
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    st.data(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_reductions(kind: str, sizes: list[int], data: st.DataObject, keep: bool, seed: int) -> None:
    shape = tuple(sizes) if len(sizes) < 4 else (1, *sizes[1:])
    rank = len(shape)
    allowed = range(-rank, rank) if rank < 4 else [axis for axis in range(-rank, rank) if axis % rank]
    axes = data.draw(st.lists(st.sampled_from(list(allowed)), min_size=1, max_size=3, unique_by=lambda a: a % rank))
    if len(axes) == rank:
        axes = axes[1:]
    graph = reduced(kind, shape, axes, keep=keep)
    verify(graph)
    after = reduce_as_maps(graph)
    verify(after)
    assert set(kinds(after)) - {"RESHAPE"} == expected(kind, rank, {axis % rank + 4 - rank for axis in axes})
    values = any_values(graph, seed)
    apart = np.abs(computed(after, values) - computed(graph, values)).max()
    assert apart <= int(kind == "MEAN" and "CONV_2D" in kinds(after))


@settings(max_examples=40)
@given(st.integers(1, 700), st.integers(1, 70), st.sampled_from([[1], [2], [1, 2]]), st.integers(0, 2**32 - 1))
def test_maxima_go_in_steps_that_every_chip_takes(rows: int, columns: int, axes: list[int], seed: int) -> None:
    graph = reduced("REDUCE_MAX", (1, rows, columns, 2), axes, keep=True)
    after = reduce_as_maps(graph)
    pools = [o.attributes for o in after.operators if isinstance(o.attributes, ops.Pool2D)]
    assert max(max(pool.kernel) for pool in pools) <= 31
    assert max(max(pool.stride) for pool in pools) <= 7
    values = any_values(graph, seed)
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


@pytest.mark.parametrize(("size", "pools"), [(31, 1), (32, 2), (31 * 7, 2), (31 * 7 + 1, 3), (31 * 7 * 7 + 1, 4)])
def test_no_more_steps_than_a_map_needs(size: int, pools: int) -> None:
    for shape, axis in (((1, size, 1, 1), 1), ((1, 1, size, 1), 2)):
        assert kinds(reduce_as_maps(reduced("REDUCE_MAX", shape, [axis]))).count("MAX_POOL_2D") == pools


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_a_mean_of_channels_has_its_own_scale(dtype: DType) -> None:
    sheet = Sheet(dtype)
    source, target = sheet.map(1, 3, 2, 5, scale=0.25, zero=7), sheet.map(1, 1, 1, 1, scale=0.125, zero=4)
    sheet.op("MEAN", [source, sheet.whole([1, 2, 3])], target, ops.Reduce(True))
    graph = sheet.graph()
    after = reduce_as_maps(graph)
    assert kinds(after) == ["CONV_2D", "RESHAPE"]
    (bias,) = [tensor for tensor in after.tensors.values() if tensor.dtype is DType.INT32 and tensor.quantisation]
    assert bias.quantisation is not None
    assert bias.quantisation.scale == pytest.approx(0.25 / 30)
    for seed in range(9):
        values = any_values(graph, seed)
        assert np.abs(computed(after, values) - computed(graph, values)).max() <= 1


@pytest.mark.parametrize(
    "graph",
    [
        reduced("MEAN", (1, 3, 4, 5), [1, 2]),
        reduced("MEAN", (1, 3, 4, 5), [0, 3], keep=True),
        reduced("MEAN", (1, 3, 4, 5), [-4, 3], keep=True),
        reduced("REDUCE_MAX", (1, 3, 4, 5), [0, 1], keep=True),
        reduced("REDUCE_MAX", (3, 4, 5), [-1]),
        reduced("REDUCE_MAX", (3, 4, 5), [0], scale=0.25),
        reduced("REDUCE_MAX", (3, 4, 5), [0], zero=4),
        reduced("MEAN", (2, 3, 4, 5), [3]),
        reduced("MEAN", (3, 4, 5), []),
        reduced("MEAN", (1, 1, 3, 4, 5), [3]),
        reduced("SUM", (3, 4, 5), [2]),
        reduced("REDUCE_MIN", (3, 4, 5), [0]),
        with_tensor(reduced("MEAN", (3, 4, 5), [2]), 1, data=None),
        with_tensor(reduced("MEAN", (3, 4, 5), [2]), 0, is_dynamic=True),
        with_tensor(reduced("MEAN", (3, 4, 5), [2]), 0, data=np.zeros((3, 4, 5), np.int8)),
        with_tensor(reduced("MEAN", (3, 4, 5), [2]), 0, quantisation=None),
        with_tensor(reduced("MEAN", (3, 4, 5), [2]), 2, dtype=DType.UINT8),
        replace(reduced("MEAN", (3, 4, 5), [2]), problems={0: "it does not fit"}),
    ],
)
def test_other_reductions_stay(graph: Graph) -> None:
    assert reduce_as_maps(graph) is graph


def test_each_step_must_be_accepted() -> None:
    graph = reduced("REDUCE_MAX", (1, 40, 40, 2), [1, 2])
    for kind in ("MAX_POOL_2D", "RESHAPE"):
        assert reduce_as_maps(graph, lambda _, operator, kind=kind: operator.kind != kind) is graph
