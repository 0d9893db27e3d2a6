"""Read an ``.onnx`` file into a :class:`~rocketnpu.graph.Graph`, and remember which value each tensor is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import DType, Graph, Quantisation
from rocketnpu.graph.operators import Foreign
from rocketnpu.graph.verify import verify
from rocketnpu.model.numerics import DYNAMIC
from rocketnpu.model.onnx.expand import expand, plain_name
from rocketnpu.model.onnx.handlers import KINDS, write
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.proto import Shapes, decode, nodes_inputs, prepare, read
from rocketnpu.model.onnx.step import NotTakenError, Source, Step
from rocketnpu.model.onnx.steps import Matcher
from rocketnpu.model.onnx.values import STANDARD, Values
from rocketnpu.model.onnx.writer import Port, Writer

if TYPE_CHECKING:
    import onnx

FOREIGN = "ONNX:"
"""In front of the kind of an operator that has no counterpart in the graph."""


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model that was read."""

    graph: Graph
    """Maps are NHWC; what is not understood is an operator of kind ``ONNX:name`` with its reason."""
    proto: onnx.ModelProto
    """The model as the file has it, its data at hand and its inputs' shapes fixed."""
    ports: Mapping[int, Port]
    """By tensor number: the value of the file that it holds. Others hold what the file has no name for."""
    nodes: Mapping[int, tuple[int, ...]]
    """By operator index: numbers of the file's nodes that it stands for."""


def load(path: str | Path, shapes: Shapes | None = None) -> OnnxModel:
    """Read a model file; ``shapes`` are those of inputs, by name, that the file leaves open.

    Raises:
        ModelError: the file is missing, damaged, or no ONNX model.
        UnsupportedError: the ``onnx`` package is not installed.
    """
    path = Path(path)
    return _guarded(path.name, lambda: _read(read(path), path.name, shapes or {}))


def parse(data: bytes, name: str = "model", shapes: Shapes | None = None) -> OnnxModel:
    """Read a model from bytes, as :func:`load` does; data files are not looked for.

    Raises:
        ModelError: the bytes are damaged, or no ONNX model.
        UnsupportedError: the ``onnx`` package is not installed.
    """
    return _guarded(name, lambda: _read(decode(data, name), name, shapes or {}))


def convert(
    proto: onnx.ModelProto, name: str = "model", shapes: Shapes | None = None, *, open_batch: bool = True
) -> OnnxModel:
    """Read a model that is already an object; it is not changed.

    A batch that it leaves open is 1, unless ``open_batch`` is off, for a host that may give any.

    Raises:
        ModelError: it is inconsistent.
    """
    import onnx

    own = onnx.ModelProto()
    own.CopyFrom(proto)
    return _guarded(name, lambda: _read(own, name, shapes or {}, open_batch=open_batch))


def _guarded(name: str, step: Callable[[], OnnxModel]) -> OnnxModel:
    try:
        return step()
    except (ModelError, UnsupportedError) as error:
        text = " ".join(str(error).split())  # names may hold line ends
        raise type(error)(
            text if text.startswith((name, "cannot read", "reading ONNX")) else f"{name}: {text}"
        ) from None
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        AssertionError,
    ) as e:
        raise ModelError(f"{name} is damaged: {type(e).__name__}: {' '.join(str(e).split())[:200]}") from None


def _read(proto: onnx.ModelProto, name: str, shapes: Shapes, *, open_batch: bool = True) -> OnnxModel:
    import onnx

    fixed = prepare(proto, name, shapes, open_batch=open_batch)
    expanded, origins = expand(fixed)
    if len(expanded.graph.node) != len(fixed.graph.node):
        try:
            expanded = onnx.shape_inference.infer_shapes(expanded, data_prop=True)
        except Exception as error:
            raise ModelError(" ".join(str(error).split())[:300]) from None
    values = Values.of(expanded)
    matcher = Matcher(values, KINDS)
    return _Reader(name, fixed, values, matcher, origins).model()


class _Reader:
    """Writes the graph, node by node."""

    def __init__(
        self, name: str, proto: onnx.ModelProto, values: Values, matcher: Matcher, origins: tuple[int, ...]
    ) -> None:
        self.name, self.proto, self.values, self.matcher, self.origins = name, proto, values, matcher, origins
        self.out = Writer(values)
        self.covered: dict[int, tuple[int, ...]] = {}
        """By operator index: nodes of the expanded model."""

    def model(self) -> OnnxModel:
        """Write everything."""
        for name in self.values.inputs:
            self._given(name)
        refused: set[int] = set()
        inside = {number for step in self.matcher.steps.values() for number in step.nodes}
        for number, node in enumerate(self.values.model.graph.node):
            self.out.node = number
            step = self.matcher.steps.get(number)
            if step is not None and not self._step(step):
                refused.update(step.nodes)
            if number not in inside or number in refused:
                self._host(number, node)
        outputs = [self._plain(name) for name in self.values.outputs]
        inputs = tuple(self.out.homes[name] for name in self.values.inputs)
        operators, bundles = tuple(self.out.operators), tuple(self._bundles())
        graph = Graph(self.name, self.out.tensors, operators, inputs, tuple(outputs), bundles)
        verify(graph)
        nodes = {index: tuple(sorted({self.origins[n] for n in found})) for index, found in self.covered.items()}
        return OnnxModel(graph, self.proto, self.out.ports, nodes)

    def _bundles(self) -> Iterator[frozenset[int]]:
        """Yield operators between which lie tensors that are no value of the file."""
        together: dict[int, set[int]] = {}
        makers = {number: operator.index for operator in self.out.operators for number in operator.outputs}
        for operator in self.out.operators:
            for number in operator.inputs:
                maker = None if number is None or number in self.out.ports else makers.get(number)
                if maker is not None:
                    joined = together.setdefault(maker, {maker}) | together.setdefault(operator.index, {operator.index})
                    together |= dict.fromkeys(joined, joined)
        yield from dict.fromkeys(frozenset(members) for members in together.values())

    def _given(self, name: str) -> None:
        shape, dtype = self.values.shapes.get(name), self.values.types.get(name, DType.OTHER)
        if shape is None:
            raise ModelError(f"the shape of input {name!r} is open: give it, as in --input {name}=1x3x224x224")
        self.out.value(name, Layout.plain(shape), dtype, self._quantisation(name))

    def _quantisation(self, name: str) -> Quantisation | None:
        """Return the scale of integers that a model is given, as the first DequantizeLinear has it."""
        for number in self.values.readers.get(name, []):
            node = self.values.model.graph.node[number]
            if node.op_type == "DequantizeLinear" and node.input[0] == name:
                return self.matcher.quantisation(node)
        return None

    def _step(self, step: Step) -> bool:
        """Write a step; say whether it could be."""
        mark = self.out.mark()
        try:
            for source in step.sources:
                self._quantised(source)
            write(step, self.out)
        except NotTakenError as error:
            self.out.back(mark)
            self.matcher.reasons.setdefault(self._computing(step), str(error))
            return False
        self.covered |= dict.fromkeys(range(mark[1], len(self.out.operators)), step.nodes)
        return True

    def _computing(self, step: Step) -> int:
        return self.values.producers[step.node.output[0]]

    def _quantised(self, source: Source | None) -> None:
        """Refuse what nobody could have made a tensor of."""
        if source is not None and source.data is None and source.name not in self.out.homes:
            raise NotTakenError(f"{plain_name(source.name)!r} has no tensor")

    def _host(self, number: int, node: onnx.NodeProto) -> None:
        """Write a node that stays with the host."""
        if all(name in self.values.constants for name in node.output if name):
            return
        if node.op_type == "DequantizeLinear" and self._all_quantised(node):
            return
        self.out.node = number
        start = len(self.out.operators)
        if node.op_type == "QuantizeLinear":
            self._quantize(node)
        else:
            self._foreign(number, node)
        self.covered |= dict.fromkeys(range(start, len(self.out.operators)), (number,))

    def _all_quantised(self, node: onnx.NodeProto) -> bool:
        """Say whether DequantizeLinear can wait for somebody who reads its real numbers."""
        return node.input[0] in self.out.homes or node.input[0] in self.values.constants

    def _quantize(self, node: onnx.NodeProto) -> None:
        try:
            target = self.matcher.target(node)
            number = self._given_real(node.input[0])
            shape = self.out.tensors[number].shape
            result = self.out.result(target, Layout.plain(shape))
            self.out.operator("QUANTIZE", [number], [result])
        except NotTakenError as error:
            self.matcher.reasons.setdefault(self.values.producers[node.output[0]], str(error))
            self._foreign(self.values.producers[node.output[0]], node)

    def _given_real(self, name: str) -> int:
        number = self._real(name)
        if number is None or self.out.tensors[number].is_dynamic:
            raise NotTakenError("its input is constant, or of unknown shape")
        return number

    def _real(self, name: str) -> int | None:
        """Return a tensor in the file's own order that a host can read; None for constants, dequantised ones too."""
        if name in self.values.constants:
            return None
        if name not in self.out.homes:
            maker = self.values.maker(name)
            if maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in self.values.constants:
                return None
            if maker is None or maker.op_type != "DequantizeLinear" or maker.input[0] not in self.out.homes:
                raise ModelError(f"nothing makes {plain_name(name)!r}")
            place = self.values.producers[name]
            self._dequantize(place, maker)
        return self._plain(name)

    def _dequantize(self, place: int, node: onnx.NodeProto) -> None:
        """Write DequantizeLinear that somebody reads as real numbers."""
        start, mark = len(self.out.operators), self.out.mark()
        whole = self.out.homes[node.input[0]]
        tensor, layout = self.out.tensors[whole], self.out.ports[whole].layout
        try:
            self.matcher.check_scale(node, tensor.quantisation)
            if layout.is_flat:
                shape = self.values.shapes.get(node.input[0], ())
                whole, layout = self.out.moved(whole, layout, Layout.plain(shape)), Layout.plain(shape)
            self.out.operator("DEQUANTIZE", [whole], [self.out.value(node.output[0], layout, DType.FLOAT32)])
        except NotTakenError as error:
            self.out.back(mark)
            self.matcher.reasons.setdefault(place, str(error))
            self._foreign(place, node)
        self.covered |= dict.fromkeys(range(start, len(self.out.operators)), (place,))

    def _plain(self, name: str) -> int:
        """Return a value in the file's own order."""
        if name in self.values.constants:
            return self._constant(name)
        if name not in self.out.homes:
            found = self._real(name)
            if found is not None:
                return found
            self._constant_output(name)
        number = self.out.homes[name]
        layout = self.out.ports[number].layout
        if self.out.tensors[number].is_dynamic:
            return number
        shape = layout.value_shape if not layout.is_flat else self.values.shapes.get(name, ())
        if layout.is_flat and math.prod(shape) != self.out.tensors[number].elements:
            raise ModelError(f"the shape of {plain_name(name)!r} is not known")
        return self.out.moved(number, layout, Layout.plain(shape))

    def _constant_output(self, name: str) -> None:
        """Have the host dequantise a constant that the model returns."""
        place, start = self.values.producers[name], len(self.out.operators)
        self._foreign(place, self.values.model.graph.node[place])
        self.covered |= dict.fromkeys(range(start, len(self.out.operators)), (place,))

    def _constant(self, name: str) -> int:
        if name in self.out.homes:
            return self.out.homes[name]
        array = self.values.constants[name]
        dtype = self.values.types[name]
        number = self.out.add(name, array.shape, dtype, None, array)
        self.out.ports[number] = Port(name, Layout.plain(array.shape))
        self.out.homes[name] = number
        return number

    def _foreign(self, number: int, node: onnx.NodeProto) -> None:
        """Write a node as an operator that the graph does not know."""
        found = [self._real(name) for name in dict.fromkeys(nodes_inputs(node))]
        inputs = [number for number in found if number is not None]
        outputs = []
        for name in node.output:
            if not name:
                continue
            shape, dtype = self.values.shapes.get(name), self.values.types.get(name, DType.OTHER)
            layout = Layout.plain(shape if shape is not None else ())
            outputs.append(self.out.value(name, layout, dtype, dynamic=shape is None))
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        reason = self.matcher.reasons.get(number, f"{kind} has no counterpart on the NPU")
        if f"{FOREIGN}{kind}" in DYNAMIC:
            reason = f"{kind} quantises at run time: the NPU needs scales that are known before (quantise statically)"
        title = f"node {plain_name(node.name)!r}: " if node.name else ""
        attributes = Foreign(f"{title}{reason}", self._macs(node))
        self.out.operator(f"{FOREIGN}{kind}", inputs, outputs, attributes)

    def _macs(self, node: onnx.NodeProto) -> int:
        """Return the multiply-accumulates of a product that stays with the host."""
        if node.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose") or len(node.input) < 2:
            return 0
        first, second, result = (self.values.shapes.get(name) for name in (*node.input[:2], node.output[0]))
        if not first or not second or not result:
            return 0
        if node.op_type == "ConvTranspose":
            return math.prod(first) * math.prod(second[1:])
        if node.op_type == "Conv":
            return math.prod(result) * math.prod(second[1:])
        return math.prod(result) * first[-1]
