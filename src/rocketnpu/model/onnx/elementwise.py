"""Operators on each element: sums and products of two maps, functions of one byte, PRelu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import Activation
from rocketnpu.graph.operators import Arithmetic, Attributes, ByteFunction, LeakyRelu, NoAttributes
from rocketnpu.model.onnx.clamps import activation_of, byte_of, clamped
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import NotTakenError, Source, Step
from rocketnpu.model.onnx.writer import Writer

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
_ARITHMETIC = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL"}
_EXTREMES = {"Max": "MAXIMUM", "Min": "MINIMUM"}
_STANDING = {
    (0.0, float("inf")): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
}
_MOST_OPSET = 25
"""The newest operators that functions are evaluated with."""


def pair(step: Step, out: Writer) -> None:
    """Write Add, Sub, Mul, Max and Min of two operands."""
    if len(step.sources) != 2:
        raise NotTakenError(f"it has {len(step.sources)} operands")
    shape, layout = _common(step, out)
    inputs = [_operand(out, step, source, shape, layout) for source in (step.source(0), step.source(1))]
    activation, rest = activation_of(step)
    kind, attributes = _ARITHMETIC.get(step.kind), Arithmetic(activation)
    target = layout.like(shape)
    assert target is not None
    if kind is not None:
        with clamped(out, step, target, rest) as result:
            out.operator(kind, inputs, [result], attributes)
        return
    if activation is not Activation.NONE or rest is not None:
        raise NotTakenError("a clamp behind a maximum")
    out.operator(_EXTREMES[step.kind], inputs, [out.result(step.targets[0], target)])


def _common(step: Step, out: Writer) -> tuple[tuple[int, ...], Layout]:
    """Return the result's shape, and the layout of the first operand that has its rank and is computed."""
    shapes = []
    for source in (step.source(0), step.source(1)):
        known = source.data.shape if source.data is not None else out.values.shapes.get(source.name)
        if known is None:
            raise NotTakenError("the shape of an operand is known at run time only")
        shapes.append(known)
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise NotTakenError(f"{shapes[0]} and {shapes[1]} do not broadcast") from None
    layouts = []
    for source, own in zip((step.source(0), step.source(1)), shapes, strict=True):
        if source.data is None and len(own) == len(shape):
            found = out.home(source)[1]
            if not found.is_flat:
                layouts.append((own == shape, not found.is_plain, found))
            elif own == shapes[0] == shapes[1]:
                layouts.append((True, True, found))
    if layouts:
        return shape, max(layouts, key=lambda entry: entry[:2])[2]
    return shape, Layout.plain(shape)


def _operand(out: Writer, step: Step, source: Source, shape: tuple[int, ...], layout: Layout) -> int:
    if source.data is not None:
        if source.quantisation is not None and source.quantisation.is_per_channel:
            raise NotTakenError("a constant operand has several scales")
        data = source.data.reshape((1,) * (len(shape) - source.data.ndim) + source.data.shape)
        seen = layout.like(data.shape)
        if layout.is_flat or seen is None:
            raise NotTakenError("a constant beside a map that was made a row")
        return out.constant(source, seen.to_graph(data), step.targets[0].dtype)
    own = out.values.shapes[source.name]
    if len(own) != len(shape):
        raise NotTakenError(f"operands of {len(own)} and {len(shape)} dimensions")
    if layout.is_flat:
        return out.read(source, layout)
    wanted = layout.like(own)
    assert wanted is not None
    return out.read(source, wanted)


def single(step: Step, out: Writer) -> None:
    """Write a function of one element as TFLite's operator where it has one, else as a byte function."""
    if step.clamp is not None:
        raise NotTakenError("a clamp behind a function; both together are one")
    number, layout = out.home(step.source(0))
    found = _standard(step)
    if found is None or out.tensors[number].dtype is not step.targets[0].dtype:
        function(step, out, (step.node,))
        return
    kind, attributes = found
    out.operator(kind, [number], [out.result(step.targets[0], layout)], attributes)


def _standard(step: Step) -> tuple[str, Attributes] | None:
    """Return TFLite's operator, where the result has the scale that TFLite gives it."""
    if step.kind == "LeakyRelu":
        return "LEAKY_RELU", LeakyRelu(float(np.float32(step.attributes.get("alpha", 0.01))))
    if step.kind == "HardSwish":
        return "HARD_SWISH", NoAttributes()
    target = step.targets[0]
    lowest = int(np.iinfo(target.dtype.value).min)
    found = target.quantisation.scale, target.quantisation.zero_point - lowest
    kind = {"Sigmoid": "LOGISTIC", "Tanh": "TANH"}[step.kind]
    return (kind, NoAttributes()) if found == _FIXED[kind] else None


_FIXED = {"LOGISTIC": (1 / 256, 0), "TANH": (1 / 128, 128)}
"""Scale, and zero point above the lowest byte, that TFLite's kernels give."""


def clamp(step: Step, out: Writer) -> None:
    """Write Relu or Clip that stands alone."""
    bounds = [0.0, float("inf")]
    if step.kind == "Clip":
        bounds = [float(step.attributes.get("min", "-inf")), float(step.attributes.get("max", "inf"))]
        for position in (1, 2):
            data = step.constant(position)
            if data is not None:
                bounds[position - 1] = float(data.reshape(-1)[0]) if data.size == 1 else float("nan")
    number, layout = out.home(step.source(0))
    kind = _STANDING.get((bounds[0], bounds[1]))
    if kind is None or step.clamp is not None:
        function(step, out, (step.node,))
        return
    out.operator(kind, [number], [out.result(step.targets[0], layout)])


def requantise(step: Step, out: Writer) -> None:
    """Write DequantizeLinear and QuantizeLinear with nothing between as QUANTIZE."""
    number, layout = out.home(step.source(0))
    out.operator("QUANTIZE", [number], [out.result(step.targets[0], layout)])


def chain(step: Step, out: Writer) -> None:
    """Write a chain of element functions as one byte function."""
    function(step, out, step.chain)


def function(step: Step, out: Writer, nodes: tuple[onnx.NodeProto, ...]) -> None:
    """Write nodes that make one value of another as a byte function."""
    source, target = step.source(0), step.targets[0]
    number, layout = out.home(source)
    tensor = out.tensors[number]
    limits = np.iinfo(target.dtype.value)
    assert tensor.quantisation is not None
    given = np.iinfo(tensor.dtype.value)
    steps = np.arange(given.min, given.max + 1) - tensor.quantisation.zero_point
    reals = steps.astype(np.float32) * np.float32(tensor.quantisation.scale)
    found = _evaluated(out, nodes, reals)
    if step.clamp is not None:
        found = np.clip(found, *step.clamp)
    scale, zero = target.quantisation.scale, target.quantisation.zero_point
    # What is no number (a root of a negative one) becomes the lowest byte, as ONNX Runtime and TFLite have it.
    known = np.where(np.isnan(found), -np.inf, found)
    values = tuple(byte_of(float(real), scale, zero, limits) for real in known)
    out.operator("BYTE_FUNCTION", [number], [out.result(target, layout)], ByteFunction(values))


def _evaluated(out: Writer, nodes: tuple[onnx.NodeProto, ...], reals: Array) -> Array:
    """Compute what nodes make of real numbers, in single precision as every runtime does."""
    import onnx.helper
    from onnx.reference import ReferenceEvaluator

    values, made = out.values, {name for node in nodes for name in node.output}
    constants: dict[str, Array] = {}
    inputs: dict[str, Array] = {}
    for name in dict.fromkeys(name for node in nodes for name in node.input if name and name not in made):
        data = values.constants.get(name)
        maker = values.maker(name)
        if data is None and maker is not None and maker.op_type == "DequantizeLinear":
            whole = values.constants.get(maker.input[0])
            if whole is None:
                inputs[name] = reals
                continue
            scale = values.constants[maker.input[1]].reshape(-1)
            zero = values.constants[maker.input[2]].reshape(-1) if len(maker.input) > 2 and maker.input[2] else [0]
            data = ((whole.reshape(-1).astype(np.int64) - int(zero[0])) * np.float32(scale[0])).astype(np.float32)
        if data is None or data.size != 1:
            raise NotTakenError(f"a chain that reads {name!r}")
        constants[name] = data.reshape(())
    infos = [onnx.helper.make_tensor_value_info(name, 0, None) for name in (*inputs, *constants)]
    result = onnx.helper.make_tensor_value_info(nodes[-1].output[0], 0, None)
    graph = onnx.helper.make_graph(list(nodes), "chain", infos, [result])
    opsets = [onnx.helper.make_opsetid("", min(values.opset, _MOST_OPSET))]
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
            (found,) = evaluator.run(None, {**inputs, **constants})
    except Exception as error:  # of whatever kind: the package's own, and those of what it calls
        raise NotTakenError(f"it cannot be computed: {' '.join(str(error).split())[:120]}") from None
    array = np.asarray(found, np.float32)
    if array.shape != reals.shape:
        raise NotTakenError(f"it makes {array.shape} of {reals.shape}")
    return array


def parametric(step: Step, out: Writer) -> None:
    """Write PRelu with a slope for each channel, or one for all."""
    slopes = step.source(1)
    if slopes.data is None:
        raise NotTakenError("its slopes are computed")
    if slopes.data.size == 1 and slopes.quantisation is None:
        function(step, out, (step.node,))
        return
    if step.clamp is not None:
        raise NotTakenError("a clamp behind it")
    number, layout = out.home(step.source(0))
    shape = out.values.shapes[step.source(0).name]
    data = slopes.data.reshape((1,) * (len(shape) - slopes.data.ndim) + slopes.data.shape)
    if slopes.data.ndim == 1 and len(shape) > 2:
        # PRelu broadcasts in one direction: a row of slopes belongs to the last axis, as NumPy has it.
        data = slopes.data.reshape((1,) * (len(shape) - 1) + (-1,))
    seen = layout.like(data.shape)
    if seen is None:
        raise NotTakenError("it reads a map that was made a row")
    constant = out.constant(slopes, seen.to_graph(data).reshape(seen.shape[1:]), out.tensors[number].dtype)
    out.operator("PRELU", [number, constant], [out.result(step.targets[0], layout)])
