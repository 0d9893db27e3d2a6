"""Which operand hosts an element-wise operator, what its constants become, and where they are too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operator_checks import single

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.elementwise import (
    _pair,
    by_channel,
    constant_map,
    elementwise_layers,
    guest_feature,
    is_vector,
)
from rocketnpu.rockchip.lowering.identity import clamp_layer, kernel_of_value, separate_clamp, spread_layer
from rocketnpu.rockchip.lowering.placement import place
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Combine

MAP, PIXEL = (1, 4, 5, 16), (1, 1, 1, 16)


def context_of(
    kind: str,
    shapes: tuple[Any, Any] = (MAP, MAP),
    scales: tuple[float, float] = (0.1, 0.1),
    constants: dict[int, Any] | None = None,
    made: tuple[float, int] = (0.1, 3),
) -> tuple[Context, ops.Operator]:
    attributes = ops.NoAttributes() if kind in ("MAXIMUM", "MINIMUM") else ops.Arithmetic()
    output = np.broadcast_shapes(*shapes)
    tensors = [(shapes[0], scales[0], 3), (shapes[1], scales[1], 3), (output, *made)]
    graph = single(kind, tensors, attributes, constants=constants).graph
    return Context(graph, RK3588, place(graph, RK3588, Policy()), Policy()), graph.operators[0]


@pytest.mark.parametrize(
    ("kind", "shapes", "scales", "host", "signs"),
    [
        ("ADD", (MAP, MAP), (0.1, 0.1), 0, (1, 1)),
        ("ADD", (MAP, MAP), (0.1, 0.11), 1, (1, 1)),
        ("ADD", (MAP, MAP), (0.11, 0.1), 0, (1, 1)),
        ("SUB", (MAP, MAP), (0.1, 0.1), 0, (1, -1)),
        ("SUB", (MAP, MAP), (0.1, 0.11), 1, (-1, 1)),
        ("MUL", (MAP, MAP), (0.1, 0.9), 0, (1, 1)),
        ("MUL", (MAP, PIXEL), (0.1, 0.9), 0, (1, 1)),
        ("MUL", (PIXEL, MAP), (0.9, 0.1), 1, (1, 1)),
        ("ADD", (MAP, PIXEL), (0.1, 0.9), 0, (1, 1)),
        ("ADD", (PIXEL, MAP), (0.9, 0.1), 1, (1, 1)),
        ("SUB", (PIXEL, MAP), (0.9, 0.1), 1, (-1, 1)),
        ("ADD", (PIXEL, PIXEL), (0.1, 0.9), 1, (1, 1)),
        ("ADD", (PIXEL, PIXEL), (0.9, 0.1), 0, (1, 1)),
    ],
)
def test_a_whole_map_hosts_and_the_coarser_one(kind: str, shapes: Any, scales: Any, host: int, signs: Any) -> None:
    found = _pair(*context_of(kind, shapes, scales))
    assert (found.host.index, found.guest.index) == (host, 1 - host)
    assert (found.host_sign, found.guest_sign) == signs


@pytest.mark.parametrize("place_", [0, 1])
def test_a_constant_never_hosts(place_: int) -> None:
    found = _pair(*context_of("ADD", scales=(0.1, 0.1), constants={place_: np.zeros(MAP, np.int8)}))
    assert found.host.index == 1 - place_


@pytest.mark.parametrize(
    ("shape", "found"),
    [((1,), True), ((16,), True), (PIXEL, True), ((1, 1), True), ((8,), False), (MAP, False), ((1, 4, 1, 16), False)],
)
def test_constants_by_channel(shape: tuple[int, ...], found: bool) -> None:
    tensor = Tensor(0, "c", shape, DType.INT8, Quantisation.per_tensor(0.1, 0), np.zeros(shape, np.int8))
    assert by_channel(tensor, 16) == found


@pytest.mark.parametrize(
    ("operand", "output", "found"),
    [
        ((1, 1), (4, 5), True),
        ((1, 1), (1, 5), True),
        ((1, 1), (1, 1), False),
        ((1, 5), (4, 5), False),
        ((4, 1), (4, 5), False),
        ((4, 5), (4, 5), False),
    ],
)
def test_a_vector_is_a_pixel_beside_a_map(operand: Any, output: Any, found: bool) -> None:
    assert is_vector(FeatureMap.packed("x", *operand, 16, 16), FeatureMap.packed("y", *output, 16, 16)) == found


@pytest.mark.parametrize("channels", [1, 16, 17, 32, 33])
def test_constants_are_stored_for_whole_kernel_groups(channels: int) -> None:
    context, _ = context_of("ADD")
    values = np.random.default_rng(channels).integers(-128, 128, (3, 2, channels)).astype(np.int8)
    feature = constant_map(context, values)
    full = -(-channels // 32) * 32
    content = np.frombuffer(context.constants.content(), np.int8)[feature.at.offset :][: 6 * full]
    seen = content.reshape(full // 16, 3, 2, 16).transpose(1, 2, 0, 3).reshape(3, 2, full)
    np.testing.assert_array_equal(seen[..., :channels], values)
    assert not seen[..., channels:].any()
    assert (feature.height, feature.width, feature.channels, feature.surface_pitch) == (3, 2, channels, 96)


@pytest.mark.parametrize("shape", [(5, 1), (4, 1, 1), (1, 16), (4, 5, 16)])
def test_a_constant_guest_is_spread(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    context, operator = context_of("ADD", (MAP, shape), constants={1: values})
    guest, output = context.tensor(operator, 1), context.feature(context.output(operator))
    feature = guest_feature(context, guest, output)
    content = np.frombuffer(context.constants.content(), np.int8)[feature.at.offset :][: 20 * 16]
    np.testing.assert_array_equal(content.reshape(4, 5, 16), np.broadcast_to(values, (4, 5, 16)))


@pytest.mark.parametrize(
    ("kind", "place_", "value", "bias", "kernel"),
    [
        ("ADD", 1, 10, 255 * 14, 255),
        ("ADD", 0, 10, 255 * 14, 255),
        ("SUB", 1, 10, -255 * 14, 255),
        ("SUB", 0, 10, 255 * 14, -255),
    ],
)
def test_a_constant_summand_is_a_bias(kind: str, place_: int, value: int, bias: int, kernel: int) -> None:
    """Seven steps of twice the scale are 14 steps, of which each is 255 units."""
    scales = (0.1, 0.2) if place_ else (0.2, 0.1)
    shapes = (MAP, (1,)) if place_ else ((1,), MAP)
    (layer,) = elementwise_layers(*context_of(kind, shapes, scales, {place_: np.array([value])}))
    assert set(layer.weights.astype(int).reshape(-1) - layer.weight_zero_point) == {kernel}
    assert set((layer.biases + 3 * kernel).tolist()) == {bias}
    assert layer.addend is None


@pytest.mark.parametrize(("ratio", "taken"), [(4_000_000, True), (4_300_000, False)])
def test_summands_have_30_bits(ratio: int, taken: bool) -> None:
    """One step of the constant times 255 units."""
    context, operator = context_of(
        "ADD", (MAP, (1,)), (1e-6, 1e-6 * ratio), {1: np.array([4])}, made=(1e-6 * ratio / 100, 3)
    )
    if taken:
        (layer,) = elementwise_layers(context, operator)
        assert abs(int(layer.biases[0]) + 3 * 255 - 255 * ratio) < 255
        return
    with pytest.raises(UnsupportedError, match=r"the constant 4\.3 is too large for the input's scale"):
        elementwise_layers(context, operator)


@pytest.mark.parametrize(("channels", "count"), [(128, 1), (129, 2), (256, 2), (257, 3)])
@pytest.mark.parametrize("kind", ["ADD", "MUL"])
def test_blocks_of_128_channels(kind: str, channels: int, count: int) -> None:
    """16 KiB of weights each, so that they stay in the buffer."""
    shape = (1, 4, 5, channels)
    layers = elementwise_layers(*context_of(kind, (shape, shape)))
    assert [layer.target.channels for layer in layers] == [
        min(128, channels - first) for first in range(0, channels, 128)
    ]
    assert len(layers) == count
    assert {layer.addend.combine for layer in layers if layer.addend} == {Combine[{"MUL": "MULTIPLY"}.get(kind, kind)]}


def test_kernels_of_a_value() -> None:
    assert {value: kernel - zero for value in (1, 255, -255) for kernel, zero in [kernel_of_value(value)]} == {
        1: 1,
        255: 255,
        -255: -255,
    }


@pytest.mark.parametrize("bounds", [(-128, 127), (-128, 50), (-20, 127), (-20, 50), (5, 5)])
def test_a_clamp_of_stored_values_is_exact(bounds: tuple[int, int]) -> None:
    context, operator = context_of("ADD")
    maps = [FeatureMap.packed(name, 4, 5, 16, 16) for name in "xy"]
    layer = clamp_layer(context, operator, maps[0], maps[1], bounds)
    values, requantise = np.arange(-128, 128), layer.requantise
    sums = values * int(layer.weights[0, 0, 0] - layer.weight_zero_point) + layer.biases[0]
    if requantise.relu or requantise.ceiling is not None:
        sums = np.clip(sums, 0, requantise.ceiling)
    made = sums * requantise.conversion.multiplier // 2**requantise.conversion.shift + requantise.conversion.offset
    np.testing.assert_array_equal(made, np.clip(values, *bounds))
    assert (requantise.relu, requantise.ceiling is not None) == (bounds[0] > -128, bounds[1] < 127)


def test_one_channel_is_spread_to_all() -> None:
    context, operator = context_of("ADD")
    layer = spread_layer(context, operator, FeatureMap.packed("x", 4, 5, 1, 16), FeatureMap.packed("y", 4, 5, 70, 16))
    assert layer.weights.shape == (70, 1, 1, 1)
    assert set(layer.weights.reshape(-1).tolist()) == {1}
    assert not layer.biases.any()
    assert layer.weight_zero_point == layer.requantise.conversion.offset == 0


@pytest.mark.parametrize(
    ("activation", "zero", "bounds"),
    [
        (Activation.NONE, 3, None),
        (Activation.RELU, 3, None),
        (Activation.RELU, -128, None),
        (Activation.RELU6, 3, (3, 63)),
        (Activation.RELU6, 67, None),
        (Activation.RELU6, 66, (66, 126)),
        (Activation.RELU_N1_TO_1, 3, (-7, 13)),
        (Activation.RELU_N1_TO_1, -128, (-128, -118)),
        (Activation.RELU_N1_TO_1, 127, (117, 127)),
    ],
)
def test_clamps_that_need_a_layer_of_their_own(
    activation: Activation, zero: int, bounds: tuple[int, int] | None
) -> None:
    target = Tensor(0, "y", MAP, DType.INT8, Quantisation.per_tensor(0.1, zero))
    assert separate_clamp(activation, target) == bounds


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
@pytest.mark.parametrize("scale", [0.4, 0.1, 1.0, 3.0, 1e-30, 1e-38, 1e30])
@pytest.mark.parametrize("zero", [-128, -3, 0, 127])
def test_limits_of_activations_are_tflites(dtype: DType, scale: float, zero: int) -> None:
    """Half away from zero of what single precision divides; beyond every byte nothing is limited."""
    target = Tensor(0, "y", MAP, dtype, Quantisation.per_tensor(scale, zero + (128 if dtype is DType.UINT8 else 0)))
    assert quantised.zero_point(target) == zero

    def steps(real: float) -> int:
        with np.errstate(over="ignore"):
            found = float(np.float32(real) / np.float32(scale))
        return int(np.sign(found)) * (1000 if abs(found) > 500 else int(abs(found) + 0.5))

    for activation, low, high in (
        (Activation.NONE, -128, 127),
        (Activation.RELU, zero, 127),
        (Activation.RELU6, zero, zero + steps(6)),
        (Activation.RELU_N1_TO_1, zero + steps(-1), zero + steps(1)),
    ):
        assert quantised.activation_range(activation, target) == (max(low, -128), min(high, 127))


def test_activations_that_are_no_clamp() -> None:
    target = Tensor(0, "y", MAP, DType.INT8, Quantisation.per_tensor(0.1, 0))
    with pytest.raises(UnsupportedError, match="fused activation TANH is no clamp"):
        quantised.activation_range(Activation.TANH, target)


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_stored_values_are_signed(dtype: DType) -> None:
    values = np.arange(256).astype(np.uint8).view(dtype.value)
    tensor = Tensor(0, "c", (256,), dtype, Quantisation.per_tensor(0.1, 0), values)
    shift = 128 if dtype is DType.UINT8 else 0
    np.testing.assert_array_equal(quantised.stored(tensor).astype(int), values.astype(int) - shift)
    assert quantised.scale(tensor) == pytest.approx(0.1)
