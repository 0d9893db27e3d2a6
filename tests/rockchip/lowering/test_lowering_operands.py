"""Operands of element-wise operators: one for each channel at run time, constants of any shape, and clamps."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_checks import PROVEN, check, parsed, single, writes

from bench import Case
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.task import Combine
from strategies import case, cases

MAP = (1, 6, 7, 40)
VECTOR = (1, 1, 1, 40)
EXTREMES = ("MAXIMUM", "MINIMUM")
ARITHMETIC = ("ADD", "SUB", "MUL")
FEW = ("rows", "channels", "random")


def bound(kind: str) -> int:
    """Distance from the reference."""
    return 0 if kind in EXTREMES else 1


def pair(
    kind: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    constant: int | None = None,
    activation: Activation = Activation.NONE,
    ratio: float = 0.6,
    dtype: DType = DType.INT8,
) -> Case:
    """An element-wise operator; ``constant`` is the place of a constant operand."""
    low = -128 if dtype is DType.INT8 else 0
    same = kind in EXTREMES
    first, second = (0.05, low + 120), (0.05, low + 120) if same else (0.05 * ratio, low + 100)
    output = first if same else (0.05 * max(1.0, ratio), low + 110)
    values = {}
    if constant is not None:
        random = np.random.default_rng(3)
        values[constant] = random.integers(low, low + 255, shapes[constant], endpoint=True)
    attributes = ops.NoAttributes() if same else ops.Arithmetic(activation)
    shape = np.broadcast_shapes(*shapes)
    return single(kind, [(shapes[0], *first), (shapes[1], *second), (shape, *output)], attributes, dtype, values)


def test_elementwise_operators_on_all_pictures() -> None:
    taken: Counter[str] = Counter()
    for seed in range(80):
        found = case("elementwise", seed)
        operator = found.graph.operators[0]
        assert check(found, bound(operator.kind)) == ""
        taken[operator.kind] += 1
    assert min(taken.values()) >= 4, taken


@settings(max_examples=50)
@given(found=cases("elementwise"))
def test_random_elementwise_operators(found: Case) -> None:
    assert check(found, bound(found.graph.operators[0].kind), patterns=FEW) == ""


@pytest.mark.parametrize("kind", [*ARITHMETIC, *EXTREMES])
@pytest.mark.parametrize("shapes", [(MAP, VECTOR), (VECTOR, MAP), (MAP, (40,))])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_an_operand_for_each_channel(kind: str, shapes: tuple, dtype: DType) -> None:
    found = pair(kind, shapes, dtype=dtype)
    assert check(found, bound(kind)) == ""
    assert Unproven.OPERAND_PER_CHANNEL in compile_graph(found.graph).rules
    assert Unproven.OPERAND_PER_CHANNEL in plan(found.graph, PROVEN).decisions[0].reason


@pytest.mark.parametrize("kind", [*ARITHMETIC, *EXTREMES])
def test_an_operand_for_each_channel_is_only_ever_a_factor(kind: str) -> None:
    """On RK3588 it works for EW multiplication, not for addition (outside 2.4)."""
    tasks = lower(pair(kind, (MAP, VECTOR)).graph, RK3588, Policy()).tasks
    stages = [stage for task in tasks if (stage := task.output.elementwise) is not None]
    combined = {stage.combine for stage in stages if stage.per_channel}
    assert combined == {Combine.MULTIPLY}
    assert len(stages) == (1 if kind == "MUL" else 2)


@pytest.mark.parametrize("ratio", [1 / 200, 1 / 8, 1.0, 8.0, 100.0])
@pytest.mark.parametrize("kind", ["ADD", "SUB"])
def test_scales_far_apart(kind: str, ratio: float) -> None:
    assert check(pair(kind, (MAP, VECTOR), ratio=ratio), 1) == ""


def test_a_factor_that_the_converter_cannot_hold() -> None:
    assert "needs a shift" in check(pair("MUL", (MAP, VECTOR), ratio=1e-12), 1)


def test_registers_of_an_operand_for_each_channel() -> None:
    (task,) = lower(pair("MUL", (MAP, VECTOR)).graph, RK3588, Policy()).tasks
    found = writes(emit(task, RK3588).words)
    known = {0x5034: 0x4, 0x5040: 0x10, 0x5044: 0x7810, 0x504C: 0, 0x506C: 0, 0x4070: 0x804002C4}
    assert {offset: found[offset] for offset in known} == known


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("shape", [(1,), (40,), VECTOR, (1, 1)])
@pytest.mark.parametrize("place", [0, 1])
def test_constant_limits_are_exact_on_proven_rules(kind: str, shape: tuple[int, ...], place: int) -> None:
    shapes = (shape, MAP) if place == 0 else (MAP, shape)
    found = pair(kind, shapes, place)
    assert check(found, 0, PROVEN) == ""
    assert compile_graph(found.graph, PROVEN).rules == ()


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("limit", [-128, -127, 0, 126, 127])
def test_limits_at_the_ends(kind: str, limit: int) -> None:
    tensors = [(MAP, 0.1, 3), ((1,), 0.1, 3), (MAP, 0.1, 3)]
    assert check(single(kind, tensors, constants={1: np.array([limit])}), 0, PROVEN) == ""


@pytest.mark.parametrize("kind", [*ARITHMETIC, *EXTREMES])
@pytest.mark.parametrize("shape", [MAP, (6, 7, 1), (1, 1, 7, 40), (1, 6, 1, 1)])
@pytest.mark.parametrize("place", [0, 1])
def test_constants_that_vary_over_the_map(kind: str, shape: tuple[int, ...], place: int) -> None:
    shapes = (shape, MAP) if place == 0 else (MAP, shape)
    assert check(pair(kind, shapes, place), bound(kind), patterns=FEW) == ""


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1])
@pytest.mark.parametrize("second", [MAP, VECTOR])
@pytest.mark.parametrize("kind", ARITHMETIC)
def test_fused_activations(kind: str, second: tuple[int, ...], activation: Activation) -> None:
    assert check(pair(kind, (MAP, second), activation=activation), 1, patterns=FEW) == ""


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1"])
@settings(max_examples=40)
@given(
    scale=st.floats(0.005, 0.2),
    ratio=st.floats(0.3, 3),
    zeros=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
)
def test_clamps_at_any_scale(kind: str, scale: float, ratio: float, zeros: tuple[int, int]) -> None:
    shape = (1, 3, 100, 3)
    tensors = [(shape, scale, zeros[0]), (shape, scale * ratio, zeros[1])]
    assert check(single(kind, tensors), 1, patterns=("random",)) == ""


@pytest.mark.parametrize("kind", [*ARITHMETIC, *EXTREMES])
@pytest.mark.parametrize(
    "shapes",
    [((1, 6, 7, 1), MAP), (MAP, (1,)), ((1, 6, 7, 1), VECTOR), ((1, 1, 1, 1), MAP)],
)
def test_operands_of_one_channel(kind: str, shapes: tuple) -> None:
    assert check(pair(kind, shapes), bound(kind)) == ""


@pytest.mark.parametrize("kind", [*ARITHMETIC, *EXTREMES])
def test_one_channel_and_a_constant_for_each(kind: str) -> None:
    assert check(pair(kind, ((1, 6, 7, 1), (40,)), 1), bound(kind)) == ""


@pytest.mark.parametrize(
    ("shapes", "constant", "reason"),
    [
        (((1, 6, 1, 1), MAP), None, "(1, 6, 1, 1)"),
        (((1, 1, 7, 40), MAP), None, "(1, 1, 7, 40)"),
        ((MAP, VECTOR), 0, "alone"),
    ],
)
def test_other_broadcasts_stay_on_the_cpu(shapes: tuple, constant: int | None, reason: str) -> None:
    divided = plan(pair("ADD", shapes, constant).graph)
    assert not divided.parts
    assert reason in divided.decisions[0].reason


def squeeze_and_excite(channels: int, size: tuple[int, int]) -> Case:
    """A map scaled by what a small network makes of its means, as MobileNetV3 and EfficientNet do."""
    builder = ModelBuilder()
    random = np.random.default_rng(channels)
    hidden = max(channels // 4, 1)

    def tensor(shape: tuple[int, ...], scale: float, zero: int) -> int:
        return builder.tensor(shape, DType.INT8, scale=scale, zero_point=zero)

    def dense(source: int, target: int, outputs: int, inputs: int, activation: Activation) -> None:
        values = random.integers(-127, 128, (outputs, 1, 1, inputs))
        weights = builder.tensor(values.shape, DType.INT8, scale=0.001, zero_point=0, data=values)
        biases = random.integers(-300, 300, outputs)
        bias = builder.tensor(biases.shape, DType.INT32, scale=0.00005, data=biases)
        attributes = ops.Conv2D((1, 1), Padding.SAME, (1, 1), activation)
        builder.operator("CONV_2D", [source, weights, bias], [target], attributes)

    x = tensor((1, *size, channels), 0.05, -20)
    means = tensor((1, 1, 1, channels), 0.05, -20)
    axes = np.array([1, 2], np.int32)
    builder.operator("MEAN", [x, builder.tensor((2,), DType.INT32, data=axes)], [means], ops.Reduce(True))
    small, wide = tensor((1, 1, 1, hidden), 0.05, -128), tensor((1, 1, 1, channels), 0.01, 5)
    dense(means, small, hidden, channels, Activation.RELU)
    dense(small, wide, channels, hidden, Activation.NONE)
    gate = tensor((1, 1, 1, channels), 1 / 256, -128)
    builder.operator("LOGISTIC", [wide], [gate])
    y = tensor((1, *size, channels), 0.04, -30)
    builder.operator("MUL", [x, gate], [y], ops.Arithmetic())
    return parsed(builder, [x], [y], "squeeze and excite")


@pytest.mark.parametrize(("channels", "size"), [(16, (5, 5)), (72, (8, 12)), (33, (40, 33))])
def test_squeeze_and_excite_in_one_part(channels: int, size: tuple[int, int]) -> None:
    found = squeeze_and_excite(channels, size)
    assert len(plan(found.graph).parts) == 1
    # One step of the sum before the gate moves the gate by less than one, and the product by less than one more.
    assert check(found, 2) == ""
    with pytest.raises(UnsupportedError):
        compile_graph(found.graph, PROVEN)
