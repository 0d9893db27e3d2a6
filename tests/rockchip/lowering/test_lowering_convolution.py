"""What a convolution's numbers may be before it becomes a layer: spread kernels, biases, slopes, enlarging weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.rockchip.lowering.convolution import Kernel, corrected_bias, spread
from rocketnpu.rockchip.lowering.lookup import _check_slopes
from rocketnpu.rockchip.soc import RK3588


def kernel(weights: np.ndarray, zero: int = 0, bias: int = 0) -> Kernel:
    outputs = weights.shape[-1] if weights.ndim == 3 else len(weights)
    return Kernel(weights.astype(np.int8), zero, np.ones(1), np.full(outputs, bias, np.int64))


@given(st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.booleans())
def test_a_spread_kernel_has_its_taps_apart(size: tuple[int, int], dilation: tuple[int, int], depthwise: bool) -> None:
    shape = (*size, 3) if depthwise else (2, *size, 3)
    weights = np.random.default_rng(sum(size)).integers(-128, 128, shape)
    found = spread(kernel(weights, 9), dilation, RK3588).weights
    for row in range(found.shape[-3]):
        for column in range(found.shape[-2]):
            y, x = divmod(row, dilation[0]), divmod(column, dilation[1])
            wanted = 9 if y[1] or x[1] else weights[..., y[0], x[0], :]
            assert (found[..., row, column, :] == wanted).all()
    assert found.shape[-3:-1] == tuple((n - 1) * step + 1 for n, step in zip(size, dilation, strict=True))


@pytest.mark.parametrize(("dilation", "taken"), [((30, 1), True), ((1, 30), True), ((31, 1), False), ((1, 31), False)])
def test_a_spread_kernel_has_31_rows_and_columns_at_most(dilation: tuple[int, int], taken: bool) -> None:
    weights = np.zeros((2, 2, 2, 3))
    if taken:
        assert max(spread(kernel(weights), dilation, RK3588).weights.shape[1:3]) == 31
        return
    reach = tuple(step + 1 for step in dilation)
    with pytest.raises(UnsupportedError, match=f"the dilated kernel reaches over {reach[0]}x{reach[1]}, proven are 31"):
        spread(kernel(weights), dilation, RK3588)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("zero", "source_zero"), [(0, 0), (5, -128), (-7, 127)])
def test_biases_take_the_inputs_zero_point_in(depthwise: bool, zero: int, source_zero: int) -> None:
    weights = np.random.default_rng(1).integers(-128, 128, (3, 2, 4) if depthwise else (4, 3, 2, 5))
    net = (weights - zero).sum((0, 1) if depthwise else (1, 2, 3))
    assert corrected_bias(kernel(weights, zero, 11), source_zero).tolist() == (11 - source_zero * net).tolist()


@pytest.mark.parametrize(
    ("bias", "taken"), [((1 << 31) - 1, True), (1 << 31, False), (1 - (1 << 31), True), (-(1 << 31), False)]
)
def test_biases_have_32_bits(bias: int, taken: bool) -> None:
    """The sign and 31 more, the lowest of all left out."""
    for weights, source_zero, given_bias in ((0, 0, bias), (1, 1, bias + 1), (1, -1, bias - 1)):
        given_kernel = kernel(np.full((1, 1, 1, 1), weights), 0, given_bias)
        if taken:
            assert corrected_bias(given_kernel, source_zero).tolist() == [bias]
            continue
        with pytest.raises(UnsupportedError, match="a bias of 2147483648 does not fit 32 bits"):
            corrected_bias(given_kernel, source_zero)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_rounded_slopes_are_off_by_a_fifth_of_a_step_at_most(ratio: float, sign: int) -> None:
    """At the largest difference of two bytes, 255 steps."""
    _check_slopes(np.array([0.0, sign * 0.199 / 255 / ratio]), ratio)
    with pytest.raises(UnsupportedError, match=r"rounded slopes would be off by up to 0\.2 output steps"):
        _check_slopes(np.array([0.0, sign * 0.201 / 255 / ratio]), ratio)
    _check_slopes(np.array([]), ratio)


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        ((127, 1), ""),
        ((1, 127), ""),
        ((11, 11), ""),
        ((129, 1), "a factor of 129x1 needs weights up to 129"),
        ((9, 15), "a factor of 9x15 needs weights up to 135"),
    ],
)
def test_weights_of_an_enlargement_are_bytes(factor: tuple[int, int], reason: str) -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 2, 2, 1), DType.UINT8, scale=0.1, zero_point=3)
    size = builder.tensor((2,), DType.INT32, data=np.array([2 * factor[0], 2 * factor[1]], np.int32))
    y = builder.tensor((1, 2 * factor[0], 2 * factor[1], 1), DType.UINT8, scale=0.1, zero_point=3)
    builder.operator("RESIZE_BILINEAR", [x, size], [y], ops.Resize())
    (decision,) = plan(parse(builder.build([x], [y]))).decisions
    assert (decision.reason == "") if not reason else (reason in decision.reason), decision.reason
