"""Random graphs of several operators: the simulator's bytes are the integer model's, whatever memory held before, and
each operator is within its bound of LiteRT's reference kernels given the same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import graph_case

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Graph, Operator
from rocketnpu.inspect.reference import operator_reference, reference
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.program import Role
from rocketnpu.rockchip.models.bounds import bound_of
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import prepare
from rocketnpu.rockchip.soc import RK3588

Array = npt.NDArray[Any]
POLICIES = (Policy(), Policy(target="mainline"), Policy(allow_unproven=False, target="mainline"))
EXACT = {"PAD", "SPLIT", "SLICE", "STRIDED_SLICE", "RESHAPE"}
"""Kinds whose rules promise equal bytes, and behind which a fused operator may stand."""


def simulate_on_litter(part: Graph, inputs: Sequence[Array], policy: Policy, seed: int) -> list[Array]:
    """Run a part on memory that is full of random bytes: nothing may depend on what a program has not written."""
    program = compile_graph(part, policy)
    random = np.random.default_rng(seed)
    with SimulatorDevice() as device, PlacedProgram(device, program) as placed:
        for spec, memory in zip(program.buffers, placed.memories, strict=True):
            if spec.role in (Role.SCRATCH, Role.INPUT, Role.OUTPUT):
                memory[:] = random.bytes(len(memory))
        return placed.run(inputs)


def check_operators(part: Graph, values: Mapping[int, Array]) -> None:
    """Hold each operator against the reference, given the inputs that the NPU had.

    A tensor that the compiler has fused away has no value; the operators on both sides of it then count as one.
    """
    known, fused = dict(values), dict[int, list[Operator]]()
    for operator in part.operators:
        read = dict.fromkeys(number for number in operator.inputs if number is not None)
        given = [number for number in read if not part.tensors[number].is_constant]
        results = operator_reference(part, operator, [known[number] for number in given])
        before = [other for number in given for other in fused.get(number, [])]
        chain = [other for other in before if other.kind not in EXACT] + [operator]
        for number, result in zip(operator.outputs, results, strict=True):
            if number not in values:
                known[number], fused[number] = result, [*before, operator]
                continue
            bound = 0 if operator.kind in EXACT else bound_of(part, chain).steps
            off = int(np.abs(values[number].astype(int) - result.astype(int)).max(initial=0))
            assert off <= bound, f"operator {operator.index} ({operator.kind}): {off} from LiteRT, at most {bound}"


def check_graph(seed: int, policy: Policy, pattern: str = "random") -> int:
    """Check all parts of a graph, and return how many operators the NPU took."""
    found = graph_case(seed)
    divided = plan(found.graph, policy)
    expected = reference(found.model, found.inputs(pattern))
    for part in divided.parts:
        given = {number: expected[number] for number in part.inputs}
        model = {**given, **graph_model(prepare(part, RK3588, policy), given, policy)}
        for number, output in zip(
            part.outputs, simulate_on_litter(part, list(given.values()), policy, seed), strict=True
        ):
            wrong = np.count_nonzero(output != model[number])
            assert not wrong, f"{found.name}: {wrong} of {output.size} bytes of tensor {number} are not the model's"
        check_operators(part, model)
    return sum(len(part.operators) for part in divided.parts)


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_random_graphs(first: int) -> None:
    taken = [check_graph(seed, POLICIES[seed % len(POLICIES)]) for seed in range(first, first + 20)]
    assert sum(taken) > 40
