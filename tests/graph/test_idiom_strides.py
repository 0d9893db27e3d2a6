"""Large strides: which convolutions and pools become convolutions of blocks, and that LiteRT computes the same."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.graph import Activation, DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.maps import same_padding
from rocketnpu.graph.passes.idioms.large_strides import cut_strides
from rocketnpu.graph.verify import verify
from sheets import Sheet, any_values, computed, kinds, with_operator, with_tensor

pytestmark = pytest.mark.litert

Pair = tuple[int, int]


def convolved(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding = Padding.SAME, channels: int = 1, **changes: object
) -> Graph:
    sheet = Sheet()
    made = [
        -(-n // s) if padding is Padding.SAME else (n - k) // s + 1
        for n, k, s in zip(size, kernel, stride, strict=True)
    ]
    weights, bias = sheet.weights(2, *kernel, channels)
    attributes = replace(ops.Conv2D(stride, padding), **changes)
    sheet.op("CONV_2D", [sheet.map(1, *size, channels), weights, bias], sheet.map(1, *made, 2, scale=9.0), attributes)
    return sheet.graph()


def pooled(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding = Padding.VALID, *, scale: float = 0.5, **changes: object
) -> Graph:
    sheet = Sheet()
    made = [
        -(-n // s) if padding is Padding.SAME else (n - k) // s + 1
        for n, k, s in zip(size, kernel, stride, strict=True)
    ]
    attributes = replace(ops.Pool2D(stride, padding, kernel), **changes)
    sheet.op("AVERAGE_POOL_2D", [sheet.map(1, *size, 3)], sheet.map(1, *made, 3, scale=scale), attributes)
    return sheet.graph()


def block_of(stride: Pair) -> int | None:
    """The largest block of up to 7 pixels that cuts both strides to what every chip takes."""
    common = [n for n in range(2, 8) if gcd(*stride) % n == 0]
    return common[-1] if common and max(stride) // common[-1] <= 7 else None


STRIDES = st.sampled_from([1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 49, 56])


@settings(max_examples=150)
@given(
    st.tuples(STRIDES, STRIDES),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.sampled_from(Padding),
    st.integers(1, 3),
    st.sampled_from([Activation.NONE, Activation.RELU]),
)
def test_strided_convolutions(
    stride: Pair, kernel: Pair, more: Pair, padding: Padding, channels: int, activation: Activation
) -> None:
    size = (kernel[0] + more[0], kernel[1] + more[1])
    graph = convolved(size, kernel, stride, padding, channels, activation=activation)
    after = cut_strides(graph)
    verify(after)
    if max(stride) < 8 or block_of(stride) is None:
        assert after is graph
        return
    made = graph.tensors[graph.outputs[0]].shape
    block = block_of(stride) or 1
    reach = [-(-k // block) * block for k in kernel]
    before = [
        same_padding(n, k, s, 1)[1] if padding is Padding.SAME else 0
        for n, k, s in zip(size, kernel, stride, strict=True)
    ]
    whole = [-(-max((made[1 + a] - 1) * stride[a] + reach[a], before[a] + size[a]) // block) * block for a in (0, 1)]
    if any((whole[a] - reach[a]) // stride[a] + 1 != made[1 + a] for a in (0, 1)):
        assert after is graph  # one window more would fit
        return
    assert kinds(after)[-2:] == ["SPACE_TO_DEPTH", "CONV_2D"]
    attributes = after.operators[-1].attributes
    assert attributes == ops.Conv2D((stride[0] // block, stride[1] // block), Padding.VALID, activation=activation)
    values = any_values(graph, sum(size))
    np.testing.assert_array_equal(computed(after, values), computed(graph, values))


@settings(max_examples=60)
@given(
    st.tuples(STRIDES, STRIDES),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.sampled_from(Padding),
)
def test_strided_averages(stride: Pair, kernel: Pair, more: Pair, padding: Padding) -> None:
    size = (kernel[0] + more[0], kernel[1] + more[1])
    graph = pooled(size, kernel, stride, padding)
    after = cut_strides(graph)
    verify(after)
    made = graph.tensors[graph.outputs[0]].shape[1:3]
    over = any((m - 1) * s + k > n for m, s, k, n in zip(made, stride, kernel, size, strict=True))
    if max(stride) < 8 or block_of(stride) is None or over or made == (1, 1):
        assert after is graph
        return
    values = any_values(graph, sum(size))
    assert np.abs(computed(after, values) - computed(graph, values)).max() <= 1


def test_an_average_becomes_a_convolution_of_blocks() -> None:
    graph = pooled((24, 16), (8, 4), (8, 8))
    after = cut_strides(graph)
    assert kinds(after) == ["SPACE_TO_DEPTH", "CONV_2D"]
    weights, bias = (after.input_of(after.operators[1], place) for place in (1, 2))
    assert weights.quantisation is not None
    assert bias.quantisation is not None
    assert (weights.quantisation.scale, bias.quantisation.scale) == (1 / 32, 1 / 64)


@pytest.mark.parametrize(("channels", "taken"), [(29, True), (30, False)])
def test_a_convolution_of_blocks_has_at_most_as_many_weights_as_a_selection(channels: int, taken: bool) -> None:
    graph = convolved((14, 14), (1, 1), (14, 14), channels=channels)
    assert (cut_strides(graph) is not graph) == taken


SOUND = convolved((16, 16), (3, 3), (8, 8))


@pytest.mark.parametrize(
    "graph",
    [
        convolved((17, 16), (2, 2), (8, 8), dilation=(1, 2)),
        convolved((17, 16), (2, 2), (8, 8), dilation=(2, 1)),
        convolved((16, 16), (3, 3), (8, 8), Padding.VALID, pads=((0, 0), (0, 0))),
        with_tensor(SOUND, 2, shape=(1, 16, 16, 2)),
        with_tensor(SOUND, 2, is_dynamic=True),
        with_tensor(SOUND, 3, is_dynamic=True),
        with_tensor(SOUND, 0, data=None),
        with_operator(SOUND, 0, kind="CONV_3D"),
        replace(SOUND, problems={0: "it does not fit"}),
        pooled((16, 16), (3, 3), (8, 8), activation=Activation.RELU),
        pooled((16, 16), (3, 3), (8, 8), scale=0.25),
        with_operator(pooled((16, 16), (3, 3), (8, 8)), 0, kind="MAX_POOL_2D"),
    ],
)
def test_other_strides_stay(graph: Graph) -> None:
    assert kinds(cut_strides(SOUND)) != kinds(SOUND)
    assert cut_strides(graph) is graph


def test_kernels_are_filled_up_with_their_zero_point() -> None:
    sheet = Sheet(DType.UINT8)
    data = np.full((2, 3, 3, 1), 7, np.uint8)
    weights, bias = sheet.constant(data, 0.02, 5), sheet.constant([0, 0], 0.01, 0, DType.INT32)
    target = sheet.map(1, 2, 2, 2, scale=9.0)
    sheet.op("CONV_2D", [sheet.map(1, 16, 16, 1), weights, bias], target, ops.Conv2D((8, 8), Padding.VALID))
    graph = sheet.graph()
    kernels = cut_strides(graph).input_of(cut_strides(graph).operators[-1], 1)
    assert kernels.data is not None
    assert sorted(set(kernels.data.reshape(-1).tolist())) == [5, 7]


def test_what_comes_out_must_be_accepted() -> None:
    graph = convolved((17, 16), (3, 3), (8, 8))
    for kind in ("PAD", "CONV_2D"):
        assert cut_strides(graph, lambda _, operator, kind=kind: operator.kind != kind) is graph
    assert cut_strides(graph, lambda _, operator: operator.kind != "SPACE_TO_DEPTH") is not graph
