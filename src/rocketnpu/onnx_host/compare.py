"""An ONNX model on the simulated NPU against ONNX Runtime: node by node, and from end to end.

Node by node, every operator that the NPU takes is compiled alone and given ONNX Runtime's own inputs, once those of a
run on real numbers between the quantised values, once those of a run on integers, as it works by default. From end to
end the NPU's parts run as they are compiled for use. How far ONNX Runtime is from itself stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Graph, Operator, Tensor
from rocketnpu.inspect.bounds import Bound
from rocketnpu.inspect.compare import (
    Array,
    Difference,
    OperatorComparison,
    compare_operators,
    difference,
)
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.model.onnx import OnnxModel
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.onnx_host.runtime import tensors
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.policy import Policy

Tell = Callable[[str], None]
MODES = ("unfused", "fused")
"""How ONNX Runtime computes: on real numbers between quantised values, or on integers."""
_MOVING = {
    *(
        "PAD",
        "PADV2",
        "SPLIT",
        "SPLIT_V",
        "SLICE",
        "STRIDED_SLICE",
        "RESHAPE",
        "MAX_POOL_2D",
        "RESIZE_NEAREST_NEIGHBOR",
    ),
    *("MAXIMUM", "MINIMUM", "TRANSPOSE"),
}
"""Kinds that give bytes which they were given."""
_ROUNDING = Bound(1, "the chip multiplies by 15 bits and ONNX Runtime by a float, and ties round differently")


@dataclass(frozen=True)
class NodeComparison:
    """One operator, or several that the NPU runs as one."""

    row: OperatorComparison
    """Against the run on real numbers."""
    fused: Difference | None
    """Against the run on integers, given its inputs."""

    @property
    def is_sound(self) -> bool:
        """Whether it keeps its bound in both modes, and equals the integer model."""
        bound = self.row.bound
        return self.row.is_sound and (bound is None or self.fused is None or self.fused.maximum <= bound.steps)


@dataclass(frozen=True)
class EndComparison:
    """One output of the whole model, in steps of the quantised tensor that it is made of."""

    name: str
    unfused: Difference
    """The NPU from ONNX Runtime on real numbers."""
    fused: Difference
    """The NPU from ONNX Runtime on integers."""
    itself: Difference
    """ONNX Runtime on integers from ONNX Runtime on real numbers."""


@dataclass(frozen=True)
class OnnxComparison:
    """A whole model."""

    name: str
    nodes: tuple[NodeComparison, ...]
    outputs: tuple[EndComparison, ...]
    """Empty where the NPU takes nothing."""

    @property
    def is_sound(self) -> bool:
        """Whether every operator keeps its bound and equals the integer model."""
        return all(node.is_sound for node in self.nodes)


def steps(divided: Plan) -> int:
    """Return how many steps :func:`compare_onnx` tells of."""
    return len(operator_groups(divided)) + len(MODES) + 1


def compare_onnx(
    model: OnnxModel, inputs: Sequence[Array], policy: Policy, tell: Tell = lambda _step: None
) -> OnnxComparison:
    """Compare a model with ONNX Runtime.

    Args:
        model: what was read.
        inputs: as the file has them.
        policy: what the NPU may do.
        tell: hears of each step; :func:`steps` says how many there are.

    Raises:
        ModelError: ONNX Runtime refuses the model.
        UnsupportedError: it is not installed.
        InputError: an input does not fit.
    """
    divided = plan(model.graph, policy)
    found = []
    for mode in MODES:
        tell(f"ONNX Runtime, {mode}")
        found.append(tensors(model, inputs, fused=mode == "fused"))
    unfused, fused = found
    nodes = []
    for operators in operator_groups(divided):
        tell(" + ".join(operator.kind for operator in operators))
        first, second = (_row(divided, operators, values) for values in (unfused, fused))
        nodes.append(NodeComparison(first, second.difference))
    tell("end to end")
    outputs = _ends(model, inputs, policy, (unfused, fused)) if divided.parts else ()
    return OnnxComparison(model.graph.name, tuple(nodes), outputs)


def _row(divided: Plan, operators: Sequence[Operator], values: Mapping[int, Array]) -> OperatorComparison:
    """Compare what the NPU runs as one, where ONNX Runtime shows all that goes in and comes out."""
    graph = divided.graph
    part, output = graph.subgraph(operators, ""), graph.tensors[operators[-1].outputs[0]]
    seen = all(number in values for number in (*part.inputs, output.index))
    if not seen:
        numbers = tuple(operator.index for operator in operators)
        label = " + ".join(operator.kind for operator in operators)
        taken = {decision.operator for decision in divided.decisions if decision.supported}
        where = "npu" if taken.issuperset(numbers) else "cpu"
        return OperatorComparison(numbers, label, output.index, output.shape, where, None, None, None)
    row = compare_operators(divided, operators, values)
    return row if row.bound is None else replace(row, bound=_bound(row))


def _bound(row: OperatorComparison) -> Bound:
    """Return how far an operator may be from ONNX Runtime: as far as from LiteRT, and a tie."""
    assert row.bound is not None
    kinds = set(row.kind.split(" + "))
    return row.bound if row.bound.steps >= 1 or kinds <= _MOVING else _ROUNDING


def _ends(
    model: OnnxModel, inputs: Sequence[Array], policy: Policy, runs: Sequence[Mapping[int, Array]]
) -> tuple[EndComparison, ...]:
    graph = model.graph
    with OnnxInference(
        model, SimulatorDevice(chip=policy.chip), allow_unproven=policy.allow_unproven, cache="off"
    ) as inference:
        results = inference.run(inputs)
    rows = []
    for number, result in zip(graph.outputs, results, strict=True):
        tensor = _quantised(graph, number)
        wanted = [run.get(number) for run in runs]
        if wanted[0] is None or wanted[1] is None or np.shape(result) != np.shape(wanted[0]):
            continue
        found, unfused, fused = (_steps(np.asarray(values), tensor) for values in (result, wanted[0], wanted[1]))
        given = (difference(*pair, tensor) for pair in ((found, unfused), (found, fused), (fused, unfused)))
        rows.append(EndComparison(graph.tensors[number].name, *given))
    return tuple(rows)


def _quantised(graph: Graph, number: int) -> Tensor | None:
    """Return the quantised tensor that an output is made of, if nothing else lies between."""
    while graph.tensors[number].quantisation is None:
        maker = graph.producers.get(number)
        if maker is None or maker.kind not in ("DEQUANTIZE", "RESHAPE", "TRANSPOSE") or maker.inputs[0] is None:
            return None
        number = maker.inputs[0]
    return graph.tensors[number]


def _steps(values: Array, tensor: Tensor | None) -> Array:
    """Return real numbers as what they were quantised to."""
    if tensor is None or tensor.quantisation is None or values.dtype.kind != "f":
        return values
    whole: Array = np.rint(values.astype(np.float64) / tensor.quantisation.scale).astype(np.int64)
    return whole + tensor.quantisation.zero_point
