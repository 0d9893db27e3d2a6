"""Parts of maps: which lie in the whole map's memory, and where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_checks import single

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph.maps import CHANNELS, COLUMNS, ROWS, MapRange
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.moving import MAX_RATIO, Piece, Selection, _pad_steps, selection_layers
from rocketnpu.rockchip.lowering.placement import joined_slice, place
from rocketnpu.rockchip.lowering.slices import part_of, pixels_of
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Combine


def places(found: FeatureMap) -> np.ndarray:
    """Return the offset of each channel: rows, columns, channels."""
    row, column, channel = np.ogrid[: found.height, : found.width, : found.channels]
    surface = channel // 16 * found.surface_pitch + channel % 16
    return found.at.offset + row * found.line_bytes + column * 16 + surface


def drawn_range(data: st.DataObject, size: int) -> tuple[int, int]:
    first = data.draw(st.integers(0, size - 1))
    return first, data.draw(st.integers(1, size - first))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 50), st.data())
def test_parts_lie_where_the_whole_has_them(height: int, width: int, channels: int, data: st.DataObject) -> None:
    """Whole rows, or columns of a single row; channels from the beginning of a surface on."""
    whole = FeatureMap.packed("t", height, width, channels, 16)
    rows, columns, lanes = (drawn_range(data, size) for size in (height, width, channels))
    part = MapRange(rows, columns, lanes)
    kept = columns == (0, width) or height == 1
    pixels, found = pixels_of(part, whole), part_of(part, whole)
    assert (pixels is not None) == kept
    assert (found is not None) == (kept and lanes[0] % 16 == 0)
    wanted = places(whole)[rows[0] : sum(rows), columns[0] : sum(columns)]
    if pixels is not None:
        np.testing.assert_array_equal(places(pixels), wanted)
    if found is not None:
        np.testing.assert_array_equal(places(found), wanted[..., lanes[0] : sum(lanes)])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 50), st.sampled_from((ROWS, COLUMNS, CHANNELS)), st.data())
def test_pieces_of_a_joined_map(height: int, width: int, channels: int, axis: int, data: st.DataObject) -> None:
    whole = FeatureMap.packed("t", height, width, channels, 16)
    first, count = drawn_range(data, (height, width, channels)[3 + axis])
    found = joined_slice(whole, axis, first, count)
    if axis == CHANNELS and first % 16:
        assert found is None
        return
    assert found is not None
    chosen = [slice(None)] * 3
    chosen[3 + axis] = slice(first, first + count)
    np.testing.assert_array_equal(places(found), places(whole)[tuple(chosen)])
    assert height > 1 or found.line_gap == 0, "a single row has no gap behind it"


@given(st.integers(0, 70), st.integers(1, 40), st.integers(0, 7))
def test_a_piece_overlaps_the_surfaces_it_has_channels_in(first: int, count: int, surface: int) -> None:
    piece = Piece(None, first, count, None)  # type: ignore[arg-type]
    shared = set(range(first, first + count)) & set(range(16 * surface, 16 * surface + 16))
    assert piece.overlaps(surface, 16) == bool(shared)


@given(*(st.tuples(st.integers(0, 40), st.integers(0, 40)) for _ in range(2)), st.integers(1, 15))
def test_padding_is_cut_into_steps(rows: tuple[int, int], columns: tuple[int, int], limit: int) -> None:
    """What is in front first; no step pads more than the limit in all, none pads nothing."""
    steps = list(_pad_steps(rows, columns, limit))
    for axis, edges in enumerate((rows, columns)):
        assert tuple(map(sum, zip(*(step[axis] for step in steps), strict=True))) == (edges if steps else ())
        assert all(sum(step[axis]) <= limit for step in steps)
        missing = [edges[0] - sum(step[axis][0] for step in steps[:n]) for n in range(len(steps))]
        assert all(step[axis][0] == min(left, limit) for step, left in zip(steps, missing, strict=True))
    assert all(any(map(any, step)) for step in steps)
    assert len(steps) == max(-(-sum(rows) // limit), -(-sum(columns) // limit))


def context_of() -> tuple[Context, object]:
    graph = single("RELU", [((1, 4, 4, 40), 0.1, 3), ((1, 4, 4, 40), 0.1, 3)]).graph
    return Context(graph, RK3588, place(graph, RK3588, Policy()), Policy()), graph.operators[0]


@given(
    st.lists(st.none() | st.integers(0, 69), min_size=1, max_size=140),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    st.sampled_from((1.0, 0.25, 3.0)),
    st.none() | st.integers(-128, 127),
)
def test_a_selection_picks_its_channels(
    chosen: list[int | None], zeros: tuple[int, int], factor: float, fill: int | None
) -> None:
    """By the arithmetic of its layers: picked channels are rescaled, the others are the zero point or the fill."""
    context, operator = context_of()
    source = FeatureMap.packed("x", 4, 4, 70, 16)
    selection = Selection(source, chosen, zeros, factor, fill if factor == 1.0 else None)
    layers = list(selection_layers(context, operator, selection, FeatureMap.packed("y", 4, 4, len(chosen), 16)))  # type: ignore[arg-type]
    assert [layer.target.channels for layer in layers] == [
        min(128, len(chosen) - first) for first in range(0, len(chosen), 128)
    ]
    values = np.random.default_rng(len(chosen)).integers(-128, 128, 70)
    made: list[int] = []
    for layer in layers:
        low = layer.source.at.offset // layer.source.surface_pitch * 16
        read = values[low : low + layer.source.channels]
        sums = (layer.weights[:, 0, 0].astype(int) - layer.weight_zero_point) @ read + layer.biases
        conversion = layer.requantise.conversion
        made += np.rint(sums * conversion.multiplier / 2**conversion.shift + conversion.offset).astype(int).tolist()
    rest = fill if fill is not None and factor == 1.0 else zeros[1]
    exact = [rest if n is None else (values[n] - zeros[0]) * factor + zeros[1] for n in chosen]
    assert np.abs(np.array(made) - np.array(exact)).max() <= 0.51


@pytest.mark.parametrize(("factor", "taken"), [(MAX_RATIO, True), (MAX_RATIO * 1.01, False), (1.0, True)])
def test_what_was_selected_before_comes_through(factor: float, taken: bool) -> None:
    context, operator = context_of()
    maps = [FeatureMap.packed(name, 4, 4, 16, 16) for name in "xyz"]
    selection = Selection(maps[0], [None] * 8 + list(range(8)), (3, -5), factor, before=maps[2])
    if not taken:
        with pytest.raises(UnsupportedError, match=r"an input's scale is 64\.6 times the output's, at most 64"):
            list(selection_layers(context, operator, selection, maps[1]))  # type: ignore[arg-type]
        return
    (layer,) = selection_layers(context, operator, selection, maps[1])  # type: ignore[arg-type]
    assert layer.addend is not None
    assert (layer.addend.combine, layer.addend.offset, layer.addend.operand.feature) == (Combine.ADD, 5, maps[2])
    unit = 1 if factor == 1.0 else 255 / factor
    assert layer.addend.scale / 2**layer.addend.shift == pytest.approx(unit, rel=1e-4)
