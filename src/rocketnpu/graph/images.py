"""A batch of several images as one image after another: what a graph does for one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.propagate import propagate
from rocketnpu.graph.tensors import DType, Tensor
from rocketnpu.graph.values import FOLDED

_SHAPES = {"RESHAPE": 1, "TRANSPOSE_CONV": 0, "SLICE": 2, "BROADCAST_TO": 1}
"""Position of an input that is a shape whose first number is the batch."""
_RANK = 4
"""Dimensions of a batch of maps."""
_BROADCAST = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU")


def per_image(graph: Graph) -> tuple[Graph, int]:
    """Return what a graph does for one image of a batch, and how many images its inputs hold.

    Where the inputs are no batch of one size above 1, that is the graph itself and 1; rows of a matrix are no batch,
    nor is anything where no map of four dimensions has that size. An operator that mixes images, or whose result
    depends on their number, is a problem of the graph that is returned.
    """
    maps = [tensor for number in graph.inputs if len((tensor := graph.tensors[number]).shape) > 1]
    sizes = {tensor.shape[0] for tensor in maps}
    if len(sizes) != 1 or min(sizes) < 2:
        return graph, 1
    (count,) = sizes
    computed = (tensor for tensor in graph.tensors.values() if not tensor.is_constant)
    if not any(len(tensor.shape) == _RANK and tensor.shape[0] == count for tensor in computed):
        return graph, 1
    single = propagate(_one_image(graph, count), {t.index: (1, *t.shape[1:]) for t in maps})
    problems = dict(single.problems)
    for operator in single.operators:
        if operator.index not in problems and not _is_separable(graph, single, operator, count):
            problems[operator.index] = f"it works across the {count} images of a batch"
    lost = {number for operator in single.operators if operator.index in problems for number in operator.outputs}
    tensors = {n: replace(tensor, is_dynamic=True) if n in lost else tensor for n, tensor in single.tensors.items()}
    return replace(single, tensors=tensors, problems=problems), count


def _one_image(graph: Graph, count: int) -> Graph:
    """Let constant shapes speak of one image."""
    tensors, operators, number = dict(graph.tensors), [], max(graph.tensors, default=0) + 1
    for operator in graph.operators:
        values = _shape_values(graph, operator)
        if values is None or not len(values) or values[0] != count:
            operators.append(operator)
            continue
        data = values.copy()
        data[0] = 1
        tensors[number] = Tensor(number, "the shape of one image", data.shape, DType.INT32, data=data)
        position = _SHAPES[operator.kind]
        operators.append(
            replace(operator, inputs=(*operator.inputs[:position], number, *operator.inputs[position + 1 :]))
        )
        number += 1
    return replace(graph, tensors=tensors, operators=tuple(operators))


def _shape_values(graph: Graph, operator: Operator) -> np.ndarray[tuple[int], np.dtype[np.int32]] | None:
    if operator.kind not in _SHAPES:
        return None
    number = operator.input(_SHAPES[operator.kind])
    if number is None:  # a RESHAPE that has its shape among its options
        return np.array(graph.tensors[operator.outputs[0]].shape, np.int32)
    data = graph.tensors[number].data
    return None if data is None else data.astype(np.int32).reshape(-1)


def _is_separable(graph: Graph, single: Graph, operator: Operator, count: int) -> bool:
    """Say whether an operator gives each image what it gives the image alone."""
    if operator.kind in FOLDED and all(graph.tensors[n].dtype in (DType.INT32, DType.INT64) for n in operator.outputs):
        return True
    for number in operator.outputs:
        shape, alone = graph.tensors[number].shape, single.tensors[number].shape
        if single.tensors[number].is_dynamic or shape[:1] != (count,) or alone != (1, *shape[1:]):
            return False
    if operator.kind == "STRIDED_SLICE":
        steps = single.tensors[operator.inputs[3] or 0].data
        return steps is not None and (steps.size == 0 or int(steps.reshape(-1)[0]) == 1)
    if operator.kind not in _BROADCAST:
        return True
    rank = len(graph.tensors[operator.outputs[0]].shape)
    operands = [graph.tensors[number] for number in operator.inputs if number is not None]
    # What is computed has the batch in front; in a tensor of fewer dimensions that stands beside another one's rows.
    return all(
        len(tensor.shape) != rank or tensor.shape[0] == 1 if tensor.is_constant else len(tensor.shape) == rank
        for tensor in operands
    )
