"""The integer model over whole operators: which layers an operator becomes, and what they give together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.graph.maps import map_shape
from rocketnpu.policy import Policy
from rocketnpu.program.constants import REGION as CONSTANTS
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.lowering import LAYERS, Layer, place, working_layers
from rocketnpu.rockchip.lowering.placement import computes_nothing
from rocketnpu.rockchip.models.integer_model import Int8, layer_output
from rocketnpu.rockchip.prepared import prepare
from rocketnpu.rockchip.soc import RK3588, Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap, cells
from rocketnpu.rockchip.tasks.pooling import PoolingLayer

Array = npt.NDArray[Any]
Regions = dict[str, Int8]
"""Stored values of each region, as far as something was written."""


def to_stored(values: Array, dtype: DType) -> Int8:
    """Return a tensor's elements as the NPU stores them: UINT8 is shifted by 128 (spec 3.1)."""
    return (values ^ np.uint8(0x80)).view(np.int8) if dtype is DType.UINT8 else values.view(np.int8)


def from_stored(values: Int8, tensor: Tensor) -> Array:
    """Return stored values as a tensor's elements, in its shape."""
    host: Array = values.view(np.uint8) ^ np.uint8(0x80) if tensor.dtype is DType.UINT8 else values
    return host.reshape(tensor.shape)


def graph_model(
    graph: Graph, inputs: Mapping[int, Array], policy: Policy | None = None, soc: Soc = RK3588
) -> dict[int, Array]:
    """Compute what the NPU must give for a graph all of whose operators it takes, as ``Family.model`` says."""
    graph = prepare(graph, soc, policy or Policy())
    policy = policy or Policy()
    context = Context(graph, soc, place(graph, soc, policy), policy)
    regions: Regions = {}
    for number in graph.inputs:
        feature, stored = context.features[number], to_stored(inputs[number], graph.tensors[number].dtype)
        _write(
            regions, feature, cells(stored.reshape(map_shape(graph.tensors[number]))) if feature.in_cells else stored
        )
    found: dict[int, Array] = {}
    for operator in graph.operators:
        layers = operator_layers(context, operator)
        regions[CONSTANTS] = np.frombuffer(context.constants.content(), np.int8)
        for layer in layers:
            _run(layer, regions)
        for number in operator.outputs:
            found[number] = from_stored(_read(regions, context.features[number]), graph.tensors[number])
    return found


def operator_layers(context: Context, operator: Operator) -> Sequence[Layer]:
    """Return the layers that an operator becomes; one that computes nothing has none.

    Raises:
        UnsupportedError: the NPU has no such operator.
    """
    if computes_nothing(context.graph, operator, context.soc):
        return []
    if operator.kind not in LAYERS:
        raise UnsupportedError(f"{operator.kind} is not an operator of the NPU")
    return working_layers(context, operator)


def _run(layer: Layer, regions: Regions) -> None:
    source = _read(regions, layer.source)
    if isinstance(layer, PoolingLayer):
        _write(regions, layer.target, _maximum(layer, source))
        return
    addend = layer.addend
    second = None if addend is None else _read(regions, addend.operand.feature)
    _write(regions, layer.target, layer_output(layer, source, second))


def _maximum(layer: PoolingLayer, source: Int8) -> Int8:
    """Take the maximum of each window, padding included."""
    rows, columns = layer.target.height, layer.target.width
    (height, width), (down, across), (top, left) = layer.kernel, layer.stride, layer.padding
    shape = ((rows - 1) * down + height, (columns - 1) * across + width, source.shape[2])
    size = (max(shape[0], top + source.shape[0]), max(shape[1], left + source.shape[1]), shape[2])
    padded = np.full(size, layer.pad_value)
    padded[top : top + source.shape[0], left : left + source.shape[1]] = source
    found = np.full((rows, columns, shape[2]), -128)
    for y in range(height):
        for x in range(width):
            view = padded[y : y + (rows - 1) * down + 1 : down, x : x + (columns - 1) * across + 1 : across]
            found = np.maximum(found, view)
    return found.astype(np.int8)


def _addresses(feature: FeatureMap) -> npt.NDArray[np.int64]:
    """Return where in its region each value of a map lies, ``(rows, columns, channels)``."""
    channels = np.arange(feature.channels)
    lanes = channels // feature.slot * feature.surface_pitch + channels % feature.slot
    rows = np.arange(feature.height) * feature.line_bytes
    at: npt.NDArray[np.int64] = feature.at.offset + rows[:, None, None] + lanes
    return at + (np.arange(feature.width) * feature.slot)[None, :, None]


def _read(regions: Regions, feature: FeatureMap) -> Int8:
    return regions[feature.at.region][_addresses(feature)]


def _write(regions: Regions, feature: FeatureMap, values: Int8) -> None:
    addresses = _addresses(feature)
    name, end = feature.at.region, int(addresses.max()) + 1
    old = regions.get(name, np.zeros(0, np.int8))
    if old.size < end:
        regions[name] = np.concatenate([old, np.zeros(end - old.size, np.int8)])
    regions[name][addresses] = values.reshape(addresses.shape)
