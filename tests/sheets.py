"""Graphs written down tensor by tensor, and what LiteRT's reference kernels compute of a graph that passes made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rocketnpu.graph import DType, Graph, Operator, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.rewrite import fresh_index, fresh_tensor, rewrite
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.rebuild import rebuild

PLAIN = ops.NoAttributes()


class Sheet:
    """A graph under construction. Maps are INT8 of scale 0.5 and zero point 3 unless said otherwise."""

    def __init__(self, dtype: DType = DType.INT8) -> None:
        self.dtype = dtype
        self.tensors: dict[int, Tensor] = {}
        self.operators: list[Operator] = []

    def map(self, *shape: int, scale: float = 0.5, zero: int = 3, dtype: DType | None = None) -> int:
        """Add a computed tensor."""
        return self._add(Tensor(0, "map", shape, dtype or self.dtype, Quantisation.per_tensor(scale, zero)))

    def whole(self, values: object, dtype: DType = DType.INT32) -> int:
        """Add a constant of whole numbers."""
        data = np.asarray(values, dtype.value)
        return self._add(Tensor(0, "whole", data.shape, dtype, None, data))

    def constant(self, values: object, scale: float = 0.02, zero: int = 0, dtype: DType | None = None) -> int:
        """Add a quantised constant."""
        data = np.asarray(values, (dtype or self.dtype).value)
        return self._add(Tensor(0, "c", data.shape, dtype or self.dtype, Quantisation.per_tensor(scale, zero), data))

    def weights(self, *shape: int, scale: float = 0.02) -> tuple[int, int]:
        """Add weights of any values and a bias for the first dimension's channels."""
        random = np.random.default_rng(len(self.tensors))
        bias = random.integers(-99, 99, shape[0])
        return self.constant(random.integers(-99, 99, shape), scale), self.constant(bias, scale / 2, 0, DType.INT32)

    def op(self, kind: str, inputs: Sequence[int | None], output: int, attributes: Any = PLAIN) -> int:
        """Add an operator, and return its output."""
        self.operators.append(Operator(len(self.operators), kind, tuple(inputs), (output,), attributes))
        return output

    def graph(self, *outputs: int) -> Graph:
        """Return the graph: it is given what nothing makes, and returns the last operator's output or ``outputs``."""
        made = {number for operator in self.operators for number in operator.outputs}
        given = tuple(n for n, tensor in self.tensors.items() if n not in made and not tensor.is_constant)
        return Graph("sheet", self.tensors, tuple(self.operators), given, outputs or self.operators[-1].outputs)

    def _add(self, tensor: Tensor) -> int:
        self.tensors[len(self.tensors)] = replace(tensor, index=len(self.tensors))
        return len(self.tensors) - 1


def kinds(graph: Graph) -> list[str]:
    """Return the kinds of a graph's operators, in order."""
    return [operator.kind for operator in graph.operators]


def with_tensor(graph: Graph, number: int | None, **changes: object) -> Graph:
    """Return a graph with another tensor of that number."""
    assert number is not None
    return replace(graph, tensors={**graph.tensors, number: replace(graph.tensors[number], **changes)})


def with_operator(graph: Graph, place: int, **changes: object) -> Graph:
    """Return a graph with another operator at that place."""
    operators = list(graph.operators)
    operators[place] = replace(operators[place], **changes)
    return replace(graph, operators=tuple(operators))


def computed(graph: Graph, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return what LiteRT's reference kernels make of a graph's inputs: its first output, as wide integers."""
    graph = written_out(graph)
    model, inputs = rebuild(graph, graph.operators, graph.outputs)
    given = dict(zip(graph.inputs, values, strict=True))
    found = reference(model, [given[number] for number in inputs])
    return found[tflite.parse(model).outputs[0]].astype(int)


def any_values(graph: Graph, seed: int) -> list[np.ndarray]:
    """Return bytes of any values for each input of a graph."""
    random = np.random.default_rng(seed)
    tensors = [graph.tensors[number] for number in graph.inputs]
    limits = [np.iinfo(tensor.dtype.value) for tensor in tensors]
    return [
        random.integers(limit.min, limit.max + 1, tensor.shape).astype(tensor.dtype.value)
        for tensor, limit in zip(tensors, limits, strict=True)
    ]


def written_out(graph: Graph) -> Graph:
    """Put a PAD before each operator with explicit padding, which a file has no place for."""
    for operator in graph.operators:
        attributes, source = operator.attributes, graph.input_of(operator, 0)
        if not isinstance(attributes, ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D) or attributes.pads is None:
            continue
        edges = np.array([(0, 0), *attributes.pads, (0, 0)], np.int32)
        first = fresh_tensor(graph)
        shape = tuple(n + sum(edge) for n, edge in zip(source.shape, edges.tolist(), strict=True))
        made = [
            Tensor(first, "edges", edges.shape, DType.INT32, None, edges),
            replace(source, index=first + 1, shape=shape),
        ]
        inputs, plain = [source.index, first], replace(attributes, pads=None)
        if isinstance(plain, ops.Pool2D) and plain.border is not None:
            value = np.array([plain.border], source.dtype.value)
            made.append(replace(source, index=first + 2, shape=(1,), data=value))
            inputs, plain = [*inputs, first + 2], replace(plain, border=None)
        pad = Operator(fresh_index(graph), "PADV2" if len(inputs) == 3 else "PAD", tuple(inputs), (first + 1,))
        reader = replace(operator, inputs=(first + 1, *operator.inputs[1:]), attributes=plain)
        graph = rewrite(graph, {operator.index: (pad, reader)}, made)
    return graph
