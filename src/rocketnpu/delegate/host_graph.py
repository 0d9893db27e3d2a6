"""The host's network, read through its C structures into the same graph that its file gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.delegate import abi
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.host_attributes import read_attributes
from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Graph, Operator, Quantisation, Tensor
from rocketnpu.graph.propagate import propagate
from rocketnpu.graph.sparse import Level, Sparsity, densify
from rocketnpu.graph.verify import verified
from rocketnpu.model.tflite import unpacked
from rocketnpu.third_party import tflite_schema as schema

_KINDS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_DTYPES = {
    1: DType.FLOAT32,
    2: DType.INT32,
    3: DType.UINT8,
    4: DType.INT64,
    6: DType.BOOL,
    7: DType.INT16,
    9: DType.INT8,
    10: DType.FLOAT16,
    11: DType.FLOAT64,
    13: DType.UINT64,
    16: DType.UINT32,
    17: DType.UINT16,
}
"""By the host's number of an element type (not the file's)."""
_INT4 = 18
"""The host's number of elements of 4 bits, two a byte."""

Array = npt.NDArray[np.generic]


def read_graph(context: Any, name: str = "host") -> Graph:
    """Read the network that a ``HostContext *`` offers inside a delegate's ``prepare``.

    Operators carry the host's node numbers, which on a fresh interpreter are the file's. Constants are views of the
    host's memory: valid while the host keeps the model. A host does not tell its inputs and outputs; they are what
    its nodes read without making it, and what would come out if one delegate took everything, in the order of tensors.

    Raises:
        ModelError: the host's structures contradict themselves.
    """
    tensors = {number: read_tensor(context, number) for number in range(context.tensor_count)}
    operators = tuple(_operator(context, node, len(tensors)) for node in _execution_plan(context))
    made = {number for operator in operators for number in operator.outputs}
    read = {number for operator in operators for number in operator.inputs if number is not None}
    inputs = [n for n in sorted(read - made) if not (tensors[n].is_constant or tensors[n].is_variable)]
    outputs = {number for _, made_outside in preview(context, [o.index for o in operators]) for number in made_outside}
    graph = Graph(name, tensors, operators, tuple(inputs), tuple(sorted(outputs)))
    # What the host will only know when it runs follows from the inputs' shapes all the same.
    if any(tensor.is_dynamic or tensor.placeholders for tensor in tensors.values()):
        graph = propagate(graph)
    return verified(graph)


SUPPOSED = 192
"""Rows and columns that an input is supposed to have while nobody has said: a usual size that halves six times."""


def supposed_shapes(graph: Graph) -> dict[int, tuple[int, ...]]:
    """Return shapes for those inputs whose rows or columns are placeholders still, by tensor number.

    A batch that is left open is no such thing: it is one image until somebody says otherwise.
    """
    found = {}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        still_open = [axis for axis in tensor.placeholders if axis > 0 and tensor.shape[axis] == 1]
        if still_open:
            found[number] = tuple(SUPPOSED if axis in still_open else n for axis, n in enumerate(tensor.shape))
    return found


def preview(context: Any, nodes: list[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ask the host how it would cut ``nodes`` into parts: the nodes and the output tensors of each.

    Raises:
        ModelError: the host cannot tell.
    """
    parts, count = ffi.new("PartParams **"), ffi.new("int *")
    wanted = abi.int_array(tuple(nodes))
    if context.preview(context, wanted, parts, count) != abi.OK:
        raise ModelError("the host cannot partition its graph")
    return [(abi.integers(parts[0][i].nodes), abi.integers(parts[0][i].outputs)) for i in range(count[0])]


def read_tensor(context: Any, number: int) -> Tensor:
    """Read one tensor as it is now.

    Raises:
        ModelError: its size does not follow from its shape and type, or its quantisation cannot be read.
    """
    host = context.tensors[number]
    packed = host.type == _INT4 and host.allocation == abi.READ_ONLY
    dtype = DType.INT8 if packed else _DTYPES.get(host.type, DType.OTHER)
    name = ffi.string(host.name).decode("utf-8", "replace") if host.name != ffi.NULL else ""
    shape = abi.integers(host.dims)
    return Tensor(
        number,
        name,
        shape,
        dtype,
        _quantisation(number, host),
        _constant(number, host, shape, dtype),
        is_dynamic=host.allocation == abi.DYNAMIC,
        is_variable=bool(host.variable),
        signature=_signature(host, shape),
    )


def _signature(host: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    found = abi.integers(host.signature) if host.signature != ffi.NULL else ()
    return found if len(found) == len(shape) and -1 in found else None


def view(host: Any, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return a ``HostTensor``'s memory as an array, without a copy."""
    return np.frombuffer(ffi.buffer(host.data, host.bytes), dtype.value).reshape(shape)


def _execution_plan(context: Any) -> tuple[int, ...]:
    plan = ffi.new("IntArray **")
    if context.execution_plan(context, plan) != abi.OK:
        raise ModelError("the host does not tell its execution plan")
    return abi.integers(plan[0])


def _operator(context: Any, index: int, tensors: int) -> Operator:
    node, registration = ffi.new("HostNode **"), ffi.new("Registration **")
    if context.node(context, index, node, registration) != abi.OK:
        raise ModelError(f"the host does not tell its node {index}")
    kind = _kind(registration[0])
    inputs = tuple(None if n == abi.OPTIONAL else n for n in abi.integers(node[0].inputs))
    outputs = abi.integers(node[0].outputs)
    for number in (*inputs, *outputs):
        if number is not None and not 0 <= number < tensors:
            raise ModelError(f"node {index} ({kind}) names tensor {number} of {tensors}")
    try:
        attributes = read_attributes(kind, node[0].options)
    except ModelError as error:
        raise ModelError(f"node {index}: {error}") from None
    return Operator(index, kind, inputs, outputs, attributes)


def _kind(registration: Any) -> str:
    kind: str = _KINDS.get(registration.builtin_code, f"BUILTIN_{registration.builtin_code}")
    if kind != "CUSTOM":
        return kind
    name = registration.custom_name
    return f"CUSTOM:{ffi.string(name).decode('utf-8', 'replace') if name != ffi.NULL else ''}"


def _quantisation(number: int, host: Any) -> Quantisation | None:
    if host.quantisation.kind != abi.AFFINE or host.quantisation.params == ffi.NULL:
        return None
    affine = ffi.cast("AffineQuantisation *", host.quantisation.params)
    zero_points = abi.integers(affine.zero_points)
    if not zero_points:
        return None
    scales = abi.floats(affine.scales, len(zero_points))
    if scales is None:
        raise ModelError(f"tensor {number} has {len(zero_points)} zero points and another number of scales")
    return Quantisation(np.array(scales, np.float32), np.array(zero_points, np.int64), affine.axis)


def _constant(number: int, host: Any, shape: tuple[int, ...], dtype: DType) -> Array | None:
    if host.allocation != abi.READ_ONLY or host.data == ffi.NULL or not host.bytes or dtype.bytes is None:
        return None
    if host.sparsity != ffi.NULL:
        values = np.frombuffer(ffi.buffer(host.data, host.bytes), dtype.value)
        return densify(_sparsity(ffi.cast("HostSparsity *", host.sparsity)), values, shape)
    if host.type == _INT4:
        halves: Array = unpacked(np.frombuffer(ffi.buffer(host.data, host.bytes), np.uint8), shape)
        return halves
    needed = int(np.prod(shape, dtype=object)) * dtype.bytes
    if host.bytes != needed:
        raise ModelError(f"tensor {number} has {host.bytes} bytes of data, its shape {shape} needs {needed}")
    data = view(host, shape, dtype)
    data.flags.writeable = False
    return data


def _sparsity(host: Any) -> Sparsity:
    levels = []
    for place in range(host.count):
        level = host.levels[place]
        if level.format == abi.DENSE_LEVEL:
            levels.append(Level(level.size))
        else:
            lists = (np.array(abi.integers(found), np.int64) for found in (level.segments, level.indices))
            levels.append(Level(level.size, *lists))
    blocks = abi.integers(host.block_map) if host.block_map != ffi.NULL else ()
    return Sparsity(abi.integers(host.order), blocks, tuple(levels))
