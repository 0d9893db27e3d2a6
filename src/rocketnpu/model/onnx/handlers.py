"""Who writes which step, and what stands around it: values moved before they are quantised, and other scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rocketnpu.model.onnx import elementwise, moving, normalisation, picking, pooling, products, views, windows
from rocketnpu.model.onnx.step import NotTakenError, Source, Step, Target
from rocketnpu.model.onnx.values import attributes_of
from rocketnpu.model.onnx.writer import Writer

_HANDLERS: Mapping[str, Callable[[Step, Writer], None]] = {
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "MaxPool": pooling.maximum_pool,
    "AveragePool": pooling.average_pool,
    "GlobalAveragePool": pooling.global_average,
    "BatchNormalization": normalisation.batch,
    "Gemm": products.gemm,
    "MatMul": products.product,
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min"), elementwise.pair),
    **dict.fromkeys(("Sigmoid", "Tanh", "HardSwish", "LeakyRelu"), elementwise.single),
    **dict.fromkeys(("Relu", "Clip"), elementwise.clamp),
    "PRelu": elementwise.parametric,
    "Chain": elementwise.chain,
    "Requantise": elementwise.requantise,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), views.reshape),
    "Transpose": views.transpose,
    "Concat": moving.concatenation,
    "Split": moving.split,
    "Slice": moving.cut,
    "Pad": moving.pad,
    "ReduceMean": moving.mean,
    "Resize": moving.resize,
    "DepthToSpace": picking.depth_to_space,
    "SpaceToDepth": picking.space_to_depth,
    "Gather": picking.gather,
    "GlobalMaxPool": picking.global_maximum,
    "ReduceMax": picking.maximum,
}
KINDS = frozenset(_HANDLERS)
"""Operators of ONNX, and of steps that are several, that can be written."""
_MOVING = frozenset(
    {
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Split", "Slice", "Pad", "MaxPool"),
        *("DepthToSpace", "SpaceToDepth", "Gather", "GlobalMaxPool", "ReduceMax"),
    }
)
"""Those that give values of their input as they are."""


def write(step: Step, out: Writer) -> None:
    """Write a step, and what only moves its values before they are quantised: it moves bytes then.

    Raises:
        NotTakenError: it cannot be expressed.
    """
    if not step.views:
        _rescaled(step, out)
        return
    (target,) = step.targets
    reals = [step.views[0].input[0], *(view.output[0] for view in step.views[:-1])]
    between = [replace(target, name=_as_bytes(out, real)) for real in reals]
    _rescaled(replace(step, targets=(between[0],), views=()), out)
    for view, given, made in zip(step.views, between, [*between[1:], target], strict=True):
        sources = (Source(given.name, given.quantisation, None), *(_parameter(out, name) for name in view.input[1:]))
        moved = Step(view, view.op_type, sources, (made,), None, (), attributes_of(view))
        _HANDLERS[view.op_type](moved, out)
    _forget(out, [one.name for one in between])


def _rescaled(step: Step, out: Writer) -> None:
    """Write a step; one that only moves values, but to another scale, moves bytes first, and QUANTIZE scales them."""
    given = step.sources[0]
    if step.kind not in _MOVING or given is None or given.quantisation is None:
        _HANDLERS[step.kind](step, out)
        return
    dtype = out.tensors[out.home(given)[0]].dtype
    if all(target.dtype is dtype and target.quantisation.same_as(given.quantisation) for target in step.targets):
        _HANDLERS[step.kind](step, out)
        return
    if step.clamp is not None:
        raise NotTakenError("a clamp and another scale behind an operator that moves values")
    if step.kind == "Pad" and moving.added_value(step):
        raise NotTakenError("it adds a value, and its result has another scale")
    names = [_as_bytes(out, target.name) for target in step.targets]
    moved = tuple(Target(name, given.quantisation, dtype) for name in names)
    _HANDLERS[step.kind](replace(step, targets=moved), out)
    for name, target in zip(names, step.targets, strict=True):
        number = out.homes[name]
        result = out.result(target, out.ports[number].layout)
        out.operator("QUANTIZE", [number], [result])
    _forget(out, names)


def _as_bytes(out: Writer, value: str) -> str:
    """Name bytes that the file does not have, and say what shape they have: that of one of its values."""
    name = f"{value} as bytes"
    if value in out.values.shapes:
        out.values.shapes[name] = out.values.shapes[value]
    return name


def _forget(out: Writer, names: list[str]) -> None:
    """Let no tensor stand for a value that the file does not have."""
    for number in [number for number, port in out.ports.items() if port.value in names]:
        del out.ports[number]


def _parameter(out: Writer, name: str) -> Source | None:
    return Source(name, None, out.values.constants[name]) if name in out.values.constants else None
