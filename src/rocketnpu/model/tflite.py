"""Read a ``.tflite`` file into a :class:`~rocketnpu.graph.Graph`.

The flatbuffer library trusts the offsets it finds, so everything that it raises on a damaged file becomes a
:class:`~rocketnpu.errors.ModelError` here, and every count is held against the file's size before it is looped over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.files.limits import MODEL_BYTES, OPERATORS
from rocketnpu.files.reading import read_file
from rocketnpu.graph import DType, Graph, Operator, Quantisation, Tensor
from rocketnpu.graph.propagate import propagate
from rocketnpu.graph.sparse import Level, Sparsity, densify
from rocketnpu.graph.verify import verify
from rocketnpu.model import flatbuffer
from rocketnpu.model.attributes import read_attributes
from rocketnpu.third_party import tflite_schema as schema

Item = TypeVar("Item")
IDENTIFIER = b"TFL3"
VERSION = 3
_UNPACKS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE"}
"""Operators whose kernels in LiteRT unpack constants of 4 bits."""
_SHARING = 4
"""How often, on average, a file may refer to the same bytes: short lists are often stored once and shared."""
_VECTORS = {getattr(schema.SparseIndexVector, name): name for name in ("Int32Vector", "Uint16Vector", "Uint8Vector")}
_DENSER = 64
"""How many times larger a sparse constant may be written out than a file's bytes, all of them together."""
_KINDS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_DTYPES = {getattr(schema.TensorType, dtype.name): dtype for dtype in DType if hasattr(schema.TensorType, dtype.name)}
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    KeyError,
    MemoryError,
    RecursionError,
)


def load(path: str | Path) -> Graph:
    """Read a model file; its first subgraph is the network.

    Raises:
        ModelError: the file is missing, too large, no regular file, empty, damaged, or no TFLite model.
    """
    return load_all(path)[0]


def load_all(path: str | Path) -> tuple[Graph, ...]:
    """Read all subgraphs of a model file; see :func:`parse_all`."""
    path = Path(path)
    return parse_all(read_file(path, MODEL_BYTES, "model", ModelError), name=path.name)


def parse(data: bytes, name: str = "model") -> Graph:
    """Read a model from bytes; its first subgraph is the network.

    Raises:
        ModelError: the bytes are damaged, or no TFLite model.
    """
    return parse_all(data, name)[0]


def parse_all(data: bytes, name: str = "model") -> tuple[Graph, ...]:
    """Read all subgraphs of a model: the network, those of other signatures, and bodies of WHILE and IF.

    A constant is no input of a graph, even where the model lists it among them.
    Sizes that the model leaves open are placeholders; every tensor has the shape that follows from those of the inputs.

    Raises:
        ModelError: the bytes are damaged, or no TFLite model.
    """
    if not data:
        raise ModelError(f"{name} is empty")
    if len(data) < 32 or data[4:8] != IDENTIFIER:
        raise ModelError(f"{name} is not a TFLite model (its identifier is not {IDENTIFIER.decode()})")
    try:
        flatbuffer.check(data)
        graphs = tuple(_settled(graph) for graph in _Reader(data, name).graphs())
        for graph in graphs[:1]:
            verify(graph)
    except _DAMAGE as error:
        raise ModelError(f"{name} is damaged: {type(error).__name__}: {error}") from None
    except (ModelError, UnsupportedError) as error:
        raise type(error)(f"{name}: {error}") from None
    return graphs


def _settled(graph: Graph) -> Graph:
    """Give tensors the shapes that follow from the inputs', where the model leaves dimensions open."""
    if not any(tensor.placeholders for tensor in graph.tensors.values()):
        return graph
    return propagate(graph)


class _Reader:
    """Walks the flatbuffer. Every method may raise what the flatbuffer library raises on damage."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        self.left = _SHARING * len(data)
        self.model = schema.Model.GetRootAs(data, 0)
        if self.model.Version() != VERSION:
            raise ModelError(f"it has schema version {self.model.Version()}, known is {VERSION}")

    def graphs(self) -> list[Graph]:
        """Read all subgraphs: LiteRT trusts every number in them."""
        if self.model.SubgraphsLength() < 1:
            raise ModelError("it has no subgraph")
        self._check_outside()
        names = self._subgraph_names()
        graphs = [self._subgraph(self.model.Subgraphs(index), name) for index, name in enumerate(names)]
        self._check_signatures([len(graph.tensors) for graph in graphs])
        return graphs

    def _subgraph_names(self) -> list[str]:
        """Name the subgraphs: the first as the file, the others by what they are called, or by their number."""
        names = [self.name]
        for index in range(1, self.model.SubgraphsLength()):
            called = _text(self.model.Subgraphs(index).Name(), f"the name of subgraph {index}")
            names.append(f"{self.name} subgraph {index}{f' ({called})' if called else ''}")
        for index in range(self.model.SignatureDefsLength()):
            definition = self.model.SignatureDefs(index)
            key, number = _text(definition.SignatureKey(), f"the key of signature {index}"), definition.SubgraphIndex()
            if key and 0 < number < len(names):
                names[number] = f"{self.name} subgraph {number}, signature {key}"
        return names

    def _check_outside(self) -> None:
        """Check what belongs to no subgraph: buffers kept apart from the flatbuffer, and metadata."""
        count = self.model.BuffersLength()
        for number in range(count):
            buffer = self.model.Buffers(number)
            if _is_apart(buffer) and buffer.Offset() + buffer.Size() > len(self.data):
                raise ModelError(f"buffer {number} ends at byte {buffer.Offset() + buffer.Size()} of {len(self.data)}")
        if self.model.ExternalBuffersLength():
            raise UnsupportedError("it keeps buffers in other files")
        for index in range(self.model.MetadataLength()):
            number = self.model.Metadata(index).Buffer()
            if number >= count:
                raise ModelError(f"metadata {index} refers to buffer {number} of {count}")

    def _check_signatures(self, tensors: list[int]) -> None:
        """Check that signatures name subgraphs and tensors that exist; ``tensors`` counts those of each subgraph."""
        for index in range(self.model.SignatureDefsLength()):
            signature = self.model.SignatureDefs(index)
            if signature.SubgraphIndex() >= len(tensors):
                raise ModelError(f"signature {index} is of subgraph {signature.SubgraphIndex()} of {len(tensors)}")
            count = tensors[signature.SubgraphIndex()]
            ends = [signature.Inputs(i) for i in range(signature.InputsLength())]
            ends += [signature.Outputs(i) for i in range(signature.OutputsLength())]
            for end in ends:
                _number(end.TensorIndex(), count)

    def _subgraph(self, main: Any, name: str) -> Graph:
        tensors = self._list(main.TensorsLength, "tensors", lambda i: self._tensor(i, main.Tensors(i)))
        count = len(tensors)
        if main.OperatorsLength() > OPERATORS:
            raise ModelError(f"it has {main.OperatorsLength()} operators, more than the {OPERATORS} that are read")
        operators = self._list(main.OperatorsLength, "operators", lambda i: self._operator(i, main.Operators(i), count))
        inputs = self._list(main.InputsLength, "inputs", lambda i: _number(main.Inputs(i), count))
        outputs = self._list(main.OutputsLength, "outputs", lambda i: _number(main.Outputs(i), count))
        problems = {operator.index: problem for operator in operators if (problem := self._misread(operator, main))}
        # Some files list constants too: who fills those writes over the model, or into memory that cannot be written.
        given = tuple(number for number in inputs if not tensors[number].is_constant)
        return Graph(name, dict(enumerate(tensors)), tuple(operators), given, tuple(outputs), problems=problems)

    def _misread(self, operator: Operator, main: Any) -> str:
        """Say that LiteRT's kernel of an operator takes packed elements of 4 bits for bytes, or return nothing."""
        if operator.kind in _UNPACKS:
            return ""
        kinds = [main.Tensors(number).Type() for number in operator.inputs if number is not None]
        return "its kernel reads no elements of 4 bits" if schema.TensorType.INT4 in kinds else ""

    def _list(self, length: Callable[[], int], what: str, read: Callable[[int], Item]) -> list[Item]:
        count = length()
        self.left -= 4 * count
        if self.left < 0:
            raise ModelError(f"it claims {count} {what}, more than the file can hold")
        return [read(index) for index in range(count)]

    def _tensor(self, index: int, table: Any) -> Tensor:
        shape = tuple(self._list(table.ShapeLength, "dimensions", table.Shape))
        name = _text(table.Name(), f"the name of tensor {index}")
        dtype = _DTYPES.get(table.Type(), DType.OTHER)
        if any(size < 0 for size in shape):
            raise ModelError(f"tensor {index} ({name}) has a negative dimension: {shape}")
        data = self._data(index, table, shape, dtype)
        packed = table.Type() == schema.TensorType.INT4
        return Tensor(
            index,
            name,
            shape,
            # Only constants are unpacked to whole bytes.
            DType.INT8 if packed and data is not None else dtype,
            self._quantisation(index, table.Quantization()),
            data,
            is_variable=bool(table.IsVariable()),
            signature=self._signature(table, shape),
        )

    def _signature(self, table: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Read which dimensions the model's author left open; None where that is none."""
        found = tuple(self._list(table.ShapeSignatureLength, "dimensions", table.ShapeSignature))
        return found if len(found) == len(shape) and -1 in found else None

    def _quantisation(self, index: int, table: Any) -> Quantisation | None:
        if table is None or not table.ScaleLength():
            return None
        if table.DetailsType() != 0:
            raise UnsupportedError(f"tensor {index} has custom quantisation, only affine is known")
        scales = table.ScaleAsNumpy()
        zero_points = table.ZeroPointAsNumpy() if table.ZeroPointLength() else np.zeros(len(scales), np.int64)
        if len(zero_points) == 1 and len(scales) > 1:
            zero_points = np.repeat(zero_points, len(scales))
        if len(zero_points) != len(scales):
            raise ModelError(f"tensor {index} has {len(scales)} scales but {len(zero_points)} zero points")
        return Quantisation(scales, zero_points, table.QuantizedDimension())

    def _data(self, index: int, table: Any, shape: tuple[int, ...], dtype: DType) -> Any:
        """Read a constant's elements; those of 4 bits are unpacked to bytes, sparse ones written out."""
        number = table.Buffer()
        if number >= self.model.BuffersLength():
            raise ModelError(f"tensor {index} refers to buffer {number} of {self.model.BuffersLength()}")
        if number == 0:  # whatever some writers leave in it, it stands for no data
            return None
        buffer = self.model.Buffers(number)
        packed = table.Type() == schema.TensorType.INT4
        if not (buffer.DataLength() or _is_apart(buffer)) or (dtype.bytes is None and not packed):
            return None
        if _is_apart(buffer):
            raw = np.frombuffer(self.data, np.uint8, buffer.Size(), buffer.Offset())
        else:
            raw = buffer.DataAsNumpy()
        if table.Sparsity() is not None:
            return None if packed else self._dense(index, table.Sparsity(), raw, shape, dtype)
        elements = int(np.prod(shape, dtype=object)) if shape else 1
        needed = -(-elements // 2) if packed else elements * (dtype.bytes or 0)
        if raw.size != needed:
            raise ModelError(f"tensor {index} has {raw.size} bytes of data, its shape {shape} needs {needed}")
        if packed:
            return unpacked(raw, shape)
        data = np.frombuffer(raw.data, np.dtype(dtype.value).newbyteorder("<")).reshape(shape)
        data.flags.writeable = False
        return data

    def _dense(self, index: int, table: Any, raw: Any, shape: tuple[int, ...], dtype: DType) -> Any:
        order = tuple(self._list(table.TraversalOrderLength, "dimensions", table.TraversalOrder))
        blocks = tuple(self._list(table.BlockMapLength, "dimensions", table.BlockMap))
        levels = self._list(table.DimMetadataLength, "levels", lambda level: _level(table.DimMetadata(level)))
        if raw.size % (dtype.bytes or 1):
            raise ModelError(f"tensor {index} has {raw.size} bytes of data, which are no whole elements")
        self.left -= 8 * int(np.prod(shape, dtype=object)) // _DENSER
        if self.left < 0:
            raise ModelError(f"tensor {index} has shape {shape}, far more than its sparse data can fill")
        values = np.frombuffer(raw.data, np.dtype(dtype.value).newbyteorder("<"))
        try:
            return densify(Sparsity(order, blocks, tuple(levels)), values, shape)
        except ModelError as error:
            raise ModelError(f"tensor {index}: {error}") from None

    def _operator(self, index: int, table: Any, tensors: int) -> Operator:
        number = table.OpcodeIndex()
        if number >= self.model.OperatorCodesLength():
            raise ModelError(f"operator {index} has operator code {number} of {self.model.OperatorCodesLength()}")
        code = self.model.OperatorCodes(number)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _KINDS.get(builtin)
        if kind is None:
            raise ModelError(f"operator {index} has unknown builtin code {builtin}")
        if kind == "CUSTOM":
            kind = f"CUSTOM:{_text(code.CustomCode(), f'the code of operator {index}')}"
        if table.LargeCustomOptionsOffset() > 1 or table.LargeCustomOptionsSize() > 1:
            raise UnsupportedError(f"operator {index} keeps its options outside the flatbuffer (model over 2 GB)")
        inputs = self._list(
            table.InputsLength,
            "operator inputs",
            lambda i: None if table.Inputs(i) == -1 else _number(table.Inputs(i), tensors),
        )
        outputs = self._list(table.OutputsLength, "operator outputs", lambda i: _number(table.Outputs(i), tensors))
        try:
            attributes = read_attributes(kind, table)
        except ModelError as error:
            raise ModelError(f"operator {index}: {error}") from None
        custom = table.CustomOptionsAsNumpy().tobytes() if table.CustomOptionsLength() else b""
        return Operator(index, kind, tuple(inputs), tuple(outputs), attributes, custom)


def unpacked(raw: Any, shape: tuple[int, ...]) -> Any:
    """Return elements of 4 bits, two a byte and the lower half first, as bytes."""
    halves = np.stack([raw << 4, raw], axis=-1).astype(np.uint8).view(np.int8) >> 4
    elements = int(np.prod(shape, dtype=object)) if shape else 1
    data = np.ascontiguousarray(halves.reshape(-1)[:elements].reshape(shape))
    data.flags.writeable = False
    return data


def _level(table: Any) -> Level:
    if table.Format() == schema.DimensionType.DENSE:
        return Level(table.DenseSize())
    return Level(
        table.DenseSize(),
        _indices(table.ArraySegmentsType(), table.ArraySegments()),
        _indices(table.ArrayIndicesType(), table.ArrayIndices()),
    )


def _indices(kind: int, union: Any) -> Any:
    name = {number: name for name, number in vars(schema.SparseIndexVector).items() if isinstance(number, int)}.get(
        kind
    )
    if union is None or name in (None, "NONE"):
        raise ModelError("a sparse dimension lacks its indices")
    table = getattr(schema, name)()
    table.Init(union.Bytes, union.Pos)
    found = table.ValuesAsNumpy()
    return np.zeros(0, np.int64) if isinstance(found, int) else found.astype(np.int64)


def _is_apart(buffer: Any) -> bool:
    """Say whether a buffer's bytes lie behind the flatbuffer, as those of models over 2 GB must, and as some writers
    place them in any model. (0 and 1 both mean that they do not.)
    """
    return bool(buffer.Offset() > 1 and buffer.Size() > 1)


def _number(number: int, tensors: int) -> int:
    if not 0 <= number < tensors:
        raise ModelError(f"tensor number {number} is outside 0..{tensors - 1}")
    return number


def _text(raw: bytes | None, what: str) -> str:
    try:
        return (raw or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{what} is not UTF-8: {raw!r}") from None
