"""What is left of an ONNX model around the NPU's parts, cut into pieces that ONNX Runtime runs one after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocketnpu.graph import Graph
from rocketnpu.model.onnx import OnnxModel
from rocketnpu.model.onnx.proto import nodes_inputs
from rocketnpu.model.onnx.values import DTYPES

if TYPE_CHECKING:
    import onnx

_FLOAT = 1
"""ONNX's number of float32."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Nodes that the host runs in one go. Values by their names in the file."""

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def pieces(model: OnnxModel, parts: Sequence[Graph]) -> list[Piece | Graph]:
    """Return the NPU's parts in order, and before each, and behind the last, what the host must compute for it."""
    proto = model.proto
    known = {value.name for value in proto.graph.input} | {tensor.name for tensor in proto.graph.initializer}
    known |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    steps: list[list[int] | Graph] = []
    for part in parts:
        before = _needed(proto, _values(model, part.inputs), known)
        known |= _made(proto, before)
        steps += [before, part]
        known |= set(_values(model, part.outputs))
    ends = [value.name for value in proto.graph.output]
    steps.append(_needed(proto, ends, known))
    return list(_written(model, steps, ends))


def _values(model: OnnxModel, numbers: Iterable[int]) -> list[str]:
    return [model.ports[number].value for number in numbers]


def _made(proto: onnx.ModelProto, nodes: Iterable[int]) -> set[str]:
    return {name for number in nodes for name in proto.graph.node[number].output if name}


def _needed(proto: onnx.ModelProto, wanted: Iterable[str], known: set[str]) -> list[int]:
    """Return the nodes that make values of what is known, in order."""
    makers = {name: number for number, node in enumerate(proto.graph.node) for name in node.output if name}
    found: set[int] = set()
    waiting = [name for name in wanted if name not in known]
    while waiting:
        number = makers[waiting.pop()]
        if number not in found:
            found.add(number)
            waiting.extend(name for name in nodes_inputs(proto.graph.node[number]) if name not in known)
    return sorted(found)


def _written(model: OnnxModel, steps: Sequence[list[int] | Graph], ends: Sequence[str]) -> Iterable[Piece | Graph]:
    """Make a model of each list of nodes; its outputs are what later steps read."""
    constants = {tensor.name for tensor in model.proto.graph.initializer}
    constants |= {tensor.values.name for tensor in model.proto.graph.sparse_initializer}
    for place, step in enumerate(steps):
        if isinstance(step, Graph):
            yield step
            continue
        made, later = _made(model.proto, step), set(ends)
        for other in steps[place + 1 :]:
            later |= set(_values(model, other.inputs)) if isinstance(other, Graph) else _read(model.proto, other)
        outputs = tuple(sorted(made & later))
        inputs = tuple(sorted(_read(model.proto, step) - made - constants))
        if outputs:
            yield Piece(_model(model, step, inputs, outputs), inputs, outputs)


def _read(proto: onnx.ModelProto, nodes: Iterable[int]) -> set[str]:
    return {name for number in nodes for name in nodes_inputs(proto.graph.node[number])}


def _model(model: OnnxModel, nodes: Sequence[int], inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    import onnx.helper

    proto, types = model.proto, _types(model)
    read = _read(proto, nodes)
    graph = onnx.helper.make_graph(
        [proto.graph.node[number] for number in nodes],
        "piece",
        [onnx.helper.make_tensor_value_info(name, types.get(name, _FLOAT), None) for name in inputs],
        [onnx.helper.make_tensor_value_info(name, types.get(name, _FLOAT), None) for name in outputs],
        [tensor for tensor in proto.graph.initializer if tensor.name in read],
    )
    graph.sparse_initializer.extend(t for t in proto.graph.sparse_initializer if t.values.name in read)
    return onnx.helper.make_model(graph, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)


def _types(model: OnnxModel) -> dict[str, int]:
    """Return the element types of values, as far as they are known, by ONNX's numbers."""
    numbers = {dtype: number for number, dtype in DTYPES.items()}
    found = {
        port.value: numbers[model.graph.tensors[number].dtype]
        for number, port in model.ports.items()
        if model.graph.tensors[number].dtype in numbers
    }
    graph = model.proto.graph
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.HasField("tensor_type"):
            found[value.name] = value.type.tensor_type.elem_type
    return found
