"""The generators make models that LiteRT runs, always the same, and that show their arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from rocketnpu.graph import DType, Quantisation, Tensor
from rocketnpu.inspect.reference import reference
from strategies import FAMILIES, PATTERNS, SCHEMES, Case, case, cases, limits, picture


@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_make_models_that_run_and_repeat(family: str) -> None:
    for seed in range(12):
        found = case(family, seed)
        assert found.model == case(family, seed).model
        for pattern in PATTERNS:
            tensors = reference(found.model, found.inputs(pattern))
            for number in found.graph.outputs:
                assert tensors[number].shape == found.graph.tensors[number].shape


@settings(max_examples=60)
@given(found=cases())
def test_hypothesis_makes_models_that_run(found: Case) -> None:
    tensors = reference(found.model, found.inputs("random"))
    assert set(found.graph.outputs) <= set(tensors)


@pytest.mark.parametrize("family", ["conv", "depthwise", "fully_connected", "transpose_conv"])
def test_most_outputs_are_spread_and_some_saturate(family: str) -> None:
    spread, saturated = [], []
    for seed in range(60):
        found = case(family, seed)
        number = found.graph.outputs[0]
        y = reference(found.model, found.inputs("random"))[number]
        low, high = limits(found.graph.tensors[number].dtype)
        spread.append((int(y.max()) - int(y.min())) / (high - low))
        saturated.append(float(np.mean((y == low) | (y == high))))
    assert np.median(spread) > 0.15
    assert sum(share > 0.2 for share in saturated) >= 3
    assert sum(share < 0.05 for share in saturated) >= 20


def test_every_scheme_is_made() -> None:
    names = {case("conv", seed).name.removeprefix("CONV_2D ") for seed in range(40)}
    assert names == set(SCHEMES)


def test_pictures() -> None:
    tensor = Tensor(0, "x", (1, 3, 4, 2), DType.INT8, Quantisation.per_tensor(1.0, 5))
    shown = {pattern: picture(tensor, pattern, 1) for pattern in PATTERNS}
    assert (shown["lowest"].max(), shown["zero point"].min(), shown["highest"].min()) == (-128, 5, 127)
    assert shown["rows"][0, :, 0, 0].tolist() == [-128, -1, 127]
    assert shown["columns"][0, 0, :, 0].tolist() == [-128, -43, 42, 127]
    assert shown["channels"][0, 0, 0].tolist() == [-128, -91]
    assert len(np.unique(shown["random"])) > 8
    assert all(values.dtype == np.int8 and values.shape == tensor.shape for values in shown.values())
