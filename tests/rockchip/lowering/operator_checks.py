"""Run small models on the simulator against the integer model, byte for byte, and against LiteRT within a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import Case
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Graph
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.models.operator_model import graph_model
from strategies import PATTERNS

Array = npt.NDArray[Any]
PROVEN = Policy(allow_unproven=False)


def simulate(graph: Graph, pictures: Sequence[Sequence[Array]], policy: Policy | None = None) -> list[list[Array]]:
    """Run a graph on several sets of inputs."""
    with SimulatorDevice() as device:
        placed = PlacedProgram(device, compile_graph(graph, policy or Policy()))
        return [placed.run(inputs) for inputs in pictures]


def check(found: Case, bound: int, policy: Policy | None = None, patterns: Sequence[str] = PATTERNS) -> str:
    """Compare a model that the NPU takes whole; return why it stays on the CPU, or an empty string.

    The output equals the integer model byte for byte and is at most ``bound`` from the reference kernels.
    """
    divided = plan(found.graph, policy)
    refused = [decision.reason for decision in divided.decisions if not decision.supported]
    if refused:
        assert all(refused), "a refusal without a reason"
        return refused[0]
    graph = found.graph
    pictures = [found.inputs(pattern) for pattern in patterns]
    for pattern, inputs, outputs in zip(patterns, pictures, simulate(graph, pictures, policy), strict=True):
        exact = graph_model(graph, dict(zip(graph.inputs, inputs, strict=True)), policy)
        wanted = reference(found.model, inputs)
        for number, values in zip(graph.outputs, outputs, strict=True):
            np.testing.assert_array_equal(values, exact[number], f"{found!r} {pattern}: not the integer model")
            difference = int(np.abs(values.astype(int) - wanted[number].astype(int)).max())
            assert difference <= bound, f"{found!r} {pattern}: {difference} from LiteRT"
    return ""


def single(
    kind: str,
    tensors: Sequence[tuple[Sequence[int], float, int]],
    attributes: ops.Attributes | None = None,
    dtype: DType = DType.INT8,
    constants: dict[int, npt.ArrayLike] | None = None,
) -> Case:
    """Make a model of one operator. Byte tensors are given by shape, scale, zero point; the last one is the output."""
    builder, values = ModelBuilder(), constants or {}
    numbers = [
        builder.tensor(
            shape,
            dtype,
            scale=scale,
            zero_point=zero,
            data=np.asarray(values[place]) if place in values else None,
        )
        for place, (shape, scale, zero) in enumerate(tensors)
    ]
    builder.operator(kind, numbers[:-1], numbers[-1:], attributes or ops.NoAttributes())
    given = [number for number in numbers[:-1] if number not in values]
    return Case(kind, builder.build(given, numbers[-1:]), 1)


def all_bytes(dtype: DType) -> Array:
    """Every value of a byte type, the lowest first."""
    limits = np.iinfo(dtype.value)
    return np.arange(limits.min, limits.max + 1).astype(dtype.value)


def parsed(builder: ModelBuilder, inputs: Sequence[int], outputs: Sequence[int], name: str) -> Case:
    """Finish a model of several operators."""
    model = builder.build(inputs, outputs)
    assert parse(model, name).operators
    return Case(name, model, 1)


def writes(words: Sequence[int]) -> dict[int, int]:
    """Return the last value that a command list writes to each register, by its offset."""
    return {int(word) & 0xFFFF: int(word) >> 16 & 0xFFFFFFFF for word in words}
