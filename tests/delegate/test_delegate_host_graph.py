"""Reading a host's network gives the graph that reading its file gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from rocketnpu.delegate import abi, host_graph
from rocketnpu.delegate.abi import ffi
from rocketnpu.graph import Graph, Tensor
from rocketnpu.model import tflite
from strategies import FAMILIES, case


def seen_by_a_delegate(**model: Any) -> Graph:
    """Let LiteRT show a model to a delegate that only looks."""
    seen: list[Graph | BaseException] = []

    @abi.callback("int(HostContext *, HostDelegate *)", failed=abi.ERROR)
    def look(context: Any, _: Any) -> int:
        try:
            seen.append(detached(host_graph.read_graph(context)))
        except BaseException as error:
            seen.append(error)
        return abi.OK

    native = ffi.new("HostDelegate *", {"prepare": look, "flags": abi.FLAGS})

    class Looking:
        def _get_native_delegate_pointer(self) -> int:
            return int(ffi.cast("intptr_t", native))

    Interpreter(**model, experimental_delegates=[Looking()])
    assert len(seen) == 1
    if isinstance(seen[0], BaseException):
        raise seen[0]
    return seen[0]


def detached(graph: Graph) -> Graph:
    """Copy the constants out of the host's memory, which ends with its interpreter."""
    tensors = {
        number: dataclasses.replace(tensor, data=None if tensor.data is None else tensor.data.copy())
        for number, tensor in graph.tensors.items()
    }
    return dataclasses.replace(graph, tensors=tensors)


def tensor_facts(tensor: Tensor) -> tuple[Any, ...]:
    quantisation = tensor.quantisation
    return (
        tensor.index,
        tensor.name,
        tensor.shape,
        tensor.dtype,
        tensor.is_dynamic,
        tensor.is_variable,
        None
        if quantisation is None
        else (quantisation.scales.tobytes(), quantisation.zero_points.tobytes(), quantisation.axis),
        None if tensor.data is None else (tensor.data.dtype, tensor.data.tobytes()),
    )


def assert_equal(host: Graph, file: Graph) -> None:
    assert host.tensors.keys() == file.tensors.keys()
    for number, tensor in file.tensors.items():
        assert tensor_facts(host.tensors[number]) == tensor_facts(tensor), tensor
    assert host.operators == file.operators
    assert sorted(host.inputs) == sorted(file.inputs)
    assert sorted(host.outputs) == sorted(file.outputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_operator_reads_as_from_its_file(family: str) -> None:
    for seed in range(8):
        made = case(family, seed)
        assert_equal(seen_by_a_delegate(model_content=made.model), made.graph)


def test_published_and_recorded_models_read_as_from_their_files(shared: Path) -> None:
    paths = sorted([*shared.glob("models/*.tflite"), *shared.glob("golden/mesa*/*.tflite")])
    assert paths
    for path in paths:
        assert_equal(seen_by_a_delegate(model_path=str(path)), tflite.load(path))


def test_scales_are_read_in_both_layouts_that_hosts_have_used() -> None:
    inline = ffi.new("InlineFloats *", [3, [0.5, 0.25, 2.0]])
    values = ffi.new("float[]", [0.5, 0.25, 2.0])
    pointed = ffi.new("PointedFloats *", {"data": values, "size": 3, "owning": False})
    assert abi.floats(ffi.cast("void *", inline), 3) == (0.5, 0.25, 2.0)
    assert abi.floats(ffi.cast("void *", pointed), 3) == (0.5, 0.25, 2.0)
    assert abi.floats(ffi.cast("void *", inline), 4) is None


def test_a_view_is_the_hosts_own_memory() -> None:
    memory = ffi.new("uint8_t[]", [1, 2, 3, 4, 5, 6])
    tensor = ffi.new("HostTensor *", {"data": memory, "bytes": 6})
    seen = host_graph.view(tensor, (2, 3), host_graph.DType.UINT8)
    seen[1, 2] = 99
    assert memory[5] == 99
    assert np.shares_memory(seen, np.frombuffer(ffi.buffer(memory), np.uint8))
