"""The values of a model: who makes them, who reads them, their shapes, and those that are constant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType
from rocketnpu.model.onnx.proto import elements, nodes_inputs, static_shape

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
DTYPES = {
    1: DType.FLOAT32,
    2: DType.UINT8,
    3: DType.INT8,
    4: DType.UINT16,
    5: DType.INT16,
    6: DType.INT32,
    7: DType.INT64,
    9: DType.BOOL,
    10: DType.FLOAT16,
    11: DType.FLOAT64,
    12: DType.UINT32,
    13: DType.UINT64,
}
"""By ONNX's number of an element type."""
_SMALL_INTEGERS = {21: np.uint8, 22: np.int8}
"""UINT4 and INT4 (two to a byte in the file), unpacked to bytes."""
_FOLDED = {
    *("Add", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather", "Identity", "Mul"),
    *("Range", "Reshape", "Shape", "Size", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where", "ReduceProd"),
}
"""Operators that exporters write to compute shapes; they are computed when the model is read."""
_GROWING = {"Add", "Div", "Equal", "Gather", "Mul", "Sub", "Where"}
"""Those of which the result may be larger than what goes in."""
_MOST_FOLDED = 1 << 22
"""Elements of a constant that is computed."""
STANDARD = ("", "ai.onnx")
"""Names of ONNX's own set of operators."""


@dataclass
class Values:
    """What is known of every value by its name."""

    model: onnx.ModelProto
    constants: dict[str, Array] = field(default_factory=dict)
    producers: dict[str, int] = field(default_factory=dict)
    """Number of the node that makes a value."""
    readers: dict[str, list[int]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, DType] = field(default_factory=dict)

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Values:
        """Gather what is known of a model that :func:`~rocketnpu.model.onnx.proto.prepare` returned.

        Raises:
            ModelError: a constant's data do not fit its shape.
        """
        values = cls(model)
        values._declared()
        for tensor in model.graph.initializer:
            values._constant(tensor.name, array_of(tensor))
        for number, node in enumerate(model.graph.node):
            for name in nodes_inputs(node):
                values.readers.setdefault(name, []).append(number)
            values.producers.update(dict.fromkeys((name for name in node.output if name), number))
            values._fold(node)
        return values

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators that the model uses."""
        return next((int(field.version) for field in self.model.opset_import if field.domain in STANDARD), 1)

    @property
    def inputs(self) -> list[str]:
        """Names of the model's inputs (those that are no defaults of constants)."""
        return [value.name for value in self.model.graph.input if value.name not in self.constants]

    @property
    def outputs(self) -> list[str]:
        """Names of the model's outputs."""
        return [value.name for value in self.model.graph.output]

    def maker(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value, or None where it is an input or a constant."""
        number = self.producers.get(name)
        return None if number is None else self.model.graph.node[number]

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that reads a value, or None where there are several or it is an output."""
        found = self.readers.get(name, [])
        return self.model.graph.node[found[0]] if len(found) == 1 and name not in self.outputs else None

    def _declared(self) -> None:
        graph = self.model.graph
        for value in (*graph.value_info, *graph.input, *graph.output):
            shape = static_shape(value)
            if shape is not None:
                elements(shape)
                self.shapes[value.name] = shape
            if value.type.HasField("tensor_type"):
                self.types[value.name] = DTYPES.get(value.type.tensor_type.elem_type, DType.OTHER)

    def _constant(self, name: str, array: Array) -> None:
        self.constants[name] = array
        self.shapes[name] = array.shape
        self.types[name] = _dtype(array)

    def _fold(self, node: onnx.NodeProto) -> None:
        """Compute a node of which everything is known, if it is one that shapes are made of."""
        if node.domain not in STANDARD or len(node.output) != 1:
            return
        if node.op_type == "Constant":
            array = _constant_node(node)
        elif node.op_type == "Shape" and node.input[0] in self.shapes:
            array = _part(np.array(self.shapes[node.input[0]], np.int64), attributes_of(node))
        elif node.op_type in _FOLDED and all(name in self.constants for name in node.input if name):
            array = self._computed(node)
        else:
            return
        if array is not None:
            array.flags.writeable = False
            self._constant(node.output[0], array)

    def _computed(self, node: onnx.NodeProto) -> Array | None:
        from onnx.reference import ReferenceEvaluator

        given = {name: self.constants[name] for name in node.input if name}
        if not _is_bounded(node, [self.constants[name] for name in node.input if name]):
            return None
        try:
            import onnx.helper

            infos = [onnx.helper.make_tensor_value_info(name, 0, None) for name in given]
            outputs = [onnx.helper.make_tensor_value_info(node.output[0], 0, None)]
            graph = onnx.helper.make_graph([node], "constant", infos, outputs)
            opsets = [onnx.helper.make_opsetid("", self.opset)]
            (found,) = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, given)
        except Exception:  # whatever it is: the node stays, and the host computes it
            return None
        array = np.asarray(found)
        return array if array.dtype.kind in "iufb" and array.size <= _MOST_FOLDED else None


def _is_bounded(node: onnx.NodeProto, given: list[Array]) -> bool:
    """Say whether a node's result is of a sane size, before it is computed."""
    if sum(array.size for array in given) > _MOST_FOLDED:
        return False
    if node.op_type in ("ConstantOfShape", "Expand") and given:
        sizes = [int(size) for size in np.ravel(given[-1])] if given[-1].dtype.kind in "iu" else [-1]
        return min(sizes, default=1) >= 0 and math.prod(sizes) * max(given[0].size, 1) <= _MOST_FOLDED
    if node.op_type == "Range" and len(given) == 3 and all(array.size == 1 for array in given):
        start, limit, step = (float(array.reshape(-1)[0]) for array in given)
        return step != 0 and abs((limit - start) / step) <= _MOST_FOLDED
    if node.op_type in _GROWING:
        return math.prod(max(array.size, 1) for array in given) <= _MOST_FOLDED
    return bool(node.op_type != "Range")


def _part(shape: Array, attributes: dict[str, Any]) -> Array:
    return shape[attributes.get("start", 0) : attributes.get("end", len(shape))].copy()


def _constant_node(node: onnx.NodeProto) -> Array | None:
    attributes = attributes_of(node)
    for name, value in attributes.items():
        if name == "value":
            return array_of(value)
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
    return None


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name; texts as text.

    Raises:
        ModelError: one is of a kind that is not known.
    """
    import onnx.helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        try:
            value = onnx.helper.get_attribute_value(attribute)
        except ValueError as error:
            raise ModelError(f"attribute {attribute.name!r} of node {node.name!r}: {error}") from None
        found[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def array_of(tensor: onnx.TensorProto) -> Array:
    """Return a tensor's elements; those of 4 bits as bytes. It is read-only.

    Raises:
        ModelError: the data do not fit the shape or the element type.
    """
    from onnx import numpy_helper

    elements(tuple(tensor.dims))
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError, MemoryError) as error:
        raise ModelError(f"the data of tensor {tensor.name!r} do not fit it: {error}") from None
    if tensor.data_type in _SMALL_INTEGERS:
        array = array.astype(_SMALL_INTEGERS[tensor.data_type])
    if array.shape != tuple(tensor.dims):
        raise ModelError(f"tensor {tensor.name!r} has data of shape {array.shape}, not {tuple(tensor.dims)}")
    array = array.view()
    array.flags.writeable = False
    return array


def _dtype(array: Array) -> DType:
    name = array.dtype.name
    return DType(name) if any(name == dtype.value for dtype in DType) else DType.OTHER


def scalars(array: Array) -> Iterator[int]:
    """Yield an array's elements as whole numbers."""
    yield from (int(value) for value in np.ravel(array))
