"""Operators on integers written as what they stand for: DequantizeLinear, the operator, QuantizeLinear.

Both forms of a quantised model are then one, and whoever reads the model further needs to know one only. Values keep
their names; those that are new have names that no file can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rocketnpu.errors import ModelError

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"
"""Name of ONNX Runtime's own operators."""
_AXES_BY_INPUT = 18
"""Operator set in which reductions are told their axes by an input."""
_MOVING = {
    *("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Identity", "Pad"),
    *("Resize", "Concat", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Gather"),
}
"""Operators that, on integers, give integers of the same scale."""
Pair = tuple[str, str]
"""Names of a scale and a zero point ("" if there is none)."""


@dataclass
class _Expansion:
    model: onnx.ModelProto
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    """For each of ``nodes`` the number of the file's node that it stands for."""
    scales: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Scale and zero point of values of which they are known."""
    made: set[str] = field(default_factory=set)
    """What QuantizeLinear gives."""
    number: int = 0

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node that belongs to the file's node at work."""
        import onnx.helper

        self.nodes.append(onnx.helper.make_node(kind, inputs, outputs, **attributes))
        self.origins.append(self.number)

    def real(self, value: str, pair: Pair, axis: int | None = None) -> str:
        """Add DequantizeLinear of a value, and return the name of what it gives."""
        name = f"{value}\x00{self.number}\x00real{len(self.nodes)}"
        inputs = [value, *(part for part in pair if part)]
        self.node("DequantizeLinear", inputs, [name], **({} if axis is None else {"axis": axis}))
        return name

    def whole(self, real: str, value: str, pair: Pair) -> None:
        """Add QuantizeLinear that gives a value of the file."""
        self.node("QuantizeLinear", [real, *(part for part in pair if part)], [value])
        self.scales[value] = pair
        self.made.add(value)

    def fresh(self, what: str) -> str:
        """Return a name for a value that no file can hold."""
        return f"{what}\x00{self.number}\x00{len(self.nodes)}"

    def keep(self, node: onnx.NodeProto) -> None:
        """Add a node of the file as it is."""
        self.nodes.append(node)
        self.origins.append(self.number)


def expand(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Return the model in one form, and for each of its nodes the number of the file's node that it comes from.

    Raises:
        ModelError: a node lacks an input.
    """
    import onnx

    work = _Expansion(model)
    for number, node in enumerate(model.graph.node):
        work.number = number
        try:
            _expand_node(work, node)
        except IndexError:
            raise ModelError(f"node {node.name!r} ({node.op_type}) lacks an input or output") from None
    done = onnx.ModelProto()
    done.CopyFrom(model)
    del done.graph.node[:]
    done.graph.node.extend(work.nodes)
    return done, tuple(work.origins)


def _expand_node(work: _Expansion, node: onnx.NodeProto) -> None:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain in ("", "ai.onnx", MICROSOFT):
        _linear(work, node)
    elif node.op_type in _WRITERS and node.domain in ("", "ai.onnx", MICROSOFT):
        _WRITERS[node.op_type](work, node)
    elif node.op_type in _MOVING and not node.domain and _scales_of(work, node) is not None:
        _moving(work, node)
    else:
        work.keep(node)


def _linear(work: _Expansion, node: onnx.NodeProto) -> None:
    """Keep QuantizeLinear and DequantizeLinear, those of ONNX Runtime's own set as the standard ones."""
    import onnx

    same = onnx.NodeProto()
    same.CopyFrom(node)
    same.domain = ""
    pair = (node.input[1], node.input[2] if len(node.input) > 2 else "")
    if node.op_type == "QuantizeLinear":
        work.scales[node.output[0]] = pair
        work.made.add(node.output[0])
    work.keep(same)


def _scales_of(work: _Expansion, node: onnx.NodeProto) -> Pair | None:
    """Return the scale of the integers that a node moves, or None where it moves none, or of several scales."""
    moved = list(node.input) if node.op_type == "Concat" else list(node.input[:1])
    found = {work.scales.get(name) for name in moved}
    pair = found.pop() if len(found) == 1 else None
    return pair if pair is not None and all(name in work.made for name in moved) else None


def _moving(work: _Expansion, node: onnx.NodeProto) -> None:
    """Write an operator that moves integers as one that moves real numbers."""
    import onnx

    pair = _scales_of(work, node)
    assert pair is not None
    moved = len(node.input) if node.op_type == "Concat" else 1
    same = onnx.NodeProto()
    same.CopyFrom(node)
    for position in range(moved):
        same.input[position] = work.real(node.input[position], pair)
    if node.op_type == "Pad":
        _pad_bytes(work, same, pair)
    names = [work.fresh(name) for name in node.output]
    del same.output[:]
    same.output.extend(names)
    work.keep(same)
    for real, name in zip(names, node.output, strict=True):
        work.whole(real, name, pair)


def _pad_bytes(work: _Expansion, pad: onnx.NodeProto, pair: Pair) -> None:
    """Give Pad the real number of the integer that it adds: of 0 where it is told none, whatever the zero point is."""
    import onnx
    import onnx.helper

    added = pad.input[2] if len(pad.input) > 2 else ""
    zero_type = next((tensor.data_type for tensor in work.model.graph.initializer if tensor.name == pair[1]), None)
    if not added and pair[1]:
        added = work.fresh("nothing")
        kind = onnx.TensorProto.UINT8 if zero_type is None else zero_type
        work.node("Constant", [], [added], value=onnx.helper.make_tensor(added, kind, [], [0]))
    if added:
        places = [*pad.input[:2], work.real(added, pair), *pad.input[3:]]
        del pad.input[:]
        pad.input.extend(places)


def _attributes(node: onnx.NodeProto, *left_out: str) -> dict[str, Any]:
    from rocketnpu.model.onnx.values import attributes_of

    return {name: value for name, value in attributes_of(node).items() if name not in left_out}


def _convolution(work: _Expansion, node: onnx.NodeProto) -> None:
    x, xs, xz, w, ws, wz, ys, yz = node.input[:8]
    inputs = [work.real(x, (xs, xz)), work.real(w, (ws, wz), axis=0)]
    if len(node.input) > 8 and node.input[8]:
        inputs.append(_bias(work, node.input[8], xs, ws))
    _finish(work, node, "Conv", inputs, (ys, yz))


def _bias(work: _Expansion, bias: str, *scales: str) -> str:
    """Add DequantizeLinear of a bias, whose scale is the product of the others."""
    product = work.fresh("scale")
    work.node("Mul", list(scales), [product])
    return work.real(bias, (product, ""), axis=0)


def _finish(
    work: _Expansion, node: onnx.NodeProto, kind: str, inputs: Sequence[str], pair: Pair, *left_out: str
) -> None:
    real = work.fresh(node.output[0])
    work.node(kind, inputs, [real], name=node.name, **_attributes(node, *left_out))
    work.whole(real, node.output[0], pair)


def _product(work: _Expansion, node: onnx.NodeProto) -> None:
    a, a_scale, az, b, bs, bz, ys, yz = node.input[:8]
    _finish(work, node, "MatMul", [work.real(a, (a_scale, az)), work.real(b, (bs, bz), axis=-1)], (ys, yz))


def _gemm(work: _Expansion, node: onnx.NodeProto) -> None:
    a, a_scale, az, b, bs, bz = node.input[:6]
    attributes = _attributes(node)
    inputs = [work.real(a, (a_scale, az)), work.real(b, (bs, bz), axis=0 if attributes.get("transB") else 1)]
    if len(node.input) > 6 and node.input[6]:
        inputs.append(_bias(work, node.input[6], a_scale, bs))
    if len(node.input) > 8 and node.input[7]:
        _finish(work, node, "Gemm", inputs, (node.input[7], node.input[8]))
    else:
        work.node("Gemm", inputs, [node.output[0]], name=node.name, **attributes)


def _pair_of(kind: str) -> Callable[[_Expansion, onnx.NodeProto], None]:
    def write(work: _Expansion, node: onnx.NodeProto) -> None:
        a, a_scale, az, b, bs, bz, ys, yz = node.input[:8]
        _finish(work, node, kind, [work.real(a, (a_scale, az)), work.real(b, (bs, bz))], (ys, yz))

    return write


def _single_of(kind: str) -> Callable[[_Expansion, onnx.NodeProto], None]:
    def write(work: _Expansion, node: onnx.NodeProto) -> None:
        if _attributes(node).get("channels_last"):
            work.keep(node)
            return
        x, xs, xz, ys, yz = node.input[:5]
        _finish(work, node, kind, [work.real(x, (xs, xz))], (ys, yz), "channels_last", "opset")

    return write


def _mean(work: _Expansion, node: onnx.NodeProto) -> None:
    x, xs, xz, ys, yz = node.input[:5]
    axes, inputs = _attributes(node).get("axes"), [work.real(x, (xs, xz))]
    opset = next((field.version for field in work.model.opset_import if field.domain == ""), 1)
    if axes is None or opset < _AXES_BY_INPUT:
        _finish(work, node, "ReduceMean", inputs, (ys, yz))
        return
    name = work.fresh("axes")
    work.node("Constant", [], [name], value_ints=axes)
    _finish(work, node, "ReduceMean", [*inputs, name], (ys, yz), "axes")


def _joined(work: _Expansion, node: onnx.NodeProto) -> None:
    names = node.input[2:]
    reals = [work.real(names[at], (names[at + 1], names[at + 2])) for at in range(0, len(names), 3)]
    _finish(work, node, "Concat", reals, (node.input[0], node.input[1]))


_WRITERS: dict[str, Callable[[_Expansion, onnx.NodeProto], None]] = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _product,
    "QGemm": _gemm,
    "QLinearAdd": _pair_of("Add"),
    "QLinearMul": _pair_of("Mul"),
    "QLinearSigmoid": _single_of("Sigmoid"),
    "QLinearLeakyRelu": _single_of("LeakyRelu"),
    "QLinearAveragePool": _single_of("AveragePool"),
    "QLinearGlobalAveragePool": _single_of("GlobalAveragePool"),
    "QLinearSoftmax": _single_of("Softmax"),
    "QLinearReduceMean": _mean,
    "QLinearConcat": _joined,
}
"""What an operator on integers stands for, by its name."""


def plain_name(name: str) -> str:
    """Return a value's name for a reader: without what :func:`expand` added."""
    return name.split("\x00", maxsplit=1)[0]
