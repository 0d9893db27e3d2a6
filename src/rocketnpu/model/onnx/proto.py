"""From a file to an ONNX model that may be trusted: parsed, its data at hand, its functions inlined, its shapes known.

The ``onnx`` package reads the protocol buffer; everything that it raises on a damaged file becomes a
:class:`~rocketnpu.errors.ModelError` here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.files.limits import MODEL_BYTES
from rocketnpu.files.reading import open_file, read_file
from rocketnpu.model.onnx.sizes import check_sizes

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 10
"""The first with QuantizeLinear; per-channel scales came with 13."""
MOST_BYTES = 1 << 31
"""Of one tensor: protocol buffers end there, and so does every NPU's memory."""
MOST_NODES = 100_000
_MISSING = "reading ONNX models needs the package onnx, which is not installed: pip install 'rocketnpu[onnx]'"
_EXTERNAL = 1
"""``TensorProto.EXTERNAL``."""
Shapes = Mapping[str, tuple[int, ...]]


def require_onnx() -> Any:
    """Return the ``onnx`` package.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UnsupportedError(_MISSING) from None
    return onnx


def read(path: Path) -> onnx.ModelProto:
    """Read a model file and the data files that it names, which lie in its folder.

    Raises:
        ModelError: a file is missing or damaged, or lies outside the folder.
    """
    model = decode(read_file(path, MODEL_BYTES, "model", ModelError), path.name)
    left = MODEL_BYTES
    for tensor in _tensors(model.graph):
        if tensor.data_location == _EXTERNAL:
            left -= _load_external(tensor, path, left)
    return model


def decode(data: bytes, name: str) -> onnx.ModelProto:
    """Parse a model's bytes.

    Raises:
        ModelError: they are none.
    """
    onnx = require_onnx()
    from google.protobuf.message import DecodeError

    if not data:
        raise ModelError(f"{name} is empty")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{name} is damaged, or no ONNX model: its protocol buffer cannot be parsed") from None
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{name} is no ONNX model, or an empty one: it has no nodes")
    return model


def prepare(model: onnx.ModelProto, name: str, shapes: Shapes, *, open_batch: bool = True) -> onnx.ModelProto:
    """Fix the shapes of a model's inputs, inline its functions, and infer every shape.

    Args:
        model: is changed.
        name: of the file, for messages.
        shapes: of inputs, by name.
        open_batch: whether a batch that the file leaves open is 1.

    Raises:
        ModelError: the model is inconsistent, or an input's shape is open.
    """
    onnx = require_onnx()
    apart = next((tensor.name for tensor in _tensors(model.graph) if tensor.data_location == _EXTERNAL), None)
    if apart is not None:
        raise ModelError(f"it keeps the data of {apart!r} in another file: read it by its path")
    _check_version(model)
    _check_nodes(model.graph)
    check_sizes(model.graph, _tensors(model.graph))
    _fix_inputs(model.graph, shapes, open_batch=open_batch)
    try:
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
            _check_nodes(model.graph)
        if any(field.domain == "" for field in model.opset_import):
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the package raises its own kinds from C++, and the plainest of Python's
        raise ModelError(f"{name}: {_first_line(error)}") from None
    return model


def nodes_inputs(node: onnx.NodeProto) -> Iterator[str]:
    """Yield every value that a node reads, those that its bodies take from outside among them."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            own = {name for inner in body.node for name in inner.output}
            own |= {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
            read = dict.fromkeys(name for inner in body.node for name in nodes_inputs(inner))
            yield from (name for name in (*read, *(value.name for value in body.output)) if name not in own)


def static_shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return a value's shape, or None where any of it is not known."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]
    return None if any(size < 0 for size in sizes) else tuple(sizes)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def _check_version(model: onnx.ModelProto) -> None:
    versions = {field.domain: field.version for field in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx"))
    if opset is not None and opset < OLDEST_OPSET:
        raise ModelError(f"it has operator set {opset}, {OLDEST_OPSET} and newer are known: convert it with onnx")


def _check_nodes(graph: onnx.GraphProto) -> None:
    """Check that each value is made once, before it is read, and by a node that has a name for it."""
    if len(graph.node) > MOST_NODES:
        raise ModelError(f"it has {len(graph.node)} nodes, more than {MOST_NODES}")
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    made: set[str] = set()
    for place, node in enumerate(graph.node):
        title = f"node {place} ({node.op_type} {node.name!r})"
        missing = next((name for name in nodes_inputs(node) if name not in known and name not in made), None)
        if missing is not None:
            raise ModelError(f"{title} reads {missing!r}, which nothing makes before it")
        for name in node.output:
            if name and (name in made or name in known):
                raise ModelError(f"{title} writes {name!r}, which already has a value")
            made.add(name)
    for value in graph.output:
        if value.name not in made and value.name not in known:
            raise ModelError(f"nothing makes the output {value.name!r}")


def _fix_inputs(graph: onnx.GraphProto, shapes: Shapes, *, open_batch: bool) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    unknown = next((name for name in shapes if name not in inputs), None)
    if unknown is not None:
        raise ModelError(f"it has no input {unknown!r}; its inputs are {', '.join(inputs)}")
    for name, value in inputs.items():
        if not value.type.HasField("tensor_type"):
            continue
        dims, wanted = value.type.tensor_type.shape.dim, shapes.get(name)
        if wanted is not None and len(wanted) != len(dims):
            raise ModelError(f"input {name!r} has {len(dims)} dimensions, {len(wanted)} were given")
        for axis, dim in enumerate(dims):
            if wanted is not None:
                dim.dim_value = wanted[axis]
            elif open_batch and axis == 0 and not dim.HasField("dim_value"):
                dim.dim_value = 1
    if shapes or any(True for _ in _open_outputs(graph)):
        del graph.value_info[:]
        for value in graph.output:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")


def _open_outputs(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield outputs whose shape the file leaves open: then inner shapes are inferred anew."""
    for value in graph.output:
        if value.type.HasField("tensor_type") and static_shape(value) is None:
            yield value.name


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a graph and of the bodies in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _tensors(body)


def _load_external(tensor: onnx.TensorProto, model: Path, left: int) -> int:
    """Fetch a tensor's bytes, at most ``left``, from the data file that it names; return how many there are."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location, title = entries.get("location", ""), f"{model.name}: the data of {tensor.name!r}"
    folder = model.resolve().parent
    try:
        path = (folder / location).resolve()
        offset, wanted = int(entries.get("offset", "0") or 0), entries.get("length")
    except (ValueError, OSError, RuntimeError):
        raise ModelError(f"{title} is said to lie at {entries}, which is no place in a file") from None
    if not location or not path.is_relative_to(folder):
        raise ModelError(f"{title} lies outside the model's folder: {location!r}")
    try:
        size = path.stat().st_size
        length = size - offset if wanted is None else int(wanted)
        if offset < 0 or length < 0 or offset + length > size or length >= MOST_BYTES:
            raise ModelError(f"{title} ends at byte {offset + length} of {location}, which has {size}")
        if length > left:
            raise ModelError(f"{title} makes more than {MODEL_BYTES} bytes together with that of other tensors")
        with open_file(path, f"the data of {tensor.name!r}", ModelError) as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except ValueError:
        raise ModelError(f"{title} has a length of {wanted!r}") from None
    except OSError as error:
        raise ModelError(f"{title} cannot be read from {location!r}: {error.strerror or error}") from None
    tensor.data_location = 0
    del tensor.external_data[:]
    return len(tensor.raw_data)


def elements(dims: tuple[int, ...]) -> int:
    """Return how many elements a shape has.

    Raises:
        ModelError: a size is negative, or there are more than a file can hold.
    """
    if any(size < 0 for size in dims) or math.prod(dims) >= MOST_BYTES:
        raise ModelError(f"a shape of {dims}")
    return math.prod(dims)
