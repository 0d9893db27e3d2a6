"""Which nodes of a model are one operator on integers: DequantizeLinear, what is computed, a clamp, QuantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Quantisation
from rocketnpu.model.onnx.expand import plain_name
from rocketnpu.model.onnx.step import NotTakenError, Source, Step, Target, spread
from rocketnpu.model.onnx.values import STANDARD, Values, attributes_of

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
CLAMPS = ("Relu", "Clip")
VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that move values, whether these are quantised yet or not."""
ELEMENTWISE = {
    *("Abs", "Add", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu"),
    *("Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu"),
}
"""Operators that work on each element by itself: a chain of them between bytes is a function of a byte."""
_PAIRS = ("Add", "Sub", "Mul", "Max", "Min")
_BYTES = (DType.INT8, DType.UINT8)
_CHAIN = 32
"""Nodes of a chain, at most."""


@dataclass(frozen=True, eq=False)
class _End:
    """What follows one output of an operator."""

    target: Target
    nodes: tuple[int, ...]
    clamp: tuple[float, float] | None
    views: tuple[onnx.NodeProto, ...]


class Matcher:
    """Finds the steps of a model, and why other nodes are none."""

    def __init__(self, values: Values, kinds: frozenset[str]) -> None:
        """Look for operators of ``kinds``."""
        self.values = values
        self.reasons: dict[int, str] = {}
        """By number of a node that computes and belongs to no step."""
        self.steps: dict[int, Step] = {}
        """By number of the node that computes, of a chain by its QuantizeLinear: what a step reads is made before."""
        self._taken: set[int] = set()
        nodes = list(enumerate(values.model.graph.node))
        for number, node in nodes:
            if node.op_type in kinds and node.domain in STANDARD:
                self._try(number, node, self._single)
        for number, node in nodes:
            if node.op_type == "QuantizeLinear" and number not in self._taken:
                self._try(number, node, self._chain)

    def _try(self, number: int, node: onnx.NodeProto, match: Any) -> None:
        if number in self._taken or all(name in self.values.constants for name in node.output):
            return
        try:
            step = match(number, node)
        except NotTakenError as error:
            self.reasons.setdefault(number, str(error))
            return
        if step is not None:
            self.steps[number] = step
            self._taken.update(step.nodes)
            for found in step.nodes:
                self.reasons.pop(found, None)

    def _single(self, number: int, node: onnx.NodeProto) -> Step | None:
        """Match one operator, with a bias behind a product and a clamp behind either."""
        sources = tuple(self.source(name) if name else None for name in node.input)
        self._need_bytes(node, sources)
        if node.op_type in _PAIRS and any(source is not None and source.quantisation is None for source in sources):
            raise NotTakenError("an operand is constant, and not quantised")
        nodes, biased = {number}, None
        if node.op_type == "MatMul":
            biased = self._bias(node)
        ends = [self._end(name) for name in ((biased[0].output[0],) if biased else node.output)]
        clamps, views = {end.clamp for end in ends}, [end.views for end in ends]
        if len(clamps) > 1:
            raise NotTakenError("its outputs are clamped in different ways")
        if biased:
            sources = (*sources, biased[1])
            nodes.add(self.values.producers[biased[0].output[0]])
        if len(views) > 1 and any(views):
            raise NotTakenError("its outputs are seen in other shapes before they are quantised")
        nodes |= {inner for end in ends for inner in end.nodes}
        nodes |= set(self._own_dequantisers(node))
        targets = tuple(end.target for end in ends)
        found = tuple(sorted(nodes))
        return Step(node, node.op_type, sources, targets, clamps.pop(), found, attributes_of(node), (), views[0])

    def _need_bytes(self, node: onnx.NodeProto, sources: tuple[Source | None, ...]) -> None:
        found = [source for source in sources if source is not None and source.data is None]
        if not found and any(name and name not in self.values.constants for name in node.input):
            raise NotTakenError(f"it is not quantised: its input {self._first_real(node)!r} is made of real numbers")
        if not found:
            raise NotTakenError("it reads constants only")
        for name, source in zip(node.input, sources, strict=True):
            if name and source is None:
                raise NotTakenError(f"its input {plain_name(name)!r} is made of real numbers")

    def _first_real(self, node: onnx.NodeProto) -> str:
        return plain_name(next(name for name in node.input if name and name not in self.values.constants))

    def _bias(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, Source] | None:
        """Find the addition of a constant behind MatMul."""
        addition = self.values.only_reader(node.output[0])
        if addition is None or addition.op_type != "Add" or addition.domain not in STANDARD:
            return None
        other = next((name for name in addition.input if name != node.output[0]), None)
        source = None if other is None else self.source(other)
        return None if source is None or source.data is None else (addition, source)

    def _end(self, name: str) -> _End:
        """Follow an output through a clamp, and through what only moves values, to QuantizeLinear."""
        nodes, clamp, views = list[int](), None, list["onnx.NodeProto"]()
        reader = self.values.only_reader(name)
        if reader is not None and reader.op_type in CLAMPS and reader.domain in STANDARD and reader.input[0] == name:
            clamp = self._bounds(reader)
            nodes.append(self.values.producers[reader.output[0]])
            name = reader.output[0]
            reader = self.values.only_reader(name)
        while reader is not None and reader.op_type in VIEWS and reader.domain in STANDARD and reader.input[0] == name:
            views.append(reader)
            nodes.append(self.values.producers[reader.output[0]])
            name = reader.output[0]
            reader = self.values.only_reader(name)
        if reader is None or reader.op_type != "QuantizeLinear" or reader.input[0] != name:
            raise NotTakenError("its result is not quantised" if reader is not None else "its result has no one reader")
        nodes.append(self.values.producers[reader.output[0]])
        return _End(self.target(reader), tuple(nodes), clamp, tuple(views))

    def _bounds(self, node: onnx.NodeProto) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, float("inf")
        attributes = attributes_of(node)
        found = [float(attributes.get("min", "-inf")), float(attributes.get("max", "inf"))]
        for position in (1, 2):
            name = node.input[position] if len(node.input) > position else ""
            if name:
                source = self.source(name)
                if source is None or source.data is None or source.data.size != 1:
                    raise NotTakenError("the clamp behind it has bounds that are computed")
                found[position - 1] = _number(source)
        return found[0], found[1]

    def _own_dequantisers(self, node: onnx.NodeProto) -> Iterator[int]:
        """Yield DequantizeLinear nodes that only this node reads."""
        for name in node.input:
            number = self.values.producers.get(name)
            maker = self.values.maker(name)
            if number is None or maker is None or self.values.only_reader(name) is None:
                continue
            if maker.op_type == "DequantizeLinear":
                yield number

    def source(self, name: str) -> Source | None:
        """Return what a node reads as a source; None for real numbers that are computed."""
        if name in self.values.constants:
            return Source(name, None, self.values.constants[name])
        maker = self.values.maker(name)
        if maker is None or maker.domain not in STANDARD:
            return None
        if maker.op_type == "DequantizeLinear":
            return self._dequantised(maker)
        if maker.op_type in ("Transpose", "Reshape", "Identity", "Unsqueeze", "Squeeze"):
            return self._moved_constant(maker)
        return None

    def _dequantised(self, node: onnx.NodeProto) -> Source | None:
        quantisation = self.quantisation(node)
        if quantisation is None:
            return None
        whole = node.input[0]
        data = self.values.constants.get(whole)
        maker = self.values.maker(whole)
        if data is None and maker is not None and maker.op_type == "QuantizeLinear":
            data = self._quantised_constant(maker)
        return Source(whole, quantisation, data)

    def _quantised_constant(self, node: onnx.NodeProto) -> Array | None:
        real, quantisation = self.values.constants.get(node.input[0]), self.quantisation(node)
        if real is None or quantisation is None or real.dtype.kind != "f":
            return None
        kind = np.dtype(self._type_of(node).value)
        scales, zero_points = spread(quantisation, real.ndim)
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(np.rint(real.astype(np.float32) / scales))
        limits = np.iinfo(kind)
        found: Array = np.clip(steps + zero_points, limits.min, limits.max).astype(kind)
        return found

    def _moved_constant(self, node: onnx.NodeProto) -> Source | None:
        """Return quantised weights whose axes a node moves."""
        inner = self.source(node.input[0])
        if inner is None or inner.data is None or inner.quantisation is None or node.op_type != "Transpose":
            return None
        order = attributes_of(node).get("perm", list(range(inner.data.ndim))[::-1])
        if sorted(order) != list(range(inner.data.ndim)):
            raise ModelError(f"node {node.name!r} transposes {inner.data.ndim} axes by {order}")
        quantisation = inner.quantisation
        if quantisation.is_per_channel:
            quantisation = Quantisation(quantisation.scales, quantisation.zero_points, order.index(quantisation.axis))
        return Source(inner.name, quantisation, inner.data.transpose(order))

    def target(self, node: onnx.NodeProto) -> Target:
        """Return what QuantizeLinear writes.

        Raises:
            NotTakenError: its scale is computed, or its type is none of bytes.
        """
        quantisation, dtype = self.quantisation(node), self._type_of(node)
        if quantisation is None:
            raise NotTakenError("the scale of its result is computed at run time, or a value of its own for each block")
        if dtype not in _BYTES:
            raise NotTakenError(f"its result is quantised to {dtype.value}")
        return Target(node.output[0], quantisation, dtype)

    def quantisation(self, node: onnx.NodeProto) -> Quantisation | None:
        """Return the scale and zero point of QuantizeLinear or DequantizeLinear; None where they are computed."""
        attributes = attributes_of(node)
        zero = node.input[2] if len(node.input) > 2 else ""
        scales = self._scale(node.input[1]) if len(node.input) > 1 else None
        if scales is None or (zero and zero not in self.values.constants) or attributes.get("block_size", 0):
            return None
        if scales.dtype.kind != "f" or scales.ndim > 1 or not scales.size:
            return None
        zero_points = self.values.constants[zero] if zero else np.zeros(scales.shape, np.int64)
        if zero_points.dtype.kind not in "iu" or zero_points.size != scales.size:
            return None
        rank = len(self.values.shapes.get(node.input[0], ()))
        axis = int(attributes.get("axis", 1))
        axis = axis + rank if axis < 0 else axis
        found = scales.reshape(-1).astype(np.float32), zero_points.reshape(-1).astype(np.int64)
        if not np.all(np.isfinite(found[0])) or np.any(found[0] <= 0):
            raise NotTakenError(f"a scale of {float(found[0].min()):g}")
        return Quantisation(*found, axis if scales.size > 1 else 0)

    def check_scale(self, node: onnx.NodeProto, written: Quantisation | None) -> None:
        """Check that DequantizeLinear reads a value with the scale that it was written with.

        Raises:
            NotTakenError: it does not.
        """
        quantisation = self.quantisation(node)
        if quantisation is None or not quantisation.same_as(written):
            raise NotTakenError("it reads bytes with a scale that they were not written with")

    def _scale(self, name: str) -> Array | None:
        """Return a constant scale; the product of two, which is a bias's, is folded when it is read."""
        return self.values.constants.get(name)

    def _type_of(self, node: onnx.NodeProto) -> DType:
        if len(node.input) > 2 and node.input[2]:
            return self.values.types.get(node.input[2], DType.OTHER)
        return self.values.types.get(node.output[0], DType.UINT8)

    def _chain(self, number: int, node: onnx.NodeProto) -> Step | None:
        """Match element functions between one quantised value and QuantizeLinear, or nothing between them."""
        target = self.target(node)
        variables: dict[str, Source] = {}
        inner: dict[int, onnx.NodeProto] = {}
        dequantisers: dict[int, str] = {}
        waiting = [node.input[0]]
        while waiting:
            name = waiting.pop()
            source, place = self.source(name), self.values.producers.get(name)
            if source is not None:
                self._leaf(source, variables)
                if source.data is None and place is not None:
                    dequantisers[place] = name
            elif place is not None and place not in inner:
                inner[place] = self._link(place, len(inner))
                waiting.extend(read for read in inner[place].input if read)
            elif place is None:
                raise NotTakenError("it quantises real numbers that the model is given")
        if len(variables) != 1:
            raise NotTakenError(f"real numbers of {len(variables)} quantised values meet in it")
        for place, link in inner.items():
            if not self._only_inside(link.output[0], {*inner, number}):
                raise NotTakenError(
                    f"the real numbers of {self.values.model.graph.node[place].op_type} are read elsewhere"
                )
        own = {place for place, name in dequantisers.items() if self._only_inside(name, {*inner, number})}
        (variable,) = variables.values()
        chain = tuple(inner[place] for place in sorted(inner))
        nodes = tuple(sorted({*inner, *own, number}))
        return Step(node, "Chain" if chain else "Requantise", (variable,), (target,), None, nodes, {}, chain)

    def _link(self, place: int, length: int) -> onnx.NodeProto:
        maker = self.values.model.graph.node[place]
        if place in self._taken:
            raise NotTakenError("it quantises real numbers that were quantised before")
        if maker.op_type not in ELEMENTWISE or maker.domain not in STANDARD or length >= _CHAIN:
            raise NotTakenError(f"it quantises real numbers of {maker.op_type}, which the host computes")
        return maker

    def _only_inside(self, name: str, nodes: set[int]) -> bool:
        return set(self.values.readers.get(name, [])) <= nodes and name not in self.values.outputs

    def _leaf(self, source: Source, variables: dict[str, Source]) -> None:
        if source.data is None:
            variables[source.name] = source
        elif source.data.size != 1:
            raise NotTakenError("a constant of many values takes part in it")


def _number(source: Source) -> float:
    assert source.data is not None
    value = float(source.data.reshape(-1)[0])
    if source.quantisation is not None:
        return (value - source.quantisation.zero_point) * source.quantisation.scale
    return value
