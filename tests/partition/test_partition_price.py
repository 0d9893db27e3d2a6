"""Cuts have a price: parts that would not pay stay on the CPU, and more permission never gives less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.estimate.price import processor_us
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.partition.price import Price
from rocketnpu.policy import Policy

BOARD = Policy("mainline", allow_unproven=False, weighs=True)


def cut_network(sizes: list[int]) -> Graph:
    """Build convolutions of so many channels, divided by SOFTMAX, which the NPU lacks."""
    builder = ModelBuilder()
    first = current = builder.tensor((1, 28, 28, sizes[0]), DType.INT8, scale=0.1)
    depth = sizes[0]
    for channels in sizes:
        made, following = (builder.tensor((1, 28, 28, channels), DType.INT8, scale=0.1) for _ in range(2))
        shape = (channels, 3, 3, depth)
        weights = builder.tensor(shape, DType.INT8, scale=0.05, data=np.ones(shape, np.int8))
        bias = builder.tensor((channels,), DType.INT32, scale=0.005, data=np.zeros(channels, np.int32))
        builder.operator("CONV_2D", [current, weights, bias], [made], ops.Conv2D((1, 1), Padding.SAME))
        builder.operator("SOFTMAX", [made], [following], ops.Softmax())
        current, depth = following, channels
    return tflite.parse(builder.build([first], [current]))


def test_small_parts_between_cuts_stay_on_the_cpu() -> None:
    graph = cut_network([8, 192, 192, 192])
    assert len(plan(graph, replace(BOARD, weighs=False)).parts) == 4
    found = plan(graph, BOARD)
    assert [len(part.operators) for part in found.parts] == [1, 1]
    reasons = [decision.reason for decision in found.decisions if decision.kind == "CONV_2D" and decision.reason]
    assert len(reasons) == 2
    assert all("its part would not pay" in reason and "for the cut" in reason for reason in reasons)
    assert all(cost is not None and cost.pays for cost in found.prices)


def test_a_network_in_one_part_is_handed_over_whatever_it_costs() -> None:
    graph = cut_network([8])
    found = plan(graph, BOARD)
    assert len(found.parts) == 1
    assert found.prices[0] is not None
    assert not found.prices[0].pays


def test_the_simulator_weighs_nothing() -> None:
    found = plan(cut_network([8, 8]), replace(BOARD, target="simulator"))
    assert len(found.parts) == 2
    assert found.prices == (None, None)


def test_prices_add_up() -> None:
    assert Price(100.0, 350.0, 450.0).pays
    assert not Price(100.1, 350.0, 450.0).pays
    assert str(Price(100.0, 350.0, 1000.0)) == "0.45 ms on the NPU, 0.35 of them for the cut; 1.00 ms on the CPU"
    graph = cut_network([8])
    convolution, softmax = graph.operators
    assert processor_us(graph, [softmax]) == pytest.approx(28 * 28 * 8 / 1000)
    assert processor_us(graph, [convolution]) > processor_us(graph, [softmax])


def test_more_permission_never_gives_less_coverage(shared: object) -> None:
    from pathlib import Path

    for path in sorted((Path(str(shared)) / "field" / "models").glob("*.tflite")):
        if path.name in {"strings.tflite"} or path.stat().st_size > 1 << 20:
            continue
        graph = tflite.load(path)
        for target in ("simulator", "mainline", "vendor"):
            less, more = (plan(graph, Policy(target, allowed)) for allowed in (False, True))
            assert more.coverage >= less.coverage, (path.name, target)
