"""Run a graph on the simulator, and the same operators in plain integers, for tests that compare the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.inspect.integer_model import layer_output
from rocketnpu.policy import Policy
from rocketnpu.soc import RK3588
from rocketnpu.tasks.context import Context, map_shape
from rocketnpu.tasks.lowering import LAYERS, is_view, place

Array = npt.NDArray[Any]


def simulate(graph: Graph, inputs: Sequence[Array], policy: Policy | None = None) -> list[Array]:
    """Compile a graph and run it on the simulator."""
    with SimulatorDevice() as device:
        return run(device, compile_graph(graph, policy or Policy()), inputs)


def stored(tensor: Tensor, values: Array) -> npt.NDArray[np.int8]:
    """Return a tensor as the NPU stores it, as a map of height, width, channels."""
    shape = map_shape(tensor)
    assert shape is not None
    flip = np.uint8(0x80 if tensor.dtype is DType.UINT8 else 0)
    return (np.ascontiguousarray(values).view(np.uint8) ^ flip).view(np.int8).reshape(shape)


def plain(graph: Graph, values: Mapping[int, Array], operator: Operator, policy: Policy | None = None) -> Array:
    """Compute one operator's stored output by the integer model of the chip."""
    context = Context(graph, RK3588, place(graph), policy or Policy())
    output = context.output(operator)
    if is_view(graph, operator):
        return stored(output, values[operator.inputs[0] or 0].reshape(output.shape))
    maps = {f"t{number}": stored(graph.tensors[number], array) for number, array in values.items()}
    result = np.zeros(map_shape(output) or (), np.int8)
    covered = np.zeros(result.shape[2], np.int64)
    for layer in LAYERS[operator.kind](context, operator):
        source = _slice(maps, layer.source)
        guest = _slice(maps, layer.addend.operand.feature) if layer.addend else None
        first = layer.target.at.offset // layer.target.surface_pitch * 16
        chosen = slice(first, first + layer.target.channels)
        result[:, :, chosen] = layer_output(layer, source, guest)
        covered[chosen] += 1
    assert (covered == 1).all(), "layers must cover the channels exactly once"
    return result


def _slice(maps: Mapping[str, npt.NDArray[np.int8]], feature: Any) -> npt.NDArray[np.int8]:
    first = feature.at.offset // feature.surface_pitch * 16
    whole = maps[feature.at.region]
    return whole[:, :, first : first + feature.channels]
