"""A classifier's output as probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph, Tensor


def output_tensor(graph: Graph) -> Tensor:
    """Return the output of a classifier.

    Raises:
        InputError: the model has several outputs, or an output that is no row of scores.
    """
    tensors = [graph.tensors[number] for number in graph.outputs]
    if len(tensors) != 1 or tensors[0].elements < 2 or tensors[0].elements != max(tensors[0].shape):
        raise InputError(f"{graph.name} is no classifier: {_described('output', tensors)}")
    return tensors[0]


def input_tensor(graph: Graph) -> Tensor:
    """Return the picture input of a classifier.

    Raises:
        InputError: the model has several inputs, or one that is no picture.
    """
    tensors = [graph.tensors[number] for number in graph.inputs]
    if len(tensors) != 1 or len(tensors[0].shape) != 4 or tensors[0].shape[3] not in (1, 3):
        raise InputError(f"{graph.name} takes no picture: {_described('input', tensors)}")
    return tensors[0]


def probabilities(graph: Graph, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn a classifier's raw output into probabilities: dequantised, and through a softmax if the model has none."""
    tensor = output_tensor(graph)
    reals = values.reshape(-1).astype(np.float64)
    if tensor.quantisation is not None:
        reals = (reals - tensor.quantisation.zero_point) * tensor.quantisation.scale
    if any(operator.kind == "SOFTMAX" for operator in graph.operators):
        return reals
    powers: npt.NDArray[np.float64] = np.exp(reals - reals.max())
    shares: npt.NDArray[np.float64] = powers / powers.sum()
    return shares


def _described(what: str, tensors: list[Tensor]) -> str:
    if not tensors:
        return f"it has no {what}"
    shapes = ", ".join("x".join(map(str, tensor.shape)) or "no fixed shape" for tensor in tensors)
    return f"its {what}s have shapes {shapes}"
