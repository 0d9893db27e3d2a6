"""Random ONNX nets: given ONNX Runtime's inputs, each operator on the simulated NPU is at most 1 from it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from onnx_nets import random_net
from rocketnpu.graph import Operator
from rocketnpu.inspect.compare import compare_operators
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.model.onnx.reader import convert
from rocketnpu.onnx_host.runtime import tensors
from rocketnpu.partition.plan import Plan, plan

CASES = int(os.environ.get("ROCKETNPU_ONNX_CASES", "160"))
"""How many nets; benchmarks/onnx_cases.py runs thousands."""
KINDS = {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "CONCATENATION"}


def compared(seed: int) -> Counter[tuple[str, int]]:
    """Compare every operator of a random net, and return how far each kind was off, with how often."""
    net = random_net(seed)
    model = convert(net.model(*net.ends))
    divided = plan(model.graph)
    found: Counter[tuple[str, int]] = Counter()
    for fused in (False, True):
        values = tensors(model, net.feed(seed), fused=fused)
        for operators in steps(divided):
            part = model.graph.subgraph(operators, "")
            if any(number not in values for number in (*part.inputs, *operators[-1].outputs)):
                continue
            row = compare_operators(divided, operators, values)
            if row.difference is None:
                continue
            assert row.difference.maximum <= 1, f"net {seed}, {'fused' if fused else 'unfused'}: {operators[-1]}"
            assert row.equals_model is not False, f"net {seed}: {operators[-1]} differs from the integer model"
            found[operators[-1].kind, row.difference.maximum] += 1
    return found


def steps(divided: Plan) -> Iterator[tuple[Operator, ...]]:
    """Yield operators one by one, but for rows of maps, which only run with the layer that reads them, and shuffles."""
    for group in operator_groups(divided):
        if any(operator.kind in ("FULLY_CONNECTED", "TRANSPOSE") for operator in group):
            yield group
        else:
            yield from ((operator,) for operator in group)


@pytest.mark.parametrize("part", range(4))
def test_random_nets_are_at_most_1_from_onnx_runtime(part: int) -> None:
    found: Counter[tuple[str, int]] = Counter()
    for seed in range(part, CASES, 4):
        found += compared(seed)
    assert sum(found.values()) > CASES
    assert {kind for kind, _ in found} >= KINDS
