"""Chains of operators on single bytes become one function of a byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.byte_chain import in_chain, link
from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS, limits
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import ByteFunction, Operator
from rocketnpu.graph.passes.rewrite import Accepts, anything, rewrite
from rocketnpu.graph.tensors import DType, Tensor

_CHEAP = {"QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"}


@dataclass(frozen=True)
class Chain:
    """Operators between two byte tensors, in the graph's order; every element goes its way alone."""

    source: int
    operators: tuple[Operator, ...]


def byte_chains(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace operators that together map each byte of a tensor to a byte, whatever its neighbours are, by a table.

    Such are SiLU (LOGISTIC and MUL), hard swish in pieces (ADD, RELU6, MUL, MUL), GELU in pieces, and what floats
    between DEQUANTIZE and QUANTIZE: SQUARE, SQRT, NEG, LOG and others. Constants in a chain are single values. The
    table holds what the reference kernels give step by step.
    """
    roots = _roots(graph)
    for operator in reversed(graph.operators):
        if operator.outputs and operator.outputs[0] in graph.producers and _ends(graph, operator, roots):
            graph = _replaced(graph, operator, roots, accepts)
    return graph


def _roots(graph: Graph) -> dict[int, int]:
    """Return for each tensor that is a function of the single bytes of another which one that is."""
    roots: dict[int, int] = {}
    for operator in graph.operators:
        read = _variables(graph, operator)
        if read is None:
            continue
        found = {roots.get(number, number) for number in read}
        source = found.pop()
        if not found and graph.tensors[source].shape == graph.tensors[operator.outputs[0]].shape:
            roots[operator.outputs[0]] = source
    return {number: root for number, root in roots.items() if graph.tensors[root].dtype in (DType.INT8, DType.UINT8)}


def _variables(graph: Graph, operator: Operator) -> set[int] | None:
    """Return the tensors that a link reads besides constants, or None where the operator is no link."""
    if len(operator.outputs) != 1 or not 1 <= len(operator.inputs) <= 2 or None in operator.inputs:
        return None
    inputs = [graph.input_of(operator, place) for place in range(len(operator.inputs))]
    output = graph.tensors[operator.outputs[0]]
    if output.is_dynamic or not in_chain(operator, inputs, output):
        return None
    if any(tensor.is_constant and tensor.elements != 1 for tensor in inputs):
        return None
    return {tensor.index for tensor in inputs if not tensor.is_constant} or None


def _ends(graph: Graph, operator: Operator, roots: dict[int, int]) -> bool:
    """Say whether a chain ends with an operator: its output is bytes, and somebody reads them as they are."""
    number = operator.outputs[0]
    if number not in roots or graph.tensors[number].dtype not in (DType.INT8, DType.UINT8):
        return False
    readers = graph.consumers[number]
    return number in graph.outputs or any(roots.get(r.outputs[0]) != roots[number] for r in readers if r.outputs)


def _replaced(graph: Graph, last: Operator, roots: dict[int, int], accepts: Accepts) -> Graph:
    chain = _chain(graph, last, roots)
    if not _pays(graph, chain):
        return graph
    try:
        table = chain_table(graph, chain)
    except UnsupportedError:
        return graph
    made = Operator(last.index, "BYTE_FUNCTION", (chain.source,), last.outputs, ByteFunction(tuple(table.tolist())))
    candidate = _without_idle(rewrite(graph, {last.index: (made,)}), chain)
    return candidate if accepts(candidate, made) else graph


def _chain(graph: Graph, last: Operator, roots: dict[int, int]) -> Chain:
    source, wanted = roots[last.outputs[0]], [last.outputs[0]]
    found: set[int] = set()
    while wanted:
        operator = graph.producers[wanted.pop()]
        found.add(operator.index)
        wanted += [n for n in operator.inputs if n is not None and n != source and n in roots]
    return Chain(source, tuple(operator for operator in graph.operators if operator.index in found))


def _pays(graph: Graph, chain: Chain) -> bool:
    """Say whether a chain is worth a table: of several operators, one at least that is no mere scale, clamp or sum."""
    if len(chain.operators) < 2:
        return False
    return any(
        operator.kind in BYTE_FUNCTIONS
        or len(_variables(graph, operator) or ()) > 1
        or (graph.tensors[operator.outputs[0]].dtype is DType.FLOAT32 and operator.kind != "DEQUANTIZE")
        or (operator.kind not in _CHEAP and operator.inputs.count(operator.inputs[0]) > 1)
        for operator in chain.operators
    )


def chain_table(graph: Graph, chain: Chain) -> npt.NDArray[np.int64]:
    """Return what a chain makes of each value of its source, the lowest first.

    Raises:
        UnsupportedError: the reference kernels refuse its scales.
    """
    low, high = limits(graph.tensors[chain.source])
    values: dict[int, npt.NDArray[np.generic]] = {chain.source: np.arange(low, high + 1, dtype=np.int64)}
    found = values[chain.source]
    for operator in chain.operators:
        inputs = [graph.input_of(operator, place) for place in range(len(operator.inputs))]
        found = link(
            operator, inputs, [_given(values, tensor) for tensor in inputs], graph.tensors[operator.outputs[0]]
        )
        values[operator.outputs[0]] = found
    return found.astype(np.int64)


def _given(values: dict[int, npt.NDArray[np.generic]], tensor: Tensor) -> npt.NDArray[np.generic]:
    if tensor.data is None:
        return values[tensor.index]
    kind = np.float32 if tensor.dtype is DType.FLOAT32 else np.int64
    return np.broadcast_to(tensor.data.reshape(-1).astype(kind), (256,))


def _without_idle(graph: Graph, chain: Chain) -> Graph:
    """Drop operators of a chain, before its last one, whose results nobody reads any more."""
    for operator in reversed(chain.operators[:-1]):
        number = operator.outputs[0]
        if number in graph.producers and not graph.consumers[number] and number not in graph.outputs:
            graph = rewrite(graph, {operator.index: ()})
    return graph
