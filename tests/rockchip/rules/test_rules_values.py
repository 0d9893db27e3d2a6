"""Each rule at its border: the last value that it takes, the first that it refuses, and what it then says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rocketnpu.graph import Activation, DType, Graph, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.rules import moves
from rocketnpu.partition.rules import tensors as tensor_rules
from rocketnpu.partition.rules import weights as weight_rules
from rocketnpu.rockchip.rules import activation, common, convolution, enlarging, moving, others, pooling
from rocketnpu.rockchip.rules.common import Rule
from rocketnpu.rockchip.soc import RK3588

PLAIN = ops.NoAttributes()
MAP = (1, 8, 8, 16)
SCALE = Quantisation.per_tensor(0.1, 3)


class T:
    """A tensor in a word: shape, type, quantisation, and values where it is constant."""

    def __init__(self, *shape: int, dtype: DType = DType.INT8, q: Any = SCALE, data: Any = None, **more: Any) -> None:
        self.shape, self.dtype, self.q, self.data, self.more = shape, dtype, q, data, more

    def tensor(self, index: int) -> Tensor:
        data = None if self.data is None else np.broadcast_to(np.array(self.data), self.shape)
        return Tensor(index, f"t{index}", self.shape, self.dtype, self.q, data, **self.more)


def per_channel(count: int, axis: int, zero: int = 0) -> Quantisation:
    return Quantisation(np.full(count, 0.01, np.float32), np.full(count, zero, np.int64), axis)


def found(rule: Rule, kind: str, inputs: list[T | None], outputs: list[T], attributes: Any = PLAIN) -> str | None:
    """Ask a rule about one operator."""
    tensors = {n: t.tensor(n) for n, t in enumerate([*inputs, *outputs]) if t is not None}
    numbers = tuple(None if t is None else n for n, t in enumerate(inputs))
    made = tuple(range(len(inputs), len(inputs) + len(outputs)))
    operator = Operator(0, kind, numbers, made, attributes)
    given = tuple(n for n in numbers if n is not None and not tensors[n].is_constant)
    return rule(Graph("rule", tensors, (operator,), given, made), operator, RK3588)


W = Quantisation.per_tensor(0.01, 0)


@pytest.mark.parametrize(
    ("slopes", "said"),
    [
        (T(1, 1, 16, data=1), None),
        (T(16, data=1), None),
        (T(1, data=1), None),
        (T(1, 1, 1, data=1), None),
        (T(16), "they are computed at run time"),
        (None, "they are computed at run time"),
        (T(16, data=1, dtype=DType.UINT8), "slopes are uint8"),
        (T(16, data=1, dtype=DType.FLOAT32), "tensor 1 is float32"),
        (T(16, data=1, q=None), "tensor 1 has no scale"),
        (T(16, data=1, q=per_channel(16, 0)), "tensor 1 has 16 scales 0.01..0.01 on axis 0"),
        (T(8, data=1), "slopes of shape (8,) for an input of (1, 8, 8, 16)"),
        (T(8, 8, 16, data=1), "slopes of shape (8, 8, 16) for an input of (1, 8, 8, 16)"),
        (T(16, 1, data=1), "slopes of shape (16, 1) for an input of (1, 8, 8, 16)"),
    ],
)
def test_slopes(slopes: T | None, said: str | None) -> None:
    assert found(activation.constant_slopes, "PRELU", [T(*MAP), slopes], [T(*MAP)]) == said


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "taken"),
    [
        (DType.INT8, 1 / 256, -128, True),
        (DType.UINT8, 1 / 256, 0, True),
        (DType.INT8, 1 / 256, 0, False),
        (DType.UINT8, 1 / 256, -128, False),
        (DType.INT8, 1 / 255, -128, False),
    ],
)
def test_a_logistic_gives_the_whole_range(dtype: DType, scale: float, zero: int, taken: bool) -> None:
    target = T(*MAP, dtype=dtype, q=Quantisation.per_tensor(scale, zero))
    said = found(tensor_rules.whole_range, "LOGISTIC", [T(*MAP, dtype=dtype)], [target])
    assert said == (None if taken else str(target.q))


def test_shapes_and_types_of_byte_functions() -> None:
    assert found(tensor_rules.equal_shapes, "TANH", [T(*MAP)], [T(*MAP)]) is None
    assert found(tensor_rules.equal_shapes, "TANH", [T(1, 4, 16, 16)], [T(*MAP)]) == "(1, 4, 16, 16) and (1, 8, 8, 16)"
    assert found(tensor_rules.signed_features, "ABS", [T(*MAP)], [T(*MAP)]) is None
    assert found(tensor_rules.signed_features, "ABS", [T(*MAP, dtype=DType.UINT8)], [T(*MAP)]) == "uint8"


@pytest.mark.parametrize(
    ("kind", "weights", "said"),
    [
        ("CONV_2D", T(16, 1, 1, 16, data=1, q=W), None),
        ("CONV_2D", T(16, 1, 1, 16, data=1, q=per_channel(16, 0)), None),
        ("CONV_2D", T(16, 1, 1, 16, q=W), "they are computed at run time"),
        ("CONV_2D", None, "they are computed at run time"),
        ("CONV_2D", T(16, 1, 1, 16, data=1, dtype=DType.UINT8, q=W), "weights are uint8"),
        ("CONV_2D", T(16, 1, 1, 16, data=1, dtype=DType.INT16, q=W), "weights are int16"),
        ("CONV_2D", T(16, 1, 1, 16, data=1, q=None), "they have no scale"),
        ("CONV_2D", T(16, 1, 1, 16, data=1, q=Quantisation.per_tensor(0.0, 0)), "they have no scale"),
        (
            "CONV_2D",
            T(16, 1, 1, 16, data=1, q=Quantisation(np.float32([0.1] * 15 + [0]), np.zeros(16, np.int64))),
            "they have no scale",
        ),
        ("CONV_2D", T(16, 1, 1, 16, data=1, q=SCALE), "int8 weights with 0.100000001 zero point 3 and zero points [3]"),
        ("FULLY_CONNECTED", T(16, 16, data=1, q=SCALE), None),
        ("FULLY_CONNECTED", T(16, 16, data=1, q=per_channel(16, 0, 1)), "int8 weights with 16 scales"),
    ],
)
def test_weights(kind: str, weights: T | None, said: str | None) -> None:
    answer = found(weight_rules.constant_weights, kind, [T(*MAP), weights], [T(*MAP)])
    assert answer == said or (said is not None and answer is not None and answer.startswith(said) and "scales" in said)


def test_unsigned_weights() -> None:
    source, one = T(*MAP, dtype=DType.UINT8), T(16, 1, 1, 16, dtype=DType.UINT8, data=1, q=SCALE)
    many = T(16, 1, 1, 16, dtype=DType.UINT8, data=1, q=per_channel(16, 0))
    assert found(weight_rules.constant_weights, "CONV_2D", [source, one], [source]) is None
    assert "uint8 weights with 16 scales" in str(
        found(weight_rules.constant_weights, "CONV_2D", [source, many], [source])
    )
    assert found(weight_rules.constant_weights, "CONV_2D", [source, T(16, 1, 1, 16, data=1, q=W)], [source]) is None


@pytest.mark.parametrize(
    ("kind", "axis", "count", "said"),
    [
        ("CONV_2D", 0, 16, None),
        ("CONV_2D", 3, 16, "scales are along axis 3"),
        ("CONV_2D", 3, 1, None),
        ("DEPTHWISE_CONV_2D", 3, 16, None),
        ("DEPTHWISE_CONV_2D", 0, 16, "scales are along axis 0"),
    ],
)
def test_scales_lie_along_the_outputs(kind: str, axis: int, count: int, said: str | None) -> None:
    weights = T(16, 1, 1, 16, data=1, q=per_channel(count, axis))
    assert found(weight_rules.scales_by_output, kind, [T(*MAP), weights], [T(*MAP)]) == said


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        (None, None),
        (T(16, dtype=DType.INT32, data=1), None),
        (T(16, dtype=DType.INT32), "it is computed int32"),
        (T(16, dtype=DType.INT64, data=1), "it is constant int64"),
        (T(15, dtype=DType.INT32, data=1), "it has 15 values for 16 channels"),
    ],
)
@pytest.mark.parametrize("kind", ["CONV_2D", "TRANSPOSE_CONV"])
def test_biases(kind: str, bias: T | None, said: str | None) -> None:
    weights = T(16, 1, 1, 16, data=1, q=W)
    inputs = [T(*MAP), weights, bias] if kind == "CONV_2D" else [T(4, data=8, q=None), weights, T(*MAP), bias]
    assert found(weight_rules.constant_bias, kind, inputs, [T(*MAP)]) == said


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((16, 31, 31, 16), None),
        ((16, 1, 31, 16), None),
        ((16, 32, 1, 16), "32x1"),
        ((16, 1, 32, 16), "1x32"),
        ((16, 0, 3, 16), "0x3"),
        ((16, 3, 16), "weights have shape (16, 3, 16)"),
    ],
)
def test_kernels(shape: tuple[int, ...], said: str | None) -> None:
    assert found(convolution.kernel_size, "CONV_2D", [T(*MAP), T(*shape, data=1, q=W)], [T(*MAP)]) == said


@pytest.mark.parametrize(
    ("stride", "dilation", "kernel", "padding", "stride_said", "dilation_said"),
    [
        ((1, 7), (1, 32), (1, 1), "VALID", None, None),
        ((8, 1), (33, 1), (1, 1), "VALID", "8x1", "dilation 33x1"),
        ((1, 8), (1, 33), (1, 1), "VALID", "1x8", "dilation 1x33"),
        ((0, 1), (0, 1), (1, 1), "VALID", "0x1", "dilation 0x1"),
        ((1, 1), (15, 1), (3, 31), "SAME", None, None),
        ((2, 3), (2, 3), (3, 3), "SAME", None, None),
        ((1, 1), (16, 1), (3, 3), "SAME", None, "kernel 3 with dilation 16 needs padding 16"),
        ((1, 1), (16, 1), (3, 3), "VALID", None, None),
        ((1, 1), (1, 16), (3, 3), "SAME", None, "kernel 3 with dilation 16 needs padding 16"),
        ((1, 1), (1, 2), (31, 17), "SAME", None, "kernel 17 with dilation 2 needs padding 16"),
        ((1, 1), (1, 31), (31, 2), "SAME", None, None),
    ],
)
def test_strides_and_dilations(
    stride: Any, dilation: Any, kernel: Any, padding: str, stride_said: str | None, dilation_said: str | None
) -> None:
    attributes = ops.Conv2D(stride, Padding(padding), dilation)
    given = ("CONV_2D", [T(*MAP), T(16, *kernel, 16, data=1, q=W)], [T(*MAP)], attributes)
    assert found(convolution.strides, *given) == stride_said
    assert found(convolution.dilations, *given) == dilation_said


@pytest.mark.parametrize(
    ("kind", "given", "weights", "made", "taken"),
    [
        ("CONV_2D", 16, (32, 3, 3, 16), 32, True),
        ("CONV_2D", 16, (32, 3, 3, 4), 32, True),
        ("CONV_2D", 16, (30, 3, 3, 4), 30, False),
        ("CONV_2D", 16, (32, 3, 3, 5), 32, False),
        ("CONV_2D", 16, (32, 3, 3, 16), 31, False),
        ("DEPTHWISE_CONV_2D", 16, (1, 3, 3, 16), 16, True),
        ("DEPTHWISE_CONV_2D", 16, (1, 3, 3, 32), 32, True),
        ("DEPTHWISE_CONV_2D", 16, (1, 3, 3, 24), 24, False),
        ("DEPTHWISE_CONV_2D", 16, (2, 3, 3, 16), 16, False),
        ("FULLY_CONNECTED", 16, (8, 16), 8, True),
        ("FULLY_CONNECTED", 16, (8, 15), 8, False),
        ("FULLY_CONNECTED", 16, (8, 16), 7, False),
    ],
)
def test_channels(kind: str, given: int, weights: tuple[int, ...], made: int, taken: bool) -> None:
    inputs, outputs = [T(1, 8, 8, given), T(*weights, data=1, q=W)], [T(1, 8, 8, made)]
    said = found(convolution.channels_match, kind, inputs, outputs)
    assert (said is None) == taken
    assert taken or str(said).startswith(f"{given} to {made} channels, ")


@pytest.mark.parametrize(
    ("source", "weights", "shuffled", "said"),
    [
        ((3, 16), (8, 16), False, None),
        ((1, 2, 2, 4), (8, 16), False, "input has shape (1, 2, 2, 4)"),
        ((3, 16), (8, 16), True, "weights have shape (8, 16) and are shuffled"),
        ((3, 16), (8, 4, 4), False, "weights have shape (8, 4, 4)"),
    ],
)
def test_matrices(source: Any, weights: Any, shuffled: bool, said: str | None) -> None:
    attributes = ops.FullyConnected(shuffled_weights=shuffled)
    given = [T(*source), T(*weights, data=1, q=W)]
    assert found(weight_rules.plain_weights, "FULLY_CONNECTED", given, [T(3, 8)], attributes) == said


LARGEST = 2047 * 2047


@pytest.mark.parametrize(
    ("shape", "taken", "held"),
    [
        ((1, 2047, 2047, 8192), True, True),
        ((2048, 1, 1), True, True),
        ((LARGEST, 1, 1), True, True),
        ((LARGEST + 1, 1, 1), False, False),
        ((1, 1, 2048, 1), False, True),
        ((1, LARGEST, 1), False, True),
        ((1, LARGEST + 1, 1), False, False),
        ((1, 1, 8193), False, False),
        ((16,), True, True),
        ((2, 8, 8, 16), False, False),
        ((1, 1, 8, 8, 16), False, False),
        ((), False, False),
        ((1, 0, 8, 16), False, False),
    ],
)
def test_maps(shape: tuple[int, ...], taken: bool, held: bool) -> None:
    assert (found(common.feature_maps, "RELU", [T(*shape)], [T(*shape)]) is None) == taken
    assert (found(moving.joined_maps, "CONCATENATION", [T(*MAP), T(*shape)], [T(*MAP)]) is None) == taken
    assert (found(others.operand_map, "ADD", [T(*MAP), T(*MAP)], [T(*shape)]) is None) == taken
    assert (found(common.held_maps, "RESHAPE", [T(*MAP)], [T(*shape)]) is None) == held


def test_features_of_bytes() -> None:
    byte, wide = T(*MAP, dtype=DType.UINT8), T(*MAP, dtype=DType.INT16)
    assert found(tensor_rules.byte_features, "RELU", [byte], [byte]) is None
    assert found(tensor_rules.byte_features, "RELU", [byte], [T(*MAP)]) == "uint8 and int8"
    assert found(tensor_rules.any_byte_features, "QUANTIZE", [byte], [T(*MAP)]) is None
    assert found(tensor_rules.any_byte_features, "QUANTIZE", [byte], [wide]) == "tensor 1 is int16"
    assert found(tensor_rules.eight_bits, "RELU", [wide], [byte]) == "tensor 0 is int16"
    assert found(tensor_rules.eight_bits, "RELU", [byte], [byte]) is None
    assert found(tensor_rules.variable_input, "RELU", [T(*MAP, data=1)], [byte]) == "it is constant"
    assert found(tensor_rules.variable_input, "RELU", [byte], [byte]) is None
    assert found(tensor_rules.static_tensors, "RELU", [byte], [byte]) is None
    assert "tensor 1 has a dimension" in str(
        found(tensor_rules.static_tensors, "RELU", [byte], [T(*MAP, is_dynamic=True)])
    )
    state = T(*MAP, is_variable=True)
    assert found(tensor_rules.static_tensors, "RELU", [state], [byte]) == "tensor 0 is an operator's state"
    assert found(tensor_rules.static_tensors, "RELU", [byte], [state]) == "tensor 1 is an operator's state"


@pytest.mark.parametrize(
    ("scale", "zero", "taken"), [(0.1, 3, True), (0.1, 4, False), (0.2, 3, False)], ids=["same", "zero point", "scale"]
)
def test_equal_scales(scale: float, zero: int, taken: bool) -> None:
    other = T(*MAP, q=Quantisation.per_tensor(scale, zero))
    assert (found(tensor_rules.equal_scales, "MAXIMUM", [T(*MAP), other], [T(*MAP)]) is None) == taken
    assert (found(tensor_rules.same_scale, "SPLIT", [T(1, data=3, q=None), T(*MAP)], [T(*MAP), other]) is None) == taken
    assert (found(moves.one_scale_if_signed, "CONCATENATION", [T(*MAP), other], [T(*MAP)]) is None) == taken
    unsigned = T(*MAP, dtype=DType.UINT8)
    assert found(moves.one_scale_if_signed, "CONCATENATION", [unsigned, other], [unsigned]) is None


@pytest.mark.parametrize("kind", list(Activation))
def test_fused_activations(kind: Activation) -> None:
    clamps = {Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1}
    said = found(tensor_rules.clamping_activation, "ADD", [T(*MAP), T(*MAP)], [T(*MAP)], ops.Arithmetic(kind))
    assert said == (None if kind in clamps else kind.value)
    assert found(tensor_rules.clamping_activation, "RELU", [T(*MAP)], [T(*MAP)]) is None


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ((MAP, MAP), None),
        ((MAP, (1, 1, 1, 16)), None),
        ((MAP, (1, 1, 1, 1)), None),
        ((MAP, (1, 8, 8, 1)), None),
        ((MAP, (16,)), None),
        ((MAP, (1, 8, 1, 16)), "an operand of shape (1, 8, 1, 16) for an output of (1, 8, 8, 16)"),
        ((MAP, (1, 8, 8, 8)), "an operand of shape (1, 8, 8, 8) for an output of (1, 8, 8, 16)"),
        (((1, 1, 1, 16), (1, 1, 1, 16)), "(1, 1, 1, 16) alone for an output of (1, 8, 8, 16)"),
        (((1, 1, 1, 1), (1, 1, 1, 16)), "(1, 1, 1, 1) alone for an output of (1, 8, 8, 16)"),
    ],
)
def test_operands(shapes: Any, said: str | None) -> None:
    assert found(others.matching_operands, "ADD", [T(*shape) for shape in shapes], [T(*MAP)]) == said


def test_constant_operands() -> None:
    constant = T(1, 8, 1, 16, data=1)
    assert found(others.matching_operands, "ADD", [T(*MAP), constant], [T(*MAP)]) is None
    assert found(others.matching_operands, "ADD", [constant, constant], [T(*MAP)]) == "both are constant"
    assert found(tensor_rules.byte_operands, "ADD", [T(*MAP), constant], [T(*MAP)]) is None
    unsigned = T(*MAP, dtype=DType.UINT8)
    assert found(tensor_rules.byte_operands, "ADD", [T(*MAP), T(*MAP)], [unsigned]) == "int8 and uint8"
    assert found(tensor_rules.byte_operands, "ADD", [T(*MAP), unsigned], [T(*MAP)]) == "int8 and uint8"
    assert found(tensor_rules.byte_operands, "ADD", [T(*MAP), T(*MAP, q=None)], [T(*MAP)]) == "tensor 1 has no scale"


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "made", "said"),
    [
        ((40, 40), (31, 31), (7, 7), (2, 2), None),
        ((40, 40), (32, 1), (1, 1), (9, 40), "window 32x1"),
        ((40, 40), (0, 1), (1, 1), (9, 40), "window 0x1"),
        ((217, 217), (217, 217), (9, 9), (1, 1), None),
        ((218, 1), (218, 1), (1, 1), (1, 1), "window 218x1"),
        ((40, 40), (8, 8), (8, 1), (5, 33), "stride 8x1"),
        ((40, 40), (8, 8), (1, 8), (33, 5), "stride 1x8"),
        ((8, 40), (8, 8), (8, 1), (1, 33), None),
        ((40, 8), (8, 8), (1, 8), (33, 1), None),
        ((40, 40), (8, 8), (0, 1), (5, 33), "stride 0x1"),
    ],
)
def test_windows_of_averages(size: Any, kernel: Any, stride: Any, made: Any, said: str | None) -> None:
    attributes = ops.Pool2D(stride, Padding.VALID, kernel)
    given = ("AVERAGE_POOL_2D", [T(1, *size, 16)], [T(1, *made, 16)], attributes)
    assert found(others.small_window, *given) == said


@pytest.mark.parametrize(
    ("kernel", "stride", "made", "taken"),
    [
        ((31, 31), (7, 7), (9, 9), True),
        ((32, 1), (7, 7), (9, 9), False),
        ((16, 16), (16, 8), (9, 9), True),
        ((17, 16), (8, 8), (9, 9), False),
        ((16, 16), (17, 1), (9, 9), False),
        ((17, 16), (1, 17), (9, 1), True),
        ((0, 2), (1, 1), (9, 9), False),
        ((2, 2), (1, 0), (9, 9), False),
    ],
)
def test_windows_of_maxima(kernel: Any, stride: Any, made: Any, taken: bool) -> None:
    attributes = ops.Pool2D(stride, Padding.VALID, kernel)
    said = found(pooling.pool_window, "MAX_POOL_2D", [T(1, 90, 90, 16)], [T(1, *made, 16)], attributes)
    assert (said is None) == taken
    assert taken or str(said).startswith(f"window {kernel[0]}x{kernel[1]}, stride ")


@pytest.mark.parametrize(
    ("axes", "shape", "said"),
    [
        ([1, 2], MAP, None),
        ([-2, -3], MAP, None),
        ([1], MAP, None),
        ([2], MAP, None),
        ([3], MAP, "axes [3]"),
        ([0, 1], MAP, "axes [0, 1]"),
        ([1, 2, 3], MAP, "axes [1, 2, 3]"),
        ([1, 2], (8, 8, 16), "input of shape (8, 8, 16)"),
        (None, MAP, "input of shape (1, 8, 8, 16)"),
    ],
)
def test_axes_of_means(axes: list[int] | None, shape: Any, said: str | None) -> None:
    given = T(2, dtype=DType.INT32, q=None) if axes is None else T(len(axes), dtype=DType.INT32, q=None, data=axes)
    assert found(moves.over_the_map, "MEAN", [T(*shape), given], [T(1, 1, 1, 16)]) == said


@pytest.mark.parametrize(
    ("source", "target", "taken"),
    [
        (MAP, (1, 4, 16, 16), True),
        (MAP, (64, 16), True),
        (MAP, (1, 8, 16, 8), False),
        (MAP, (1, 8, 9, 16), False),
    ],
)
def test_views(source: Any, target: Any, taken: bool) -> None:
    said = found(others.same_pixels, "RESHAPE", [T(*source)], [T(*target)])
    assert said == (None if taken else f"16 and {target[-1]} channels")


def test_shapes_that_are_computed() -> None:
    shape = T(4, dtype=DType.INT32, q=None)
    constant = T(4, dtype=DType.INT32, q=None, data=MAP)
    assert found(moves.known_shape, "RESHAPE", [T(*MAP), shape], [T(*MAP)]) == "tensor 1 is computed"
    assert found(moves.known_shape, "RESHAPE", [T(*MAP), constant], [T(*MAP)]) is None
    assert found(moves.known_shape, "RESHAPE", [T(*MAP)], [T(*MAP)]) is None
    for kind, place in (("RESIZE_BILINEAR", 1), ("TRANSPOSE_CONV", 0)):
        for size in (shape, constant, None):
            inputs: list[T | None] = [T(*MAP, data=1), T(*MAP, data=1), T(*MAP)]
            inputs[place] = size
            said = found(enlarging.known_output, kind, inputs, [T(*MAP)])
            assert said == (None if size is constant else "it is computed at run time")


@pytest.mark.parametrize(
    ("made", "whole", "even"),
    [((8, 8), True, True), ((16, 24), True, False), ((24, 8), True, False), ((16, 32), True, True)],
)
def test_factors(made: tuple[int, int], whole: bool, even: bool) -> None:
    given = ("RESIZE_BILINEAR", [T(*MAP), T(2, data=1, q=None)], [T(1, *made, 16)], ops.Resize())
    assert (found(enlarging.whole_factors, *given) is None) == whole
    assert (found(enlarging.equal_weights, *given) is None) == even
    unsigned = ("RESIZE_BILINEAR", [T(*MAP, dtype=DType.UINT8)], [T(1, *made, 16, dtype=DType.UINT8)], ops.Resize())
    assert found(enlarging.equal_weights, *unsigned) is None


def test_factors_that_are_not_whole() -> None:
    for made, said in (((12, 8), "8x8 to 12x8"), ((8, 20), "8x8 to 8x20"), ((4, 8), "8x8 to 4x8")):
        given = ("RESIZE_BILINEAR", [T(*MAP), T(2, data=1, q=None)], [T(1, *made, 16)], ops.Resize())
        assert found(enlarging.whole_factors, *given) == said


def test_corners() -> None:
    aligned = ops.Resize(align_corners=True)
    for attributes, made, said in (
        (aligned, 16, "they are"),
        (aligned, 4, "they are"),
        (aligned, 8, None),
        (ops.Resize(), 16, None),
    ):
        given = ("RESIZE_BILINEAR", [T(*MAP)], [T(1, made, made, 16)], attributes)
        assert found(enlarging.free_corners, *given) == said


def test_nearest_pixels_are_counted_as_tflite_does() -> None:
    plain, aligned = ops.Resize(), ops.Resize(align_corners=True)
    half, both = ops.Resize(half_pixel_centers=True), ops.Resize(align_corners=True, half_pixel_centers=True)
    assert enlarging.nearest_pixels(4, 8, plain).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert enlarging.nearest_pixels(4, 8, half).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert enlarging.nearest_pixels(4, 8, aligned).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert enlarging.nearest_pixels(3, 9, aligned).tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert enlarging.nearest_pixels(3, 1, aligned).tolist() == [0]
    assert enlarging.nearest_pixels(4, 4, both).tolist() == [1, 2, 3, 3]
    given = ("RESIZE_NEAREST_NEIGHBOR", [T(1, 3, 4, 16), T(2, data=1, q=None)])
    assert found(enlarging.replicates, *given, [T(1, 9, 8, 16)], plain) is None
    assert found(enlarging.replicates, *given, [T(1, 9, 8, 16)], aligned) == "3 to 9 pixels with aligned corners"
    assert found(enlarging.replicates, *given, [T(1, 3, 4, 16)], both) == "3 to 3 pixels with aligned corners"


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_nearest_pixels_are_litert_s(aligned: bool, half: bool) -> None:
    """Of a row of numbered pixels, for every size up to 8 made into others up to 24."""
    attributes = ops.Resize(align_corners=aligned, half_pixel_centers=half)
    for size in range(1, 9):
        builder = ModelBuilder()
        numbers = [
            (builder.tensor((1, 1, size, 1), DType.INT8, scale=1.0), made) for made in range(1, 25, size % 3 + 1)
        ]
        outputs = []
        for x, made in numbers:
            wanted = builder.tensor((2,), DType.INT32, data=np.array([1, made], np.int32))
            outputs.append(builder.tensor((1, 1, made, 1), DType.INT8, scale=1.0))
            builder.operator("RESIZE_NEAREST_NEIGHBOR", [x, wanted], [outputs[-1]], attributes)
        row = np.arange(size, dtype=np.int8).reshape(1, 1, size, 1)
        answers = reference(builder.build([x for x, _ in numbers], outputs), [row] * len(numbers))
        for (_, made), output in zip(numbers, outputs, strict=True):
            wanted = answers[output].reshape(-1).tolist()
            assert enlarging.nearest_pixels(size, made, attributes).tolist() == wanted, (size, made)


@pytest.mark.parametrize(("stride", "said"), [((1, 1), None), ((99, 1), None), ((0, 1), "0x1"), ((1, 0), "1x0")])
def test_strides_of_transposed_convolutions(stride: Any, said: str | None) -> None:
    given = ("TRANSPOSE_CONV", [T(4, data=1, q=None), T(16, 1, 1, 16, data=1, q=W), T(*MAP)], [T(*MAP)])
    assert found(enlarging.positive_strides, *given, ops.TransposeConv(stride, Padding.SAME)) == said


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ([[0, 0], [1, 1], [2, 0], [0, 3]], None),
        ([[1, 0], [1, 1], [0, 0], [0, 0]], "the batch is padded by [1, 0]"),
        ([[1, 1], [2, 0], [0, 3]], None),
        (None, "they are computed at run time"),
    ],
)
def test_paddings(edges: list[list[int]] | None, said: str | None) -> None:
    rank = 4 if edges is None else len(edges)
    given = T(rank, 2, dtype=DType.INT32, q=None, data=edges)
    source = T(*MAP[4 - rank :])
    assert str(found(moves.constant_paddings, "PAD", [source, given], [source])).replace("(", "[").replace(
        ")", "]"
    ) == str(said)


def test_joins() -> None:
    for axis, taken in ((3, True), (-1, True), (1, True), (2, True), (0, False)):
        said = found(moves.joins_a_map, "CONCATENATION", [T(*MAP)] * 2, [T(*MAP)], ops.Concatenation(axis))
        assert said == (None if taken else f"axis {axis}")
    attributes = ops.Concatenation(3, Activation.RELU)
    assert found(moves.joins_a_map, "CONCATENATION", [T(*MAP)] * 2, [T(*MAP)], attributes) == "RELU"
    for other, said in (
        (T(*MAP, data=1), "tensor 1 is constant"),
        (T(*MAP, is_dynamic=True), "tensor 1 is of unknown shape"),
        (T(*MAP, dtype=DType.UINT8), "uint8 and int8"),
        (T(*MAP, q=None), "tensor 1 has no scale"),
        (T(*MAP), None),
    ):
        assert found(moving.joined_maps, "CONCATENATION", [T(*MAP), other], [T(*MAP)], ops.Concatenation(3)) == said


def test_slices() -> None:
    def slice_of(begin: list[int], size: list[int], made: tuple[int, ...]) -> str | None:
        inputs = [T(*MAP), *(T(4, dtype=DType.INT32, q=None, data=values) for values in (begin, size))]
        return found(moves.known_slices, "SLICE", inputs, [T(*made)])

    assert slice_of([0, 1, 2, 3], [1, 4, -1, 5], (1, 4, 6, 5)) is None
    assert slice_of([0, 1, 2, 3], [1, 0, 2, 5], (1, 0, 2, 5)) == "an empty slice"
    assert slice_of([0, 1, 2, 3], [1, 2, 0, 5], (1, 2, 0, 5)) == "an empty slice"
    assert slice_of([0, 1, 2, 3], [1, 2, 2, 0], (1, 2, 2, 0)) == "an empty slice"
