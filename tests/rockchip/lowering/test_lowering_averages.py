"""Averages as layers: which cells a window holds, which factors it wants, and how large maps are halved."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_checks import single

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.average import (
    Average,
    average_layers,
    average_of,
    large_average,
    padded_average,
    used_stride,
)
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.placement import place
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap


def made(
    size: tuple[int, int], out: tuple[int, int], kernel: tuple[int, int], **attributes: Any
) -> tuple[Context, Any]:
    tensors = [((1, *size, 16), 0.1, 3), ((1, *out, 16), 0.1, 3)]
    pool = ops.Pool2D(attributes.pop("stride", (1, 1)), attributes.pop("padding", Padding.VALID), kernel, **attributes)
    graph = single("AVERAGE_POOL_2D", tensors, pool).graph
    return Context(graph, RK3588, place(graph, RK3588, Policy()), Policy()), graph.operators[0]


def window(
    size: tuple[int, int],
    out: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    counts_padding: bool = False,
) -> tuple[Context, Any, Average]:
    """An average of any geometry, whatever its operator says."""
    context, operator = made((8, 8), (8, 8), (1, 1))
    source, target = context.tensor(operator, 0), context.output(operator)
    maps = FeatureMap.packed("t0", *size, 16, 16), FeatureMap.packed("t1", *out, 16, 16)
    return context, operator, Average(source, target, *maps, kernel, stride, padding, Activation.NONE, counts_padding)


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.integers(0, 5), st.integers(1, 6), st.booleans())
def test_cells_inside_the_map(size: int, kernel: int, stride: int, before: int, out: int, counted: bool) -> None:
    windows = [range(n * stride - before, n * stride - before + kernel) for n in range(out)]
    inside = [sum(0 <= cell < size for cell in cells) for cells in windows]
    assume(min(inside) > 0)
    for axis in (0, 1):
        pair = (lambda a, b: (a, b)) if axis == 0 else (lambda a, b: (b, a))
        *_, found = window(pair(size, 4), pair(out, 4), pair(kernel, 1), pair(stride, 1), pair(before, 0), counted)
        assert found.counts[axis] == inside
        assert found.counts[1 - axis] == [1] * 4
        assert found.is_padded == (not counted and inside != [kernel] * out)
        assert found.cells == kernel


@pytest.mark.parametrize(("out", "used"), [((1, 1), (1, 1)), ((2, 1), (3, 1)), ((1, 2), (1, 2)), ((2, 2), (3, 2))])
def test_strides_count_where_there_is_a_second_window(out: tuple[int, int], used: tuple[int, int]) -> None:
    assert used_stride(ops.Pool2D((3, 2), Padding.VALID, (1, 1)), FeatureMap.packed("y", *out, 16, 16)) == used


def test_windows_as_their_operator_has_them() -> None:
    found = average_of(*made((9, 10), (9, 5), (3, 2), stride=(1, 2), padding=Padding.SAME, activation=Activation.RELU))
    assert (found.kernel, found.stride, found.padding) == ((3, 2), (1, 2), (1, 0))
    assert (found.activation, found.counts_padding) == (Activation.RELU, False)
    found = average_of(*made((9, 10), (7, 5), (3, 2), stride=(1, 2)))
    assert (found.padding, found.is_padded) == ((0, 0), False)


@pytest.mark.parametrize(("columns", "taken"), [((14, 15), True), ((15, 16), False)])
def test_factors_are_bytes(columns: tuple[int, int], taken: bool) -> None:
    """Windows of 16 and 17 rows want factors of 17 and 16, such of 14 and 15 columns of 15 and 14: 255 at most."""
    context, operator, average = window((33, sum(columns)), (2, 2), (17, columns[1]), (17, columns[1]))
    assert average.counts == ([17, 16], [columns[1], columns[0]])
    if not taken:
        with pytest.raises(
            UnsupportedError, match="between 16x15 and 17x16 cells want factors up to 272 for one common"
        ):
            padded_average(context, operator, average)
        return
    (layer,) = padded_average(context, operator, average)
    common = math.lcm(16, 17) * math.lcm(14, 15)
    conversion = layer.requantise.conversion
    assert conversion.multiplier / 2**conversion.shift == pytest.approx(1 / common, rel=1e-4)
    assert layer.addend is not None
    values = np.frombuffer(context.constants.content(), np.int8)[layer.addend.operand.feature.at.offset :][: 4 * 16]
    assert layer.addend.offset == 128
    stored = values.reshape(4, 16).astype(int) + 128
    assert stored[:, 0].tolist() == [16 * 14, 16 * 15, 17 * 14, 17 * 15]
    assert (stored == stored[:, :1]).all()


@pytest.mark.parametrize(
    ("size", "parts", "part"),
    [
        ((32, 32), (5, 5), (7, 7)),
        ((7, 33), (1, 5), (7, 7)),
        ((36, 36), (6, 6), (6, 6)),
        ((217, 7), (31, 1), (7, 7)),
        ((189, 182), (27, 26), (7, 7)),
        ((189, 183), None, None),
        ((218, 7), None, None),
        ((7, 218), None, None),
    ],
)
def test_large_maps_are_averaged_in_parts(size: Any, parts: Any, part: Any) -> None:
    """As even as may be, at most 31 a side and 704 in all."""
    context, operator, average = window(size, (1, 1), size)
    if parts is None:
        with pytest.raises(UnsupportedError, match=rf"a map of {size[0]}x{size[1]} makes .* parts, at most 704"):
            large_average(context, operator, average)
        return
    first, *rests, last = large_average(context, operator, average)
    assert {layer.window for layer in (first, *rests)} == {part}
    assert {layer.stride for layer in (first, *rests)} == {part}
    assert {(layer.target.height, layer.target.width) for layer in (first, *rests)} == {parts}
    assert last.window == parts
    cells = size[0] * size[1]
    conversion = last.requantise.conversion
    wanted = part[0] * part[1] / (127 * cells)
    assert conversion.multiplier / 2**conversion.shift == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    "change", [{"kernel": (39, 40)}, {"kernel": (40, 39)}, {"padding": (0, 1)}, {"padding": (1, 0)}]
)
def test_large_windows_are_whole_maps(change: dict[str, Any]) -> None:
    context, operator, average = window((40, 40), (1, 1), (40, 40))
    changed = replace(average, **change, counts_padding=True)
    with pytest.raises(UnsupportedError, match=f"{changed.kernel[0]}x{changed.kernel[1]} that is not the whole map"):
        large_average(context, operator, changed)


@pytest.mark.parametrize(("size", "count"), [((31, 31), 1), ((31, 5), 1), ((32, 5), 3), ((5, 32), 3)])
def test_maps_as_large_as_a_kernel_take_one_layer(size: tuple[int, int], count: int) -> None:
    """Larger ones a layer for the means, one for what is left of them, and one that joins both."""
    assert len(average_layers(*made(size, (1, 1), size))) == count
