"""The plan that ``inspect`` shows is what a host really hands over: random graphs, claimed by a real interpreter."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from rocketnpu.delegate import Delegate, session
from rocketnpu.delegate.options import parse
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

CASES = int(os.environ.get("ROCKETNPU_TEST_CASES", "12")) * 5
SHAPE = (1, 4, 4, 16)


def random_graph(seed: int) -> bytes:
    """Make a graph of operators of both sides: several inputs, several readers, any valid order, begun on any side."""
    random = np.random.default_rng(seed)
    builder = ModelBuilder()

    def feature() -> int:
        return builder.tensor(SHAPE, DType.INT8, scale=0.1)

    inputs = [feature() for _ in range(random.integers(1, 4))]
    made, read = list(inputs), set[int]()
    for _ in range(random.integers(2, 15)):
        kind = random.choice(["RELU", "ADD", "CONV_2D", "SOFTMAX", "DIFFERENCE", "RESHAPE", "SPLIT"])
        # Young tensors are read more often: that makes chains, and diamonds of different lengths.
        one, two = (made[-1 - min(int(random.geometric(0.35)) - 1, len(made) - 1)] for _ in range(2))
        read |= {one, two} if kind in ("ADD", "DIFFERENCE") else {one}
        targets = [feature()]
        if kind == "CONV_2D":
            weights = builder.tensor(
                (16, 1, 1, 16), DType.INT8, scale=0.05, data=np.eye(16, dtype=np.int8)[:, None, None]
            )
            bias = builder.tensor((16,), DType.INT32, scale=0.005, data=np.zeros(16, np.int32))
            builder.operator(kind, [one, weights, bias], targets, ops.Conv2D((1, 1), Padding.SAME))
        elif kind == "ADD":
            builder.operator(kind, [one, two], targets, ops.Arithmetic())
        elif kind == "DIFFERENCE":
            builder.operator("SQUARED_DIFFERENCE", [one, two], targets)
        elif kind == "SOFTMAX":
            targets = [builder.tensor(SHAPE, DType.INT8, scale=1 / 256, zero_point=-128)]
            builder.operator(kind, [one], targets, ops.Softmax())
        elif kind == "RESHAPE":
            shape = builder.tensor((4,), DType.INT32, data=np.array(SHAPE, np.int32))
            builder.operator(kind, [one, shape], targets)
        elif kind == "SPLIT":
            halves = [builder.tensor((1, 4, 4, 8), DType.INT8, scale=0.1) for _ in range(2)]
            axis = builder.tensor((1,), DType.INT32, data=np.array([3], np.int32))
            builder.operator(kind, [axis, one], halves)
            builder.operator("CONCATENATION", halves, targets, ops.Concatenation(3))
        else:
            builder.operator(kind, [one], targets)
        made += targets
    ends = [number for number in made if number not in read and number not in inputs]
    more = [number for number in made if number not in inputs and number not in ends and random.random() < 0.15]
    return builder.build(inputs, ends + more)


def claimed(model: bytes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[set[tuple[int, ...]], Policy]:
    """Return the parts that LiteRT hands over, as the operators of each, and the policy they were claimed under."""
    handed: set[tuple[int, ...]] = set()
    before = session.Session.kernel

    def kernel(self: session.Session, context: Any, nodes: tuple[int, ...]) -> session.Kernel:
        handed.add(nodes)
        return before(self, context, nodes)

    # What a part computes does not matter here, and compiling takes long.
    monkeypatch.setattr(session.Session, "_compiled", lambda *_: None)
    monkeypatch.setattr(session.Session, "kernel", kernel)
    with Delegate.on(SimulatorDevice(), cache="off", **options) as delegate:
        Interpreter(model_content=model, experimental_delegates=[delegate])
    monkeypatch.undo()
    return handed, session.policy_for(SimulatorDevice(), parse(options))


@pytest.mark.parametrize("minimum", [0, 4000])
def test_parts_are_those_that_the_host_hands_over(minimum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    several = 0
    for seed in range(CASES):
        model = random_graph(seed)
        handed, policy = claimed(model, monkeypatch, minimum_macs=minimum)
        divided = plan(tflite.parse(model), policy)
        mine = {tuple(operator.index for operator in part.operators) for part in divided.parts}
        assert mine == handed, f"seed {seed}"
        several += len(mine) > 1
    assert several > CASES // 12
