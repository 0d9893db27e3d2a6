"""The integer model over whole operators: which layers an operator becomes, and what they give together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.inspect.integer_model import Int8, layer_output
from rocketnpu.policy import Policy
from rocketnpu.soc import ATOM, RK3588
from rocketnpu.tasks.context import Context
from rocketnpu.tasks.convolution import ConvolutionLayer
from rocketnpu.tasks.feature import FeatureMap
from rocketnpu.tasks.lowering import LAYERS, is_view, place

Array = npt.NDArray[Any]
Regions = dict[str, Int8]
"""Stored values of each region: pixels by channels."""


def to_stored(values: Array, dtype: DType) -> Int8:
    """Return a tensor's elements as the NPU stores them: UINT8 is shifted by 128 (spec 3.1)."""
    return (values ^ np.uint8(0x80)).view(np.int8) if dtype is DType.UINT8 else values.view(np.int8)


def from_stored(values: Int8, tensor: Tensor) -> Array:
    """Return stored values as a tensor's elements, in its shape."""
    host: Array = values.view(np.uint8) ^ np.uint8(0x80) if tensor.dtype is DType.UINT8 else values
    return host.reshape(tensor.shape)


def graph_model(graph: Graph, inputs: Mapping[int, Array], policy: Policy | None = None) -> dict[int, Array]:
    """Compute what the NPU must give for a graph all of whose operators it takes.

    Args:
        graph: usually a single operator, or a part.
        inputs: elements of the graph's inputs, by tensor number.
        policy: that of the compilation.

    Returns:
        Elements of every tensor that an operator makes.

    Raises:
        UnsupportedError: an operator is no convolution on the NPU, so this model does not describe it.
    """
    context = Context(graph, RK3588, place(graph), policy or Policy())
    regions: Regions = {}
    for number in graph.inputs:
        _write(regions, context.features[number], to_stored(inputs[number], graph.tensors[number].dtype))
    found: dict[int, Array] = {}
    for operator in graph.operators:
        for layer in operator_layers(context, operator):
            _run(layer, regions)
        for number in operator.outputs:
            found[number] = from_stored(_read(regions, context.features[number]), graph.tensors[number])
    return found


def operator_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Return the layers that an operator becomes; a view has none.

    Raises:
        UnsupportedError: it does not become convolutions.
    """
    if is_view(context.graph, operator):
        return []
    if operator.kind not in LAYERS:
        raise UnsupportedError(f"{operator.kind} does not become convolutions")
    return LAYERS[operator.kind](context, operator)


def _run(layer: ConvolutionLayer, regions: Regions) -> None:
    addend = layer.addend
    second = None if addend is None else _read(regions, addend.operand.feature)
    _write(regions, layer.target, layer_output(layer, _read(regions, layer.source), second))


def _channels(feature: FeatureMap) -> slice:
    """Find which channels of its region a map is: it starts at a surface."""
    first = feature.at.offset // feature.surface_pitch * ATOM
    return slice(first, first + feature.channels)


def _read(regions: Regions, feature: FeatureMap) -> Int8:
    values = regions[feature.at.region][:, _channels(feature)]
    return values.reshape(feature.height, feature.width, feature.channels)


def _write(regions: Regions, feature: FeatureMap, values: Int8) -> None:
    pixels, chosen = feature.height * feature.width, _channels(feature)
    old = regions.get(feature.at.region)
    if old is None or old.shape[1] < chosen.stop:
        grown = np.zeros((pixels, chosen.stop), np.int8)
        if old is not None:
            grown[:, : old.shape[1]] = old
        old = regions[feature.at.region] = grown
    old[:, chosen] = values.reshape(pixels, feature.channels)
