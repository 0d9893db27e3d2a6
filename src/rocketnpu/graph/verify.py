"""What must hold for any graph before a later stage may trust it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.errors import ModelError
from rocketnpu.graph.checks import check_operator
from rocketnpu.graph.graph import Graph
from rocketnpu.graph.tensors import DType, Tensor

_ZERO_POINT_RANGE = {DType.UINT8: (0, 255), DType.INT8: (-128, 127), DType.INT16: (-32768, 32767)}
_MAX_ELEMENTS = 1 << 31
_MAX_RANK = 8
"""More dimensions than any TFLite kernel takes."""


def verified(graph: Graph) -> Graph:
    """Return the graph with each operator that contradicts itself named as a problem, instead of refusing it.

    Raises:
        ModelError: something else does not hold; see :func:`verify`.
    """
    problems = dict(graph.problems)
    for operator in graph.operators:
        try:
            check_operator(operator, graph.tensors)
        except ModelError as error:
            problems[operator.index] = str(error)
    unknown = {n for operator in graph.operators if operator.index in problems for n in operator.outputs}
    tensors = {n: replace(t, is_dynamic=True) if n in unknown else t for n, t in graph.tensors.items()}
    graph = replace(graph, tensors=tensors, problems=problems)
    verify(graph)
    return graph


def verify(graph: Graph) -> None:
    """Check quantisations, sizes, operators one by one, and that each reads only what exists before it.

    Raises:
        ModelError: something does not hold; the message names the tensor or operator.
    """
    for tensor in graph.tensors.values():
        _verify_tensor(tensor)
    results = {number for operator in graph.operators for number in operator.outputs}
    known = set(graph.inputs) | {number for number, tensor in graph.tensors.items() if tensor.is_constant}
    known |= {number for number, tensor in graph.tensors.items() if tensor.is_variable}
    # A constant of no elements has no data in a file; what an operator makes is made before it is read, however small.
    known |= {number for number, tensor in graph.tensors.items() if not tensor.elements and number not in results}
    made: set[int] = set()
    for operator in graph.operators:
        for number in operator.inputs:
            if number is not None and number not in known and number not in made:
                raise ModelError(
                    f"operator {operator.index} ({operator.kind}) reads tensor {number}, which nothing makes before it"
                )
        for number in operator.outputs:
            if number in made or (number in known and not graph.tensors[number].is_variable):
                raise ModelError(
                    f"operator {operator.index} ({operator.kind}) writes tensor {number}, which already has a value"
                )
            made.add(number)
        if operator.index not in graph.problems:
            check_operator(operator, graph.tensors)
    for number in graph.outputs:
        if number not in known and number not in made:
            raise ModelError(f"output tensor {number} is made by no operator")


def _verify_tensor(tensor: Tensor) -> None:
    place = f"tensor {tensor.index} ({tensor.name})"
    if len(tensor.shape) > _MAX_RANK:
        raise ModelError(f"{place} has {len(tensor.shape)} dimensions, at most {_MAX_RANK} are known")
    if tensor.elements >= _MAX_ELEMENTS:
        raise ModelError(f"{place} has {tensor.elements} elements, more than any NPU tensor")
    quantisation = tensor.quantisation
    if quantisation is None:
        return
    if not np.all(np.isfinite(quantisation.scales)) or np.any(quantisation.scales < 0):
        raise ModelError(f"{place} has a scale that is not a positive number: {quantisation}")
    if quantisation.is_per_channel:
        axis = quantisation.axis
        if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != len(quantisation.scales):
            raise ModelError(f"{place} has {quantisation}, but its shape is {tensor.shape}")
    low, high = _ZERO_POINT_RANGE.get(tensor.dtype, (-(1 << 62), 1 << 62))
    if np.any(quantisation.zero_points < low) or np.any(quantisation.zero_points > high):
        raise ModelError(f"{place} has a zero point outside {low}..{high} of {tensor.dtype.value}: {quantisation}")
