"""Operators on which LiteRT would read memory that is not its own are refused."""

from __future__ import annotations

import numpy as np
import pytest

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan

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
