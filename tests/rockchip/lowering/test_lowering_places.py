"""What layers read and write lies where there is room for it: in a tensor's memory, or in a temporary map."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from operator_checks import single

from one_operator import MAKERS, one_operator
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.maps import map_shape
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.lowering import allowed_layers
from rocketnpu.rockchip.lowering.placement import computes_nothing, place
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from strategies import case


@dataclass
class Recording(Context):
    """Remembers the temporary maps."""

    made: dict[str, FeatureMap] = field(default_factory=dict)

    def fresh(self, height: int, width: int, channels: int) -> FeatureMap:
        found = super().fresh(height, width, channels)
        assert found.at.region not in self.made
        self.made[found.at.region] = found
        return found


def used(graph: Graph, policy: Policy) -> int:
    """Hold the maps of all layers against their regions; return how many lie in temporary ones."""
    context = Recording(graph, RK3588, place(graph, RK3588, policy), policy)
    room = {
        f"t{number}": FeatureMap.packed("", *shape, RK3588.slot).end()
        for number, tensor in graph.tensors.items()
        if (shape := map_shape(tensor)) is not None
    }
    temporary = 0
    for operator in graph.operators:
        if computes_nothing(graph, operator, RK3588):
            continue
        for layer in allowed_layers(context, operator):
            addend = getattr(layer, "addend", None)
            for feature in (layer.source, layer.target, *([] if addend is None else [addend.operand.feature])):
                region, made = feature.at.region, context.made
                if region.startswith("constants"):
                    continue
                assert feature.at.offset >= 0
                assert feature.end() <= (made[region].end() if region in made else room[region]), (layer.label, feature)
                temporary += region in made
    return temporary


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_every_kind_stays_in_its_places(kind: str) -> None:
    scale = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(kind, (0.05, -20))
    used(parse(one_operator(kind, DType.INT8, (0.05, -20), scale)), Policy())


@pytest.mark.parametrize("family", ["pool", "elementwise", "resize", "transpose_conv", "pad", "concatenation"])
def test_seeded_operators_stay_in_their_places(family: str) -> None:
    policy = Policy("mainline")
    parts = [part for seed in range(20) for part in plan(case(family, seed).graph, policy).parts]
    assert len(parts) >= 5
    assert any([used(part, policy) for part in parts])  # noqa: C419 - all are held against their places


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40])
def test_large_averages_stay_in_their_places(channels: int) -> None:
    """Means and remainders of 16 channels lie side by side in one temporary map."""
    tensors = [((1, 60, 40, channels), 0.1, 3), ((1, 1, 1, channels), 0.1, 3)]
    attributes = ops.Pool2D((1, 1), Padding.VALID, (60, 40))
    assert used(single("AVERAGE_POOL_2D", tensors, attributes).graph, Policy("mainline")) > 0
