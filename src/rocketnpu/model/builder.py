"""Write a ``.tflite`` file tensor by tensor and operator by operator, without TensorFlow.

The inverse of :func:`rocketnpu.model.tflite.parse`::

    builder = ModelBuilder()
    x = builder.tensor((1, 8, 8, 3), DType.UINT8, scale=0.02, zero_point=128)
    y = builder.tensor((1, 8, 8, 3), DType.UINT8, scale=0.02, zero_point=128)
    builder.operator("RELU", [x], [y])
    data = builder.build([x], [y])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import DType, Quantisation, Tensor
from rocketnpu.graph.operators import Attributes, NoAttributes
from rocketnpu.model.options import options, version
from rocketnpu.model.tflite import IDENTIFIER, VERSION
from rocketnpu.third_party import tflite_schema as schema

_CUSTOM = "CUSTOM:"
_ALIGNMENT = 16
"""Bytes to which the schema aligns tensor data (``force_align`` of ``Buffer.data``)."""
_OLD_CODE_LIMIT = 127
"""Builtin codes from here on do not fit the schema's first, one-byte field."""


class ModelBuilder:
    """Collects tensors and operators; :meth:`build` writes them as a model of one subgraph."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self._tensors: list[Tensor] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}

    def tensor(
        self,
        shape: Sequence[int],
        dtype: DType,
        *,
        scale: float | Sequence[float] | npt.NDArray[Any] | None = None,
        zero_point: int | Sequence[int] | npt.NDArray[Any] = 0,
        axis: int = 0,
        data: npt.ArrayLike | None = None,
        name: str | None = None,
        is_variable: bool = False,
    ) -> int:
        """Add a tensor and return its number.

        One scale quantises the whole tensor; a sequence of them each index of ``axis`` (a single zero point then
        stands for all). ``data`` of ``shape`` makes it a constant. ``is_variable`` marks the state of an operator,
        which lasts from one inference to the next.

        Raises:
            ModelError: ``data`` has another shape or values outside the type, or scales and zero points disagree.
            UnsupportedError: the element type has no NumPy twin.
        """
        number = len(self._tensors)
        if dtype is DType.OTHER:
            raise UnsupportedError(f"tensor {number}: element type OTHER cannot be written")
        quantisation = None if scale is None else _quantisation(scale, zero_point, axis, number)
        values = None if data is None else _constant(data, tuple(shape), dtype, number)
        name = f"t{number}" if name is None else name
        self._tensors.append(Tensor(number, name, tuple(shape), dtype, quantisation, values, is_variable=is_variable))
        return number

    def operator(
        self,
        kind: str,
        inputs: Sequence[int | None],
        outputs: Sequence[int],
        attributes: Attributes = NoAttributes(),  # noqa: B008 - frozen
        *,
        custom_options: bytes = b"",
        table: Any = None,
    ) -> int:
        """Add an operator and return its index; ``kind`` is TFLite's name or ``"CUSTOM:name"``.

        An operator into which this project does not look takes its options as a ``table`` of the schema, such as
        ``ArgMaxOptionsT()``, and is of version 1.

        Raises:
            UnsupportedError: the options of this operator cannot be written, or ``attributes`` are another's.
        """
        index = len(self._operators)
        sources = [None if number is None else self._get(number) for number in inputs]
        results = [self._get(number) for number in outputs]
        added = schema.OperatorT()
        added.inputs = np.array([-1 if number is None else number for number in inputs], np.int32)
        added.outputs = np.array(outputs, np.int32)
        if kind.startswith(_CUSTOM):
            needed = 1
            added.customOptions = np.frombuffer(custom_options, np.uint8) if custom_options else None
        else:
            added.builtinOptions = options(kind, attributes, sources, results) if table is None else table
            if added.builtinOptions is not None:
                name = type(added.builtinOptions).__name__.removesuffix("T")
                added.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            needed = version(kind, attributes, sources) if table is None else 1
        added.opcodeIndex = self._codes.setdefault((kind, needed), len(self._codes))
        self._operators.append(added)
        return index

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Write the file; ``inputs`` and ``outputs`` are the numbers of the network's tensors.

        Raises:
            ModelError: a number names no tensor.
        """
        main = schema.SubGraphT()
        main.name = self.name
        main.inputs = np.array([self._get(number).index for number in inputs], np.int32)
        main.outputs = np.array([self._get(number).index for number in outputs], np.int32)
        main.operators = self._operators
        model = schema.ModelT()
        model.version = VERSION
        model.buffers = [schema.BufferT()]
        main.tensors = [_tensor(tensor, model.buffers) for tensor in self._tensors]
        model.subgraphs = [main]
        model.operatorCodes = [_code(kind, needed) for kind, needed in self._codes]
        return pack(model)

    def _get(self, number: int) -> Tensor:
        if not 0 <= number < len(self._tensors):
            raise ModelError(f"there is no tensor {number}; there are {len(self._tensors)}")
        return self._tensors[number]


class _Writer(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns vectors of bytes, which carry tensor data, as the schema's ``force_align`` demands."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def pack(model: Any) -> bytes:
    """Write a model that the schema's objects describe."""
    writer = _Writer(1024)
    writer.Finish(model.Pack(writer), IDENTIFIER)
    return bytes(writer.Output())


def _quantisation(scale: Any, zero_point: Any, axis: int, number: int) -> Quantisation:
    scales = np.array(scale, np.float32).reshape(-1)
    zero_points = np.array(zero_point, np.int64).reshape(-1)
    if len(zero_points) == 1:
        zero_points = np.repeat(zero_points, len(scales))
    if len(scales) != len(zero_points) or not len(scales):
        raise ModelError(f"tensor {number} has {len(scales)} scales but {len(zero_points)} zero points")
    return Quantisation(scales, zero_points, axis)


def _constant(data: npt.ArrayLike, shape: tuple[int, ...], dtype: DType, number: int) -> npt.NDArray[Any]:
    given = np.asarray(data)
    if given.shape != shape:
        raise ModelError(f"tensor {number} has shape {shape}, its data {given.shape}")
    values = given.astype(np.dtype(dtype.value).newbyteorder("<"))
    if given.dtype.kind in "iu" and not np.array_equal(values, given):
        raise ModelError(f"tensor {number} holds values that do not fit {dtype.value}")
    return values


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    table = schema.TensorT()
    table.name = tensor.name
    table.shape = np.array(tensor.shape, np.int32)
    table.type = getattr(schema.TensorType, tensor.dtype.name)
    table.hasRank = True
    table.isVariable = tensor.is_variable
    if tensor.quantisation is not None:
        table.quantization = schema.QuantizationParametersT()
        table.quantization.scale = tensor.quantisation.scales
        table.quantization.zeroPoint = tensor.quantisation.zero_points
        table.quantization.quantizedDimension = tensor.quantisation.axis
    if tensor.data is not None:
        table.buffer = len(buffers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        buffers.append(buffer)
    return table


def _code(kind: str, needed: int) -> Any:
    code = schema.OperatorCodeT()
    code.version = needed
    if kind.startswith(_CUSTOM):
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = kind.removeprefix(_CUSTOM)
    else:
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, _OLD_CODE_LIMIT)
    return code
