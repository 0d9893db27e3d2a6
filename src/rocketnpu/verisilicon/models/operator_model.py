"""The integer model over whole graphs: which tasks an operator becomes, and what they give together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import DType, Graph, Tensor
from rocketnpu.policy import Policy
from rocketnpu.program.constants import REGION
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.lowering import operator_tasks
from rocketnpu.verisilicon.lowering.placement import place
from rocketnpu.verisilicon.models.integer_model import Bytes, convolution_output, move_output
from rocketnpu.verisilicon.prepared import prepare
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.table import ENTRIES
from rocketnpu.verisilicon.tasks.task import Convolution, MoveKind, Planes, Task

Array = npt.NDArray[Any]
Regions = dict[str, Bytes]
"""Bytes of each region, as far as something was written."""
_TOP = np.uint8(0x80)


def graph_model(graph: Graph, inputs: Mapping[int, Array], policy: Policy, soc: Soc) -> dict[int, Array]:
    """Compute what the NPU must give for a graph all of whose operators it takes, as ``Family.model`` says."""
    graph = prepare(graph, soc, policy)
    context = Context(graph, soc, place(graph), policy)
    regions: Regions = {}
    for number in graph.inputs:
        _write(regions, context.features[number], _stored(inputs[number], graph.tensors[number]))
    found: dict[int, Array] = {}
    for operator in graph.operators:
        tasks = operator_tasks(context, operator)
        regions[REGION] = np.frombuffer(context.constants.content(), np.uint8)
        for task in tasks:
            _run(task, regions)
        for number in operator.outputs:
            found[number] = _element(_read(regions, context.features[number]), graph.tensors[number])
    return found


def _stored(values: Array, tensor: Tensor) -> Bytes:
    """Return a tensor's elements as planes."""
    pixels = np.ascontiguousarray(values).view(np.uint8).reshape(-1, tensor.shape[-1] if tensor.shape else 1)
    return (pixels ^ _TOP if tensor.dtype is DType.INT8 else pixels).T


def _element(planes: Bytes, tensor: Tensor) -> Array:
    """Return planes as a tensor's elements, in its shape."""
    pixels = np.ascontiguousarray(planes.reshape(len(planes), -1).T)
    signed = tensor.dtype is DType.INT8
    return ((pixels ^ _TOP).view(np.int8) if signed else pixels).reshape(tensor.shape)


def _run(task: Task, regions: Regions) -> None:
    source = _read(regions, task.source)
    if isinstance(task, Convolution):
        _write(regions, task.target, convolution_output(task, source))
        return
    table = None
    if task.lookup is not None:
        at = task.lookup.table
        table = regions[at.region][at.offset : at.offset + 4 * ENTRIES].view("<u4")
    before = None
    if task.kind is MoveKind.PLACE:
        _reach(regions, task.target)
        before = _read(regions, task.target)
    _write(regions, task.target, move_output(task, source, table, before))


def _read(regions: Regions, planes: Planes) -> Bytes:
    found = regions[planes.at.region][planes.at.offset : planes.end]
    return found.reshape(planes.channels, planes.height, planes.width)


def _reach(regions: Regions, planes: Planes) -> None:
    """Make a region as large as a map in it needs."""
    name, old = planes.at.region, regions.get(planes.at.region, np.zeros(0, np.uint8))
    if old.size < planes.end:
        regions[name] = np.concatenate([old, np.zeros(planes.end - old.size, np.uint8)])


def _write(regions: Regions, planes: Planes, values: Bytes) -> None:
    _reach(regions, planes)
    regions[planes.at.region][planes.at.offset : planes.end] = values.reshape(-1)
