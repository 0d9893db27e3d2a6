"""Who decides about operators: rules before registers, and both halves of a convolution with an addition behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rocketnpu.graph import Activation, DType, Graph, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import CONV_ADD
from rocketnpu.policy import Policy
from rocketnpu.rockchip.rules.checker import RockchipChecker
from rocketnpu.rockchip.rules.means import MEANS, published
from rocketnpu.rockchip.rules.table import RULES
from rocketnpu.rockchip.soc import RK3588

SCALE = Quantisation.per_tensor(0.1, 3)


def feature(number: int, *shape: int, **more: Any) -> Tensor:
    return Tensor(number, f"t{number}", shape, DType.INT8, more.pop("q", SCALE), **more)


def fused(**changes: Any) -> RockchipChecker:
    """A checker of one fused operator; changes of its convolution and of what is added."""
    stride = changes.pop("stride", (1, 1))
    made = (-(-8 // stride[0]), -(-8 // stride[1]))
    weights = Tensor(
        1, "w", (16, 1, 1, 16), DType.INT8, Quantisation.per_tensor(0.01, 0), np.ones((16, 1, 1, 16), np.int8)
    )
    bias = Tensor(3, "b", (16,), DType.INT32, None, np.zeros(16, np.int32))
    addend = changes.pop("addend", feature(2, 1, *made, 16))
    tensors = [feature(0, 1, 8, 8, 16), changes.pop("weights", weights), addend, changes.pop("bias", bias)]
    output = feature(4, 1, *made, 16)
    attributes = ops.ConvAdd(ops.Conv2D(stride, Padding.SAME, **changes.pop("window", {})), 0.1, 0, **changes)
    operator = Operator(0, CONV_ADD, (0, 1, 2, 3), (4,), attributes)
    graph = Graph("fused", {tensor.index: tensor for tensor in (*tensors, output)}, (operator,), (0, 2), (4,))
    return RockchipChecker(graph, RK3588, Policy())


def refusal(checker: RockchipChecker) -> str | None:
    return checker.refusal(checker._graph.operators[0])


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_a_fused_addition_is_taken(stride: tuple[int, int]) -> None:
    """The addend is as large as the sum, whatever the convolution reads."""
    assert refusal(fused(stride=stride)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stride": (8, 1)}, "Strides are 1 to 7. Found: 8x1"),
        ({"window": {"dilation": (1, 33)}}, "Dilations are 1 to 32, and padding is at most 15. Found: dilation 1x33"),
        ({"activation": Activation.TANH}, "Found: TANH"),
        (
            {"addend": feature(2, 1, 8, 1, 16)},
            "Found: an operand of shape (1, 8, 1, 16) for an output of (1, 8, 8, 16)",
        ),
        ({"addend": feature(2, 1, 8, 8, 16, q=None)}, "Found: tensor 2 has no scale"),
        ({"weights": feature(1, 16, 1, 1, 16)}, "Found: they are computed at run time"),
        ({"bias": feature(3, 15, data=np.zeros(15, np.int8))}, "Found: it is constant int8"),
    ],
)
def test_both_halves_are_judged(changes: dict[str, Any], said: str) -> None:
    found = refusal(fused(**changes))
    assert found is not None
    assert said in found


def single(kind: str, *shapes: tuple[int, ...]) -> RockchipChecker:
    tensors = {number: feature(number, *shape) for number, shape in enumerate(shapes)}
    operator = Operator(0, kind, tuple(range(len(shapes) - 1)), (len(shapes) - 1,), ops.NoAttributes())
    return RockchipChecker(Graph("one", tensors, (operator,), (0,), (len(shapes) - 1,)), RK3588, Policy())


def test_kinds_without_rules_stay_on_the_cpu() -> None:
    assert refusal(single("SPACE_TO_DEPTH", (1, 8, 8, 16), (1, 4, 4, 64))) == "the NPU has no SPACE_TO_DEPTH"


def test_rules_come_before_registers() -> None:
    said = refusal(single("RELU", (1, 8, 2048, 16), (1, 8, 2048, 16)))
    assert said is not None
    assert "at most 2047 columns" in said
    assert refusal(single("RELU", (1, 8, 2047, 16), (1, 8, 2047, 16))) is None


def test_views_compute_nothing() -> None:
    checker = single("RESHAPE", (1, 8, 8, 16), (1, 4, 16, 16))
    assert checker.is_view(checker._graph.operators[0])
    assert checker.computes_nothing(checker._graph.operators[0])
    checker = single("RELU", (1, 8, 8, 16), (1, 8, 8, 16))
    assert not checker.is_view(checker._graph.operators[0])
    assert not checker.computes_nothing(checker._graph.operators[0])


@pytest.mark.parametrize(
    ("dtype", "q", "view"),
    [
        (DType.UINT8, Quantisation.per_tensor(0.1, 131), True),
        (DType.UINT8, Quantisation.per_tensor(0.1, 130), False),
        (DType.UINT8, Quantisation.per_tensor(0.2, 131), False),
        (DType.INT8, SCALE, True),
        (DType.INT16, SCALE, False),
    ],
)
def test_a_quantise_between_bytes_of_one_scale_is_a_view(dtype: DType, q: Quantisation, view: bool) -> None:
    for turned in (False, True):
        other = replace(feature(1, 1, 8, 8, 16, q=q), dtype=dtype)
        tensors = {0: feature(0, 1, 8, 8, 16), 1: other}
        ends = (1, 0) if turned else (0, 1)
        operator = Operator(0, "QUANTIZE", ends[:1], ends[1:], ops.NoAttributes())
        checker = RockchipChecker(Graph("q", tensors, (operator,), ends[:1], ends[1:]), RK3588, Policy())
        assert checker.is_view(operator) == view


def test_every_kind_says_how_it_is_done() -> None:
    assert set(MEANS) == set(RULES)
    pages = published()
    assert [page.kind for page in pages] == sorted(RULES)
    for page in pages:
        assert page.means is MEANS[page.kind]
        assert len(page.rules) == len(RULES[page.kind])
        assert all(text.endswith(".") or "." in text for text in page.rules), page.kind
