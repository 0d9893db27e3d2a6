"""A classifier's picture in, and its output as probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph, Tensor
from rocketnpu.pictures import load_picture, normalise_pixels, quantise_pixels

_DARKEST, _BRIGHTEST = (-3.0, -1.5), (1.9, 3.3)
"""Where the ends of a calibrated range may lie if pictures are normalised by ImageNet's mean and deviation."""


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
    """Return the picture input of a classifier, NHWC, or NCHW as ONNX has it.

    Raises:
        InputError: the model has several inputs, or one that is no picture.
    """
    tensors = [graph.tensors[number] for number in graph.inputs]
    if len(tensors) != 1 or len(tensors[0].shape) != 4 or not {tensors[0].shape[1], tensors[0].shape[3]} & {1, 3}:
        raise InputError(f"{graph.name} takes no picture: {_described('input', tensors)}")
    return tensors[0]


def picture_input(path: str | Path, graph: Graph) -> npt.NDArray[Any]:
    """Read a picture as a model's input (:func:`pixels_input`); it is stretched to the input's size.

    Raises:
        InputError: the picture cannot be read, or the model takes none.
    """
    shape = input_tensor(graph).shape
    height, width, channels = shape[1:] if shape[3] in (1, 3) else (*shape[2:], shape[1])
    return pixels_input(load_picture(path, height, width, channels), graph)


def pixels_input(pixels: npt.NDArray[np.uint8], graph: Graph) -> npt.NDArray[Any]:
    """Turn pixels, ``(1, rows, columns, channels)``, into a model's input, in its own order of axes.

    Where the model quantises real numbers that it is given, the quantisation says which: about -2.1 to 2.6 of channels
    that come first, and the picture is normalised as PyTorch does it; else it is what
    :func:`~rocketnpu.pictures.quantise_pixels` makes of the quantised tensor, as real numbers.

    Raises:
        InputError: the model takes no picture, or not of this size.
    """
    tensor = input_tensor(graph)
    channels_first = tensor.shape[3] not in (1, 3)
    batch, *sizes = tensor.shape
    shape = (batch, *sizes[1:], sizes[0]) if channels_first else tensor.shape
    if pixels.shape != shape:
        wanted, given = ("x".join(map(str, sizes)) for sizes in (shape, pixels.shape))
        raise InputError(f"the model's input is {wanted}, the picture {given}")
    inner = _quantised_input(graph, tensor)
    found: npt.NDArray[Any]
    if channels_first and inner is not None and shape[3] == 3 and _is_normalised(inner):
        found = normalise_pixels(pixels)
    elif inner is None:
        found = quantise_pixels(pixels, tensor.dtype, tensor.quantisation)
    else:
        whole = quantise_pixels(pixels, inner.dtype, inner.quantisation)
        assert inner.quantisation is not None
        steps = whole.astype(np.float32) - inner.quantisation.zero_point
        found = (steps * np.float32(inner.quantisation.scale)).astype(np.float32)
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2)) if channels_first else found


def _is_normalised(tensor: Tensor) -> bool:
    """Say whether an input's range is about that of pictures normalised by ImageNet's mean and deviation."""
    assert tensor.quantisation is not None
    limits, scale = np.iinfo(tensor.dtype.value), tensor.quantisation.scale
    low, high = (scale * (limit - tensor.quantisation.zero_point) for limit in (int(limits.min), int(limits.max)))
    return _DARKEST[0] < low < _DARKEST[1] and _BRIGHTEST[0] < high < _BRIGHTEST[1]


def _quantised_input(graph: Graph, tensor: Tensor) -> Tensor | None:
    """Return what a model's real input is quantised to, or None where it is not."""
    if tensor.quantisation is not None:
        return None
    readers = [reader for reader in graph.consumers[tensor.index] if reader.kind == "QUANTIZE"]
    return graph.tensors[readers[0].outputs[0]] if readers else None


def probabilities(graph: Graph, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn a classifier's raw output into probabilities: dequantised, and through a softmax if the model has none."""
    tensor = output_tensor(graph)
    reals = values.reshape(-1).astype(np.float64)
    if tensor.quantisation is not None:
        reals = (reals - tensor.quantisation.zero_point) * tensor.quantisation.scale
    if any(operator.kind in ("SOFTMAX", "ONNX:Softmax") for operator in graph.operators):
        return reals
    powers: npt.NDArray[np.float64] = np.exp(reals - reals.max())
    shares: npt.NDArray[np.float64] = powers / powers.sum()
    return shares


def _described(what: str, tensors: list[Tensor]) -> str:
    if not tensors:
        return f"it has no {what}"
    shapes = ", ".join("x".join(map(str, tensor.shape)) or "no fixed shape" for tensor in tensors)
    return f"its {what}s have shapes {shapes}"
