"""Models that somebody damaged, and what the whole stack makes of one."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench import picture
from damage import MODELS, damaged, rewritten
from one_operator import MAKERS, one_operator
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import RocketError
from rocketnpu.family import family_of
from rocketnpu.graph import DType, Graph
from rocketnpu.inspect.reference import reference
from rocketnpu.inspect.summary import summarise
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from strategies import FAMILIES, case

LARGEST = 1 << 18
"""Elements of a tensor up to which an accepted model is run as well."""
UNKNOWN_DTYPES = (DType.OTHER, DType.BOOL)


@cache
def whole(number: int) -> bytes:
    """Return a sound model by its number."""
    if number < len(MODELS):
        return MODELS[number]()
    number -= len(MODELS)
    kinds = list(MAKERS)
    if number < len(kinds):
        return one_operator(kinds[number], DType.INT8, (0.05, 3), (0.05, 3))
    number -= len(kinds)
    return case(list(FAMILIES)[number % len(FAMILIES)], number // len(FAMILIES)).model


SOUND = len(MODELS) + len(MAKERS) + 5 * len(FAMILIES)


def mutated(seed: int) -> bytes:
    """Return the damaged model of a seed: half with flipped bytes, half with changed fields."""
    data = whole(seed % SOUND)
    return damaged(data, seed) if seed % 5 else rewritten(data, seed)


def outcome(data: bytes, seed: int) -> str:
    """Take a model all the way: "refused", "on the cpu", "refused by LiteRT", "too large", or "as stated"."""
    try:
        graph = parse(data)
        divided = plan(graph, Policy(allow_unproven=bool(seed % 2)))
        summarise(divided)
    except RocketError:
        return "refused"
    if not divided.parts:
        return "on the cpu"
    if any(tensor.elements > LARGEST for tensor in graph.tensors.values()):
        return "too large"
    if any(graph.tensors[number].dtype in UNKNOWN_DTYPES for number in graph.inputs):
        return "too large"
    return _compared(data, graph, divided.parts, divided.policy, seed)


def _compared(data: bytes, graph: Graph, parts: tuple[Graph, ...], policy: Policy, seed: int) -> str:
    random = np.random.default_rng(seed)
    inputs = [
        picture(tensor, "random", seed)
        if (tensor := graph.tensors[number]).dtype in (DType.INT8, DType.UINT8) and tensor.quantisation is not None
        else random.integers(0, 3, tensor.shape).astype(tensor.dtype.value)
        for number in graph.inputs
    ]
    try:
        expected = reference(data, inputs)
    except RocketError:
        return "refused by LiteRT"
    for part in parts:
        if any(number not in expected for number in (*part.inputs, *part.outputs)):
            return "refused by LiteRT"
        with SimulatorDevice() as device:
            found = run(device, compile_graph(part, policy), [expected[number] for number in part.inputs])
        if len(part.operators) > 1:
            continue
        bound = family_of(policy.chip).bound(part, part.operators).steps
        for number, values in zip(part.outputs, found, strict=True):
            apart = int(np.abs(values.astype(int) - expected[number].astype(int)).max(initial=0))
            if apart > bound:
                raise AssertionError(f"{part.operators[0].kind}: {apart} steps from LiteRT, stated are {bound}")
    return "as stated"
