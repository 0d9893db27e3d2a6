"""Every kind of operator with quantisations that differ on purpose: as LiteRT's reference kernels, or on the CPU.

Some of LiteRT's kernels copy bytes whatever the scales say, some rescale, some refuse, and some leave 32 bits.
"""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from chip import simulate

from bench import picture
from one_operator import MAKERS, Affine, one_operator
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.family import chips, family_of
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import DEFAULT_CHIP, Policy
from rocketnpu.rockchip.rules.table import RULES

BYTES = (DType.INT8, DType.UINT8)
OF_PASSES = {"BYTE_FUNCTION"}
"""Kinds that only graph passes make, never a file."""
NO_REFERENCE = "ELU"
"""LiteRT's reference kernels lack it."""
COMPUTES_NOTHING = {"QUANTIZE", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"}
SIGNED_ONLY = {"ELU", "EXP", "LOG", "RSQRT", "ABS"}
COPIES = {
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "PAD", "PADV2", "RESIZE_NEAREST_NEIGHBOR"),
    *("RESIZE_BILINEAR", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"),
}
"""Kinds whose kernels copy bytes, or compute with them, whatever the output's scale says: left to the CPU."""
UNEQUAL: dict[str, tuple[Affine, Affine]] = {
    "twice the scale": ((0.05, 0), (0.1, 0)),
    "half the scale": ((0.05, 3), (0.025, 0)),
    "another zero point": ((0.05, 0), (0.05, 9)),
    "both": ((0.05, -100), (0.031, 77)),
}
SEARCHES = int(os.environ.get("ROCKETNPU_TEST_CASES", "12")) * 5


def test_every_kind_is_here() -> None:
    assert set(MAKERS) == set(RULES) - OF_PASSES


def compare(
    kind: str,
    dtype: DType,
    given: Affine,
    made: Affine,
    pattern: str = "random",
    weight_zero_point: int = 0,
    chip: str = DEFAULT_CHIP,
) -> str:
    """Compare a kind with the reference; return "npu", or the reasons that keep it on the CPU."""
    middle = 128 if dtype is DType.UINT8 else 0
    graph = parse(
        data := one_operator(kind, dtype, (given[0], given[1] + middle), (made[0], made[1] + middle), weight_zero_point)
    )
    policy = Policy(chip=chip)
    divided = plan(graph, policy)
    reasons = [decision.reason for decision in divided.decisions if not decision.supported]
    if reasons:
        return "; ".join(reasons)
    inputs = [picture(graph.tensors[number], pattern, 5 + place) for place, number in enumerate(graph.inputs)]
    expected = reference(data, inputs)
    for part in divided.parts:
        outputs = simulate(part, [expected[number] for number in part.inputs], policy)
        for number, found in zip(part.outputs, outputs, strict=True):
            distance = np.abs(found.astype(int) - expected[number].astype(int)).max()
            bound = max(family_of(chip).bound(part, [operator]).steps for operator in part.operators)
            assert distance <= bound, f"{chip} {kind} {dtype.value} {given} {made}: {distance} steps from LiteRT"
    return "npu"


@pytest.mark.parametrize("dtype", BYTES, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in {NO_REFERENCE, "LOGISTIC", "RSQRT"}])
def test_equal_quantisations_run_on_the_npu(kind: str, dtype: DType) -> None:
    outcome = compare(kind, dtype, (0.05, 0), (0.05, 0))
    if kind in COMPUTES_NOTHING:
        assert "computes nothing" in outcome
    elif kind in SIGNED_ONLY and dtype is DType.UINT8:
        assert "no kernel of this operator for UINT8" in outcome
    else:
        assert outcome == "npu"


@pytest.mark.parametrize("dtype", BYTES, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in {NO_REFERENCE, "RSQRT"}])
def test_unequal_quantisations_are_the_references(kind: str, dtype: DType) -> None:
    outcomes = {compare(kind, dtype, *affine) for affine in UNEQUAL.values()}
    if kind in COPIES or kind == "EXPAND_DIMS" or (kind, dtype) == ("CONCATENATION", DType.INT8):
        assert all("same scale" in outcome or "output's scale" in outcome for outcome in outcomes), outcomes
    elif kind == "LOGISTIC":
        assert all("1/256" in outcome for outcome in outcomes), outcomes
    elif not (kind in SIGNED_ONLY and dtype is DType.UINT8):
        assert outcomes == {"npu"}


@pytest.mark.parametrize("dtype", BYTES, ids=lambda dtype: dtype.value)
def test_a_root_of_positive_values(dtype: DType) -> None:
    """LiteRT refuses negative values while it runs."""
    outcome = compare("RSQRT", dtype, (0.05, -128), (0.02, -5), "channels")
    assert outcome == ("npu" if dtype is DType.INT8 else outcome)


@pytest.mark.parametrize("dtype", BYTES, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "PRELU"])
def test_zero_points_of_weights(kind: str, dtype: DType) -> None:
    """For INT8, LiteRT refuses, ignores or counts them, by kind; for UINT8 it counts them."""
    outcome = compare(kind, dtype, (0.05, 3), (0.1, 3), weight_zero_point=7)
    if dtype is DType.UINT8 or kind in {"FULLY_CONNECTED", "PRELU"}:
        assert outcome == "npu"
    else:
        assert "INT8 weights have zero point 0" in outcome


WRAPS: dict[str, tuple[Affine, Affine]] = {
    "TRANSPOSE_CONV": ((2.0**-16, 0), (2.0**-37, 0)),
    "CONV_2D": ((1.0, 0), (2.0**-20, 0)),
    "DEPTHWISE_CONV_2D": ((1.0, 0), (2.0**-24, 0)),
    "FULLY_CONNECTED": ((1.0, 0), (2.0**-20, 0)),
    "MUL": ((2.0**10, 0), (2.0**4, 0)),
    "ABS": ((2.0**2, 0), (2.0**-27, 0)),
    "RSQRT": ((2.0**12, 0), (2.0**7, 0)),
    "RELU6": ((2.0**-19, 0), (2.0**-31, 0)),
    "RELU_N1_TO_1": ((2.0**-19, 0), (2.0**-33, 0)),
}
"""Scales with which LiteRT's reference kernel of a kind leaves 32 bits."""


@pytest.mark.parametrize("kind", WRAPS)
def test_what_wraps_around_in_the_reference_stays_on_the_cpu(kind: str) -> None:
    assert "32 bits" in compare(kind, DType.INT8, *WRAPS[kind])


@pytest.mark.parametrize("chip", chips())
def test_joined_maps_whose_steps_leave_32_bits_stay_on_the_cpu(chip: str) -> None:
    """LiteRT turns real numbers into 32 bits there, and smallest values come out of the largest."""
    reasons = compare("CONCATENATION", DType.UINT8, (0.0003, 41), (4e-12, -37), chip=chip)
    assert "32 bits" in reasons
    assert compare("CONCATENATION", DType.UINT8, (0.0003, 41), (4e-11, -37), chip=chip) != reasons


OTHERS = [chip for chip in chips() if chip != DEFAULT_CHIP]


@pytest.mark.parametrize("chip", OTHERS)
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in {NO_REFERENCE, "RSQRT"}])
def test_unequal_quantisations_on_other_chips(kind: str, chip: str) -> None:
    """What copies bytes whatever the scales say is left to the CPU there too; the rest is the reference's."""
    for dtype, affine in product(BYTES, UNEQUAL.values()):
        outcome = compare(kind, dtype, *affine, chip=chip)
        assert outcome != "npu" or kind not in COPIES, (dtype, affine)
    for dtype in BYTES:
        compare(kind, dtype, (0.05, 3), (0.1, 3), weight_zero_point=7, chip=chip)


@pytest.mark.parametrize("size", [1, 2], ids=["a pixel", "a map"])
@pytest.mark.parametrize("affine", [(0.1, 20), (0.2, 0), (0.05, -9)])
def test_a_flattened_map_counts_as_its_row_does(size: int, affine: Affine) -> None:
    """RESHAPE copies bytes, so a fully connected layer reads the map with the row's scale and zero point."""
    builder, count = ModelBuilder(), size * size * 16
    source = builder.tensor((1, size, size, 16), DType.INT8, scale=0.1, zero_point=0)
    row = builder.tensor((1, count), DType.INT8, scale=affine[0], zero_point=affine[1])
    shape = builder.tensor((2,), DType.INT32, data=np.array([1, count], np.int32))
    weights = builder.tensor((8, count), DType.INT8, scale=0.01, data=np.arange(8 * count).reshape(8, -1) * 7 % 91 - 40)
    target = builder.tensor((1, 8), DType.INT8, scale=0.2, zero_point=-5)
    builder.operator("RESHAPE", [source, shape], [row])
    builder.operator("FULLY_CONNECTED", [row, weights, None], [target], ops.FullyConnected())
    data = builder.build([source], [target])
    values = np.random.default_rng(size).integers(-128, 128, (1, size, size, 16)).astype(np.int8)
    (part,) = plan(parse(data)).parts
    (output,) = simulate(part, [values])
    assert np.abs(output.astype(int) - reference(data, [values])[target].astype(int)).max() <= 1


@pytest.mark.parametrize("chip", chips())
def test_scales_of_any_size_are_the_references(chip: str) -> None:
    """Random kinds, scales from 2**-40 to 2**20 and zero points: LiteRT's answer, the CPU, or a ModelError."""
    random = np.random.default_rng(11)
    kinds = [kind for kind in MAKERS if kind != NO_REFERENCE]
    taken = 0
    for _ in range(SEARCHES):
        kind, dtype = kinds[random.integers(len(kinds))], BYTES[random.integers(2)]
        start = float(random.uniform(-20, 20))
        scales = [2.0**start, 2.0 ** (start - random.uniform(-12, 30))]
        zeros = [int(zero) for zero in random.integers(-128, 128, 2)]
        pattern = ("random", "lowest", "highest")[random.integers(3)]
        try:
            outcome = compare(kind, dtype, (scales[0], zeros[0]), (scales[1], zeros[1]), pattern, chip=chip)
        except (ModelError, UnsupportedError) as error:
            refused = ("scale", "multiplier", "Rsqrt is only defined for positive values")
            assert any(words in str(error) for words in refused), error  # noqa: PT017
            continue
        taken += outcome == "npu"
    assert taken > SEARCHES // (5 if chip == DEFAULT_CHIP else 10)
