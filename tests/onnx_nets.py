"""Quantised ONNX models, written node by node, in either form; and random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from rocketnpu.program.program import Binding, Program

Array = npt.NDArray[Any]
KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
SPREAD = 6.0
"""Steps of 256 over standard deviations: how a calibrated tensor's range lies to its values."""


@dataclass(frozen=True)
class Value:
    """A quantised value: its name, shape, scale and zero point, and about how far its real numbers spread."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero: int
    spread: float


class Net:
    """Writes a model. ``form`` is ``qdq`` or ``qoperator``; ``kind`` the type of activations."""

    def __init__(self, seed: int = 0, form: str = "qdq", kind: str = "uint8", weights: str = "int8") -> None:
        self.random = np.random.default_rng(seed)
        self.form, self.kind, self.weights = form, kind, weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.count = 0
        self.ends: list[Value] = []
        self.clamps = form == "qdq"
        self.opset = 17

    # -- parts ---------------------------------------------------------------------------------------------------

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}_{self.count}"

    def constant(self, array: Array, what: str = "c") -> str:
        name = self.name(what)
        self.constants.append(numpy_helper.from_array(np.array(array), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, self.name(kind), domain=domain, **attributes))

    def parameters(self, scale: float, zero: int) -> list[str]:
        return [self.constant(np.float32(scale), "scale"), self.constant(np.array(zero, self.kind), "zero")]

    def real(self, value: Value) -> str:
        name = self.name("real")
        self.node("DequantizeLinear", [value.name, *self.parameters(value.scale, value.zero)], [name])
        return name

    def whole(
        self, real: str, shape: tuple[int, ...], spread: float, like: Value | None = None, low: float | None = None
    ) -> Value:
        scale, zero = (like.scale, like.zero) if like is not None else self.scale(spread, low)
        name = self.name("whole")
        self.node("QuantizeLinear", [real, *self.parameters(scale, zero)], [name])
        return Value(name, shape, scale, zero, spread)

    def scale(self, spread: float, low: float | None = None) -> tuple[float, int]:
        """Choose a scale and zero point for numbers that spread so far; ``low`` is the least of them."""
        least = np.iinfo(self.kind).min
        if low is not None:
            return float(np.float32((SPREAD / 2 * spread) / 255)), int(
                least - np.rint(low / (SPREAD / 2 * spread / 255))
            )
        off = int(self.random.integers(-20, 21))
        return float(np.float32(SPREAD * spread / 255)), least + 128 + off

    def input(self, shape: tuple[int, ...], scale: float = 1 / 64, zero: int = 128) -> Value:
        name = self.name("input")
        zero += np.iinfo(self.kind).min
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        value = Value(self.name("whole"), shape, scale, zero, 74 * scale)
        self.node("QuantizeLinear", [name, *self.parameters(scale, zero)], [value.name])
        return value

    def _weights(self, shape: tuple[int, ...], axis: int, per_channel: bool) -> tuple[Array, Array, Array]:
        kind = np.iinfo(self.weights)
        data = self.random.integers(kind.min + (self.weights == "int8"), kind.max, shape, self.weights, endpoint=True)
        count = shape[axis] if per_channel else 1
        scales = (self.random.uniform(0.5, 2.0, count) / 512).astype(np.float32)
        zeros = np.full(count, 0 if self.weights == "int8" else 128 + int(self.random.integers(-9, 10)), self.weights)
        return data, (scales if per_channel else scales[0]), (zeros if per_channel else zeros[0])

    def _bias(self, channels: int, source: Value, scales: Array, spread: float) -> tuple[Array, Array]:
        steps = np.broadcast_to(np.float32(source.scale) * scales, channels).astype(np.float32)
        data = np.rint(self.random.normal(0, spread / 4, channels) / steps).astype(np.int32)
        return data, np.float32(source.scale) * scales

    # -- operators -----------------------------------------------------------------------------------------------

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: tuple[int, ...],
        *,
        group: int = 1,
        per_channel: bool = True,
        clamp: str = "",
        bias: bool = True,
        transposed: bool = False,
        **attributes: Any,
    ) -> Value:
        given = x.shape[1]
        shape = (given, channels // group, *kernel) if transposed else (channels, given // group, *kernel)
        axis = 1 if transposed else 0
        data, scales, zeros = self._weights(shape, axis, per_channel)
        reads = math.prod(kernel) * given // group
        spread = x.spread * 74 * float(np.mean(scales)) * math.sqrt(reads)
        w = [self.constant(data, "w"), self.constant(scales, "ws"), self.constant(zeros, "wz")]
        kind = "ConvTranspose" if transposed else "Conv"
        b = self._bias(channels, x, scales, spread) if bias else None
        attributes = {**attributes, "group": group, "kernel_shape": kernel}
        low = 0.0 if clamp else None
        out = _shape_of(kind, x.shape, shape, attributes)
        if self.form == "qoperator" and not transposed:
            y = self.scale(spread, low)
            made = Value(self.name("whole"), out, *y, spread)
            inputs = [x.name, *self.parameters(x.scale, x.zero), *w, *self.parameters(*y)]
            inputs += [] if b is None else [self.constant(b[0], "b")]
            self.node("QLinearConv", inputs, [made.name], **attributes)
            return made
        real = self.name("w_real")
        self.node("DequantizeLinear", w, [real], **({"axis": axis} if per_channel else {}))
        inputs = [self.real(x), real]
        if b is not None:
            inputs.append(self.name("b_real"))
            zero = self.constant(np.zeros(np.shape(b[1]), np.int32), "bz")
            dequantise = [self.constant(b[0], "b"), self.constant(b[1], "bs"), zero]
            self.node("DequantizeLinear", dequantise, [inputs[-1]], **({"axis": 0} if per_channel else {}))
        result = self.name("conv")
        self.node(kind, inputs, [result], **attributes)
        return self.whole(self.clamped(result, clamp, spread), out, spread, low=low)

    def clamped(self, real: str, clamp: str, spread: float) -> str:
        if not clamp:
            return real
        name = self.name("clamped")
        if clamp == "Relu":
            self.node("Relu", [real], [name])
        else:
            bounds = [self.constant(np.float32(b), "bound") for b in (0.0, 6.0 if clamp == "Relu6" else spread)]
            self.node("Clip", [real, *bounds], [name])
        return name

    def gemm(self, x: Value, units: int, *, per_channel: bool = False, matmul: bool = False) -> Value:
        depth = x.shape[-1]
        shape = (depth, units) if matmul else (units, depth)
        axis = 1 if matmul else 0
        data, scales, zeros = self._weights(shape, axis, per_channel)
        spread = x.spread * 74 * float(np.mean(scales)) * math.sqrt(depth)
        w = [self.constant(data, "w"), self.constant(scales, "ws"), self.constant(zeros, "wz")]
        b = None if matmul else self._bias(units, x, scales, spread)
        out = (*x.shape[:-1], units)
        if self.form == "qoperator":
            y = self.scale(spread)
            made = Value(self.name("whole"), out, *y, spread)
            xs, ys = self.parameters(x.scale, x.zero), self.parameters(*y)
            if matmul:
                self.node("QLinearMatMul", [x.name, *xs, *w, *ys], [made.name])
            else:
                assert b is not None
                inputs = [x.name, *xs, *w, self.constant(b[0], "b"), *ys]
                self.node("QGemm", inputs, [made.name], "com.microsoft", transB=1)
            return made
        real = self.name("w_real")
        self.node("DequantizeLinear", w, [real], **({"axis": axis} if per_channel else {}))
        inputs, result = [self.real(x), real], self.name("product")
        if matmul:
            self.node("MatMul", inputs, [result])
        else:
            assert b is not None
            inputs.append(self.name("b_real"))
            dequantise = [self.constant(b[0], "b"), self.constant(b[1], "bs")]
            self.node("DequantizeLinear", dequantise, [inputs[-1]], **({"axis": 0} if per_channel else {}))
            self.node("Gemm", inputs, [result], transB=1)
        return self.whole(result, out, spread)

    def pair(self, kind: str, a: Value, b: Value, clamp: str = "") -> Value:
        spread = a.spread * b.spread if kind == "Mul" else math.hypot(a.spread, b.spread)
        out = tuple(np.broadcast_shapes(a.shape, b.shape))
        if self.form == "qoperator" and kind in ("Add", "Mul"):
            y = self.scale(spread)
            made = Value(self.name("whole"), out, *y, spread)
            inputs = [a.name, *self.parameters(a.scale, a.zero), b.name, *self.parameters(b.scale, b.zero)]
            self.node(f"QLinear{kind}", [*inputs, *self.parameters(*y)], [made.name], "com.microsoft")
            return made
        result = self.name("pair")
        self.node(kind, [self.real(a), self.real(b)], [result])
        return self.whole(self.clamped(result, clamp, spread), out, spread, low=0.0 if clamp else None)

    def held(self, shape: tuple[int, ...], spread: float) -> Value:
        """Return a quantised constant."""
        scale, zero = self.scale(spread)
        limits = np.iinfo(self.kind)
        data = self.random.integers(limits.min, limits.max, shape, self.kind, endpoint=True)
        return Value(self.constant(data, "held"), shape, scale, zero, spread)

    def single(
        self, kind: str, x: Value, spread: float | None = None, low: float | None = None, **attributes: Any
    ) -> Value:
        """Write an operator on one value that keeps its shape; Sigmoid and LeakyRelu have two forms."""
        spread = x.spread if spread is None else spread
        if self.form == "qoperator" and kind in ("Sigmoid", "LeakyRelu"):
            y = self.scale(spread, low)
            made = Value(self.name("whole"), x.shape, *y, spread)
            inputs = [x.name, *self.parameters(x.scale, x.zero), *self.parameters(*y)]
            self.node(f"QLinear{kind}", inputs, [made.name], "com.microsoft", **attributes)
            return made
        result = self.name(kind.lower())
        self.node(kind, [self.real(x)], [result], **attributes)
        return self.whole(result, x.shape, spread, low=low)

    def silu(self, x: Value) -> Value:
        """Write x * sigmoid(x) with nothing quantised between."""
        real, gate, result = self.real(x), self.name("gate"), self.name("silu")
        self.node("Sigmoid", [real], [gate])
        self.node("Mul", [real, gate], [result])
        return self.whole(result, x.shape, x.spread)

    def moved(
        self, kind: str, x: Value, shape: tuple[int, ...], extra: list[str] | None = None, **attributes: Any
    ) -> Value:
        """Write an operator that moves values: with the scale of its input on both sides."""
        if self.form == "qoperator" and kind != "Resize":
            made = Value(self.name("whole"), shape, x.scale, x.zero, x.spread)
            self.node(kind, [x.name, *(extra or [])], [made.name], **attributes)
            return made
        result = self.name(kind.lower())
        self.node(kind, [self.real(x), *(extra or [])], [result], **attributes)
        return self.whole(result, shape, x.spread, like=x)

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "numbers")

    def pool(self, kind: str, x: Value, kernel: tuple[int, int], **attributes: Any) -> Value:
        attributes = {**attributes, "kernel_shape": kernel}
        shape = _shape_of(kind, x.shape, (x.shape[1], 1, *kernel), attributes)
        if kind == "MaxPool":
            return self.moved(kind, x, shape, **attributes)
        return self._averaged("AveragePool", x, shape, **attributes)

    def global_average(self, x: Value) -> Value:
        return self._averaged("GlobalAveragePool", x, (*x.shape[:2], 1, 1))

    def averaged_rows(self, x: Value, view: str) -> Value:
        """Write a mean whose real numbers become a row before they are quantised."""
        mean, row, shape = self.name("mean"), self.name("row"), (x.shape[0], x.shape[1])
        self.node("ReduceMean", [self.real(x)], [mean], axes=[2, 3], keepdims=1)
        extra = {"Squeeze": [(2, 3)], "Reshape": [shape]}.get(view, [])
        self.node(view, [mean, *(self.numbers(*numbers) for numbers in extra)], [row])
        return self.whole(row, shape, x.spread / 2)

    def normalised(self, x: Value, clamp: str = "") -> Value:
        """Write BatchNormalization, its factors quantised as ONNX Runtime's quantiser does it."""
        channels, result = x.shape[1], self.name("normal")
        data = self.random.integers(-127, 128, channels).astype(np.int8)
        held = [self.constant(data, "w"), self.constant(np.float32(1 / 64), "ws"), self.constant(np.int8(0), "wz")]
        factors = self.name("w_real")
        self.node("DequantizeLinear", held, [factors])
        drawn = (self.random.normal(0, x.spread, (2, channels)), self.random.uniform(0.3, 2.0, (1, channels)))
        rest = [self.constant(row.astype(np.float32)) for rows in drawn for row in rows]
        self.node("BatchNormalization", [self.real(x), factors, *rest], [result])
        spread = 2 * x.spread
        return self.whole(self.clamped(result, clamp, spread), x.shape, spread, low=0.0 if clamp else None)

    def _averaged(self, kind: str, x: Value, shape: tuple[int, ...], **attributes: Any) -> Value:
        spread = x.spread / 2
        if self.form == "qoperator":
            y = self.scale(spread)
            made = Value(self.name("whole"), shape, *y, spread)
            inputs = [x.name, *self.parameters(x.scale, x.zero), *self.parameters(*y)]
            self.node(f"QLinear{kind}", inputs, [made.name], "com.microsoft", **attributes)
            return made
        result = self.name("average")
        self.node(kind, [self.real(x)], [result], **attributes)
        return self.whole(result, shape, spread)

    def concat(self, values: list[Value], axis: int = 1) -> Value:
        spread = max(value.spread for value in values)
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        if self.form == "qoperator":
            y = self.scale(spread)
            made = Value(self.name("whole"), tuple(shape), *y, spread)
            inputs = self.parameters(*y)
            for value in values:
                inputs += [value.name, *self.parameters(value.scale, value.zero)]
            self.node("QLinearConcat", inputs, [made.name], "com.microsoft", axis=axis)
            return made
        result = self.name("joined")
        self.node("Concat", [self.real(value) for value in values], [result], axis=axis)
        return self.whole(result, tuple(shape), spread)

    def split(self, x: Value, sizes: list[int], axis: int = 1) -> list[Value]:
        names = [self.name("part") for _ in sizes]
        extra = self.numbers(*sizes)
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        if self.form == "qoperator":
            self.node("Split", [x.name, extra], names, axis=axis)
            return [Value(n, s, x.scale, x.zero, x.spread) for n, s in zip(names, shapes, strict=True)]
        self.node("Split", [self.real(x), extra], names, axis=axis)
        return [self.whole(name, shape, x.spread, like=x) for name, shape in zip(names, shapes, strict=True)]

    def model(self, *outputs: Value) -> onnx.ModelProto:
        """Finish the model; its outputs are real numbers."""
        infos = []
        for value in outputs:
            name = self.name("output")
            self.node("DequantizeLinear", [value.name, *self.parameters(value.scale, value.zero)], [name])
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def feed(self, seed: int) -> list[Array]:
        """Return random inputs."""
        random = np.random.default_rng(seed)
        shapes = [tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in self.inputs]
        return [random.uniform(-2, 2, shape).astype(np.float32) for shape in shapes]


def _shape_of(kind: str, x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> tuple[int, ...]:
    """Ask onnx for an operator's output shape."""
    inputs = [helper.make_tensor_value_info("x", 1, x), helper.make_tensor_value_info("w", 1, w)]
    names = ["x"] if kind.endswith("Pool") else ["x", "w"]
    node = helper.make_node(kind, names, ["y"], **attributes)
    graph = helper.make_graph([node], "one", inputs[: len(names)], [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = onnx.shape_inference.infer_shapes(model).graph.output[0]
    return tuple(dim.dim_value for dim in found.type.tensor_type.shape.dim)


def same_program(mine: Program, theirs: Program) -> None:
    """Check that two programs are the same to the last byte, but for names and numbers of tensors and operators."""
    assert [(b.role, b.size, b.data) for b in mine.buffers] == [(b.role, b.size, b.data) for b in theirs.buffers]
    assert mine.commands == theirs.commands
    for field in ("offsets", "buffers", "addends"):
        np.testing.assert_array_equal(getattr(mine.relocations, field), getattr(theirs.relocations, field))
    assert len(mine.jobs) == len(theirs.jobs)
    for one, other in zip(mine.jobs, theirs.jobs, strict=True):
        assert (one.reads, one.writes, one.sentinel) == (other.reads, other.writes, other.sentinel)
        tasks = [[(t.offset, t.words, t.kind, t.macs) for t in job.tasks] for job in (one, other)]
        assert tasks[0] == tasks[1]
    assert [_placed(b) for b in mine.inputs] == [_placed(b) for b in theirs.inputs]
    assert [_placed(b) for b in mine.outputs] == [_placed(b) for b in theirs.outputs]


def _placed(binding: Binding) -> tuple[object, ...]:
    return binding.shape, binding.dtype, binding.buffer, binding.layout


# -- random nets ---------------------------------------------------------------------------------------------------


def random_net(seed: int, form: str | None = None) -> Net:
    """Write a random net of a few operators; its outputs are in ``net.ends``.

    Where the form is given both forms of a seed are one net, without clamps, for which QOperator has no word.
    """
    choose = Random(seed)
    kind = choose.choice(["uint8", "int8"])
    net = Net(seed, form or choose.choice(["qdq", "qoperator"]), kind, choose.choice(["int8", "int8", "uint8"]))
    net.clamps = form is None and net.form == "qdq"
    if kind == "int8":
        net.weights = "int8"
    shape = (1, choose.choice([1, 3, 8, 16, 17]), choose.randint(3, 12), choose.randint(3, 12))
    values = [net.input(shape)]
    for _ in range(choose.randint(1, 5)):
        values.append(_random_operator(net, choose, values))
    ends = [values[-1]]
    if choose.random() < 0.4:
        ends.append(_classified(net, choose, values[-1]))
    net.ends = ends
    return net


def _classified(net: Net, choose: Random, x: Value) -> Value:
    if net.clamps and choose.random() < 0.3:
        rows = net.averaged_rows(x, view=choose.choice(["Flatten", "Squeeze", "Reshape"]))
        return net.gemm(rows, choose.randint(2, 20))
    if choose.random() < 0.5:
        x = net.global_average(x)
    rows = net.moved("Flatten", x, (1, math.prod(x.shape)), axis=1)
    return net.gemm(rows, choose.randint(2, 20), per_channel=False, matmul=choose.random() < 0.3)


def _random_operator(net: Net, choose: Random, values: list[Value]) -> Value:
    x = values[-1]
    pick = choose.choice(
        [
            *("conv", "conv", "depthwise", "pool", "pair", "pair", "single", "move", "join", "join", "enlarge"),
            *("pick", "pick", "normalise"),
        ]
    )
    if pick == "pick":
        return _random_picks(net, choose, x)
    if pick == "normalise":
        return net.normalised(x, choose.choice(["", "Relu"])) if net.clamps else net.single("Sigmoid", x, 1 / 3, 0.0)
    if pick == "conv":
        return _random_conv(net, choose, x)
    if pick == "depthwise":
        times = choose.choice([1, 1, 2])
        return net.conv(x, x.shape[1] * times, (3, 3), group=x.shape[1], pads=[1, 1, 1, 1], **_per_channel(net, choose))
    if pick == "pool":
        return _random_pool(net, choose, x)
    if pick == "pair":
        return _random_pair(net, choose, values)
    if pick == "single":
        return _random_single(net, choose, x)
    if pick == "join":
        others = [value for value in values if (value.shape[0], *value.shape[2:]) == (x.shape[0], *x.shape[2:])]
        return net.concat([x, choose.choice(others)])
    if pick == "enlarge":
        return _enlarged(net, choose, x)
    return _random_move(net, choose, x)


def _per_channel(net: Net, choose: Random) -> dict[str, Any]:
    return {"per_channel": net.weights == "int8" and choose.random() < 0.6}


def _random_conv(net: Net, choose: Random, x: Value) -> Value:
    kernel = tuple(choose.randint(1, min(3, size)) for size in x.shape[2:])
    dilation = [
        choose.choice([1, 1, 2]) if k > 1 and size > 5 else 1 for k, size in zip(kernel, x.shape[2:], strict=True)
    ]
    pads = [choose.randint(0, k - 1) for k in (*kernel, *kernel)]
    group = choose.choice([g for g in (1, 1, 2) if x.shape[1] % g == 0])
    strides = [choose.randint(1, 2), choose.randint(1, 2)]
    extra: dict[str, Any] = {"pads": pads}
    if choose.random() < 0.3:
        # ONNX Runtime has no dilation beside SAME.
        same = ["SAME_UPPER", "SAME_LOWER"] if max(dilation) == 1 else []
        extra = {"auto_pad": choose.choice([*same, "VALID"])}
    return net.conv(
        x,
        group * choose.randint(1, 12),
        kernel,
        group=group,
        strides=strides,
        dilations=dilation,
        clamp=choose.choice(["", "", "Relu", "Clip"]) if net.clamps else "",
        bias=choose.random() < 0.8,
        **_per_channel(net, choose),
        **extra,
    )


def _random_pool(net: Net, choose: Random, x: Value) -> Value:
    kernel = tuple(choose.randint(1, min(3, size)) for size in x.shape[2:])
    if choose.random() < 0.2:
        return net.global_average(x)
    if choose.random() < 0.5:
        pads = [choose.randint(0, k // 2) for k in (*kernel, *kernel)]
        return net.pool("MaxPool", x, kernel, strides=[choose.randint(1, 2)] * 2, pads=pads)
    return net.pool("AveragePool", x, kernel, strides=[choose.randint(1, 2)] * 2)


def _random_pair(net: Net, choose: Random, values: list[Value]) -> Value:
    x = values[-1]
    kind = choose.choice(["Add", "Add", "Mul", "Sub"])
    if choose.random() < 0.3:
        other = net.held((1, x.shape[1], 1, 1) if choose.random() < 0.7 else (), x.spread)
    else:
        other = choose.choice([value for value in values if value.shape == x.shape])
    return net.pair(kind, x, other, choose.choice(["", "Relu"]) if net.clamps else "")


def _random_single(net: Net, choose: Random, x: Value) -> Value:
    kind = choose.choice(["Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Relu", "HardSigmoid", "Elu", "silu"])
    if kind == "silu":
        return net.silu(x)
    if kind in ("Sigmoid", "HardSigmoid"):
        return net.single(kind, x, 1 / 3, 0.0)
    if kind == "Tanh":
        return net.single(kind, x, 0.3)
    if kind == "LeakyRelu":
        return net.single(kind, x, alpha=choose.choice([0.01, 0.1, 0.3]))
    return net.single(kind, x, low=0.0 if kind == "Relu" else None)


def _random_move(net: Net, choose: Random, x: Value) -> Value:
    batch, channels, height, width = x.shape
    pick = choose.choice(["Slice", "Pad", "Split", "Transpose"])
    if pick == "Slice":
        axis = choose.choice([1, 2, 3])
        first = choose.randint(0, x.shape[axis] - 1)
        last = choose.randint(first + 1, x.shape[axis])
        shape = (*x.shape[:axis], last - first, *x.shape[axis + 1 :])
        return net.moved("Slice", x, shape, [net.numbers(first), net.numbers(last), net.numbers(axis)])
    if pick == "Split" and channels > 1:
        first = choose.randint(1, channels - 1)
        return choose.choice(net.split(x, [first, channels - first]))
    if pick == "Transpose":
        return net.moved("Transpose", x, (batch, channels, width, height), perm=[0, 1, 3, 2])
    edges = [choose.randint(0, 2) for _ in range(4)]
    shape = (batch, channels, height + edges[0] + edges[2], width + edges[1] + edges[3])
    extra = [net.numbers(0, 0, *edges[:2], 0, 0, *edges[2:])]
    if net.form == "qoperator":
        extra.append(net.constant(np.array(x.zero, net.kind), "zero"))
    return net.moved("Pad", x, shape, extra)


def _random_picks(net: Net, choose: Random, x: Value) -> Value:
    """Shuffle channels, make blocks of pixels channels or the other way, mirror borders, or move to another scale."""
    batch, channels, height, width = x.shape
    pick = choose.choice(["shuffle", "blocks", "pixels", "border", "gather", "rescale"])
    groups = [g for g in (2, 3, 4, 5) if channels % g == 0 and channels > g]
    if pick == "shuffle" and groups:
        g = choose.choice(groups)
        x = net.moved("Reshape", x, (1, g, channels // g, height, width), [net.numbers(1, g, -1, height, width)])
        x = net.moved("Transpose", x, (1, channels // g, g, height, width), perm=[0, 2, 1, 3, 4])
        return net.moved("Reshape", x, (batch, channels, height, width), [net.numbers(1, channels, height, width)])
    if pick == "blocks" and height % 2 == width % 2 == 0:
        return net.moved("SpaceToDepth", x, (1, 4 * channels, height // 2, width // 2), blocksize=2)
    if pick == "pixels" and channels % 4 == 0:
        shape = (1, channels // 4, 2 * height, 2 * width)
        return net.moved("DepthToSpace", x, shape, blocksize=2, mode=choose.choice(["DCR", "CRD"]))
    if pick == "gather":
        chosen = [choose.randrange(channels) for _ in range(choose.randint(1, 20))]
        return net.moved("Gather", x, (1, len(chosen), height, width), [net.numbers(*chosen)], axis=1)
    if pick == "rescale" and net.clamps:
        kind = choose.choice(["Transpose", "GlobalMaxPool", "MaxPool"])
        result = net.name("moved")
        attributes = {"Transpose": {"perm": [0, 1, 3, 2]}, "MaxPool": {"kernel_shape": [2, 2]}}.get(kind, {})
        shape = {"Transpose": (1, channels, width, height), "GlobalMaxPool": (1, channels, 1, 1)}.get(
            kind, (1, channels, height - 1, width - 1)
        )
        if min(shape) > 0:
            net.node(kind, [net.real(x)], [result], **attributes)
            return net.whole(result, shape, x.spread * choose.choice([0.7, 1.5]))
    mode = choose.choice(["reflect", "edge"])
    if height < 3 or width < 3:
        return net.single("Tanh", x, 0.3)
    edges = [choose.randint(1, 2), *(choose.randint(0, 2) for _ in range(3))]
    shape = (1, channels, height + edges[0] + edges[2], width + edges[1] + edges[3])
    return net.moved("Pad", x, shape, [net.numbers(0, 0, *edges[:2], 0, 0, *edges[2:])], mode=mode)


def _enlarged(net: Net, choose: Random, x: Value) -> Value:
    batch, channels, height, width = x.shape
    if choose.random() < 0.4 and max(height, width) < 9:
        kernel = choose.choice([2, 3, 4])
        pads = [choose.randint(0, 1)] * 4 if kernel > 2 else [0] * 4
        return net.conv(
            x, choose.randint(1, 9), (kernel, kernel), transposed=True, strides=[2, 2], pads=pads, per_channel=False
        )
    if max(height, width) > 12:
        return net.single("Relu", x)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32), "scales")
    shape = (batch, channels, 2 * height, 2 * width)
    if choose.random() < 0.5:
        return net.moved(
            "Resize",
            x,
            shape,
            ["", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    return net.moved("Resize", x, shape, ["", scales], mode="linear", coordinate_transformation_mode="half_pixel")
