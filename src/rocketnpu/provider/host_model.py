"""ONNX Runtime's graph, read through its C interface into an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError
from rocketnpu.model.onnx.values import DTYPES
from rocketnpu.provider.abi import FLOAT, FLOATS, GRAPH, INT, INTS, STRING, STRINGS, TENSOR, Runtime, ffi

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
OPAQUE = "rocketnpu.opaque"
"""Domain given to nodes into which nobody looks, such as those with bodies."""
_NUMBERS = {INT: "int64_t", INTS: "int64_t", FLOAT: "float", FLOATS: "float"}


class HostModel:
    """A graph of the runtime as a model, and the runtime's nodes in the model's order."""

    def __init__(self, runtime: Runtime, graph: Any) -> None:
        """Find the nodes of the graph.

        Raises:
            DeviceError: the runtime refuses to tell.
        """
        self._runtime, self._graph = runtime, graph
        self._infos: dict[str, Any] = {}
        self.nodes = runtime.list("Graph", "Nodes", graph)

    def read(self) -> onnx.ModelProto:
        """Read the graph, constants and all.

        Raises:
            DeviceError: the runtime refuses to tell.
            ModelError: the graph has something that cannot be read.
        """
        import onnx.helper

        runtime, graph = self._runtime, self._graph
        nodes = [self._node(node) for node in self.nodes]
        shown = [self._constant(info) for info in runtime.list("Graph", "Initializers", graph)]
        constants = [tensor for tensor in shown if tensor is not None]
        held = {tensor.name for tensor in constants}
        # Constants of types that nobody here computes with are given like inputs, and so are defaults of inputs.
        infos = (*runtime.list("Graph", "Inputs", graph), *runtime.list("Graph", "Initializers", graph))
        inputs = [self._value(info) for info in {self._name(info): info for info in infos}.values()]
        outputs = [self._value(info) for info in runtime.list("Graph", "Outputs", graph)]
        ends = {value.name for value in (*inputs, *outputs)} | held
        made = onnx.helper.make_graph(
            nodes,
            runtime.text("Graph_GetName", graph) or "graph",
            [value for value in inputs if value.name not in held],
            outputs,
            constants,
            value_info=[self._value(info) for name, info in self._infos.items() if name not in ends],
        )
        return onnx.helper.make_model(made, opset_imports=[*self._opsets(), onnx.helper.make_opsetid(OPAQUE, 1)])

    def _opsets(self) -> list[onnx.OperatorSetIdProto]:
        import onnx.helper

        count = self._runtime.number("Graph_GetNumOperatorSets", self._graph)
        domains, versions = ffi.new("const char *[]", max(count, 1)), ffi.new("int64_t[]", max(count, 1))
        self._runtime.call("Graph_GetOperatorSets", self._graph, domains, versions, count)
        found = [(ffi.string(domains[place]).decode(), int(versions[place])) for place in range(count)]
        return [onnx.helper.make_opsetid("" if domain == "ai.onnx" else domain, version) for domain, version in found]

    def _node(self, node: Any) -> onnx.NodeProto:
        import onnx

        runtime = self._runtime
        made = onnx.NodeProto()
        made.name, made.op_type = runtime.text("Node_GetName", node), runtime.text("Node_GetOperatorType", node)
        made.domain = runtime.text("Node_GetDomain", node)
        made.input.extend(self._name(info) for info in runtime.list("Node", "Inputs", node))
        made.output.extend(self._name(info) for info in runtime.list("Node", "Outputs", node))
        implicit = [self._name(info) for info in runtime.list("Node", "ImplicitInputs", node)]
        attributes = [self._attribute(attribute) for attribute in runtime.list("Node", "Attributes", node)]
        if implicit or None in attributes:
            made.domain = OPAQUE
            made.input.extend(name for name in implicit if name not in made.input)
        made.attribute.extend(attribute for attribute in attributes if attribute is not None)
        return made

    def _name(self, info: Any) -> str:
        """Return a value's name, and remember the value; an input that is left out has none."""
        if info == ffi.NULL:
            return ""
        name = self._runtime.text("GetValueInfoName", info)
        if name:
            self._infos.setdefault(name, info)
        return name

    def _attribute(self, attribute: Any) -> onnx.AttributeProto | None:
        """Read an attribute; None for a body."""
        import onnx.helper

        runtime = self._runtime
        kind, name = runtime.number("OpAttr_GetType", attribute, "int"), runtime.text("OpAttr_GetName", attribute)
        if kind == GRAPH:
            return None
        if kind == TENSOR:
            value = runtime.pointer("OpAttr_GetTensorAttributeAsOrtValue", attribute)
            try:
                array = self._elements(value)
            finally:
                runtime.call("ReleaseValue", value)
            return None if array is None else onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(array, ""))
        if kind == STRING:
            return onnx.helper.make_attribute(name, self._read(attribute, kind))
        if kind == STRINGS:
            raise ModelError(f"attribute {name!r} is a list of texts")
        if kind not in _NUMBERS:
            return None
        data = self._read(attribute, kind)
        numbers = np.frombuffer(data, np.dtype("<i8" if kind in (INT, INTS) else "<f4")).tolist()
        listed = {INTS: onnx.AttributeProto.INTS, FLOATS: onnx.AttributeProto.FLOATS}.get(kind)
        if listed is not None:
            return onnx.helper.make_attribute(name, numbers, attr_type=listed)
        return onnx.helper.make_attribute(name, numbers[0])

    def _read(self, attribute: Any, kind: int) -> bytes:
        """Read an attribute's bytes; the first call, with no room, only says how many there are, and so fails."""
        runtime, size = self._runtime, ffi.new("size_t *")
        room = 64
        for _ in range(2):
            data = ffi.new("char[]", room)
            try:
                runtime.call("ReadOpAttr", attribute, kind, data, room, size)
            except Exception:
                if size[0] <= room:
                    raise
                room = int(size[0])
                continue
            return bytes(ffi.buffer(data, size[0]))
        raise ModelError("an attribute changes its size while it is read")

    def _value(self, info: Any) -> onnx.ValueInfoProto:
        import onnx.helper

        runtime, name = self._runtime, self._name(info)
        tensor = runtime.pointer("CastTypeInfoToTensorInfo", runtime.pointer("GetValueInfoTypeInfo", info))
        if tensor == ffi.NULL:
            return onnx.ValueInfoProto(name=name)
        shape = [size if size >= 0 else None for size in runtime.shape(tensor)]
        return onnx.helper.make_tensor_value_info(name, runtime.number("GetTensorElementType", tensor, "int"), shape)

    def _constant(self, info: Any) -> onnx.TensorProto | None:
        """Copy a constant; None where it is of a type that nobody here computes with, or a default that a run may
        override.
        """
        from onnx import numpy_helper

        if not self._runtime.number("ValueInfo_IsConstantInitializer", info, "bool"):
            return None
        value = self._runtime.pointer("ValueInfo_GetInitializerValue", info)
        name = self._name(info)
        array = None if value == ffi.NULL else self._elements(value)
        return None if array is None else numpy_helper.from_array(array, name)

    def _elements(self, value: Any) -> Array | None:
        """Copy a tensor's elements; None where they have no NumPy twin."""
        runtime = self._runtime
        info = runtime.pointer("GetTensorTypeAndShape", value)
        try:
            shape, kind = runtime.shape(info), runtime.number("GetTensorElementType", info, "int")
        finally:
            runtime.call("ReleaseTensorTypeAndShapeInfo", info)
        dtype = DTYPES.get(kind)
        if dtype is None:
            return None
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype.value).itemsize
        data = ffi.new("const void **")
        runtime.call("GetTensorData", value, data)
        return np.frombuffer(bytes(ffi.buffer(data[0], size)) if size else b"", dtype.value).reshape(shape)
