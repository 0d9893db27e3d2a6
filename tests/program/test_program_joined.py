"""Maps that are joined in place: nothing that is still read is overwritten, not even by whole kernel groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from bench import Case
from pairs import pair, pairs
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.emission.dpu import written_end
from rocketnpu.rockchip.lowering.lowering import Lowered
from rocketnpu.rockchip.lowering.placement import place
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import ConvolutionTask, PoolingTask


class Ledger:
    """Which bytes of each region hold what somebody wrote on purpose."""

    def __init__(self, size: int) -> None:
        self.size, self.regions = size, dict[str, npt.NDArray[np.bool_]]()

    def region(self, name: str) -> npt.NDArray[np.bool_]:
        return self.regions.setdefault(name, np.zeros(self.size, np.bool_))

    def write(self, feature: FeatureMap, rows: tuple[int, int]) -> None:
        self.region(feature.at.region)[addresses(feature, rows)] = True

    def spoil(self, feature: FeatureMap, rows: tuple[int, int], surfaces: int) -> None:
        tail = replace(feature, channels=surfaces * feature.slot)
        self.region(feature.at.region)[addresses(tail, rows)[..., feature.surfaces * RK3588.slot :]] = False

    def check(self, feature: FeatureMap, rows: tuple[int, int], reader: str) -> None:
        assert self.region(feature.at.region)[addresses(feature, rows)].all(), f"{reader} reads what was overwritten"


def addresses(feature: FeatureMap, rows: tuple[int, int]) -> npt.NDArray[np.int64]:
    channels = np.arange(feature.channels)
    lanes = channels // RK3588.slot * feature.surface_pitch + channels % RK3588.slot
    lines = (rows[0] + np.arange(rows[1])) * feature.line_bytes
    pixels = np.arange(feature.width) * RK3588.slot
    return feature.at.offset + lines[:, None, None] + pixels[None, :, None] + lanes


def audit(lowered: Lowered) -> None:
    """Follow all tasks: what they read must be there, and what the graph returns must be there in the end."""
    sizes = [written_end(task, RK3588) for task in lowered.tasks if not isinstance(task, PoolingTask)]
    sizes += [feature.end() for feature in lowered.features.values()]
    ledger, features = Ledger(max(sizes)), lowered.features
    for number in lowered.graph.inputs:
        ledger.write(features[number], (0, features[number].height))
    for task in lowered.tasks:
        assert isinstance(task, ConvolutionTask)
        ledger.check(task.source.feature, (task.source.first, task.source.count), task.label)
        if task.output.elementwise:
            operand = task.output.elementwise.operand
            ledger.check(operand.feature, (operand.first, operand.count), task.label)
        feature, rows = task.target.feature, (task.target.first, task.target.count)
        surfaces = (written_end(task, RK3588) - feature.end()) // feature.surface_pitch + feature.surfaces
        ledger.spoil(feature, rows, surfaces)
        ledger.write(feature, rows)
    for number in lowered.graph.outputs:
        ledger.check(features[number], (0, features[number].height), "the host")


@settings(max_examples=60)
@given(found=pairs("joined"))
def test_random_joins(found: Case) -> None:
    for part in plan(found.graph).parts:
        audit(lower(part, RK3588, Policy()))


def test_many_random_joins_are_in_place() -> None:
    lying_inside = 0
    for seed in range(60):
        for part in plan(pair("joined", seed).graph).parts:
            lowered = lower(part, RK3588, Policy())
            audit(lowered)
            regions = [feature.at.region for feature in lowered.features.values()]
            lying_inside += len(regions) - len(set(regions))
    assert lying_inside >= 60


def joined(
    channels: Sequence[int], order: Sequence[int], axis: int = 3, scales: Sequence[float] | None = None, rows: int = 4
) -> Graph:
    """Convolutions made one after another, joined in another order. ``channels`` are in the order of making."""
    builder, steps = ModelBuilder(), scales or [0.1] * len(channels)
    x = builder.tensor((1, rows, 4, 8), DType.INT8, scale=0.1)
    made = []
    for count, scale in zip(channels, steps, strict=True):
        weights = builder.tensor((count, 1, 1, 8), DType.INT8, scale=0.01, data=np.ones((count, 1, 1, 8), np.int8))
        bias = builder.tensor((count,), DType.INT32, scale=0.001, data=np.zeros(count, np.int32))
        made.append(builder.tensor((1, rows, 4, count), DType.INT8, scale=scale))
        builder.operator("CONV_2D", [x, weights, bias], [made[-1]], ops.Conv2D((1, 1), Padding.SAME))
    shape = [1, rows, 4, channels[0]]
    shape[axis] = sum(channels) if axis == 3 else shape[axis] * len(channels)
    y = builder.tensor(shape, DType.INT8, scale=0.1)
    builder.operator("CONCATENATION", [made[number] for number in order], [y], ops.Concatenation(axis))
    return tflite.parse(builder.build([x], [y]))


def inside(graph: Graph) -> list[bool]:
    """Which inputs of the join lie in its output."""
    join, features = graph.operators[-1], place(graph, RK3588, Policy())
    region = features[join.outputs[0]].at.region
    return [features[number or 0].at.region == region for number in join.inputs]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (joined([32, 64, 16], [0, 1, 2]), [True, True, True]),
        (joined([16, 16], [1, 0]), [True, False]),
        (joined([32, 32, 64], [1, 2, 0]), [True, True, False]),
        (joined([24, 40], [0, 1]), [False, False]),
        (joined([48, 20], [0, 1]), [True, True]),
        (joined([8, 8], [1, 0], axis=1), [True, True]),
        (joined([8, 8], [0, 1], axis=2), [False, False]),
        (joined([16, 16], [0, 0]), [False, False]),
        (joined([8, 8], [0, 1], axis=2, rows=1), [True, True]),
        (joined([8, 8], [1, 0], axis=1, rows=1), [True, True]),
    ],
    ids=[
        "in order",
        "the second is overwritten by the first's group",
        "made too early",
        "inside a group of channels",
        "the last may end anywhere",
        "rows in any order",
        "columns have gaps",
        "twice the same",
        "columns of one row have none",
        "rows of one row",
    ],
)
def test_what_lies_inside(graph: Graph, expected: list[bool]) -> None:
    assert inside(graph) == expected
    audit(lower(graph, RK3588, Policy()))
