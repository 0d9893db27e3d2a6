"""Clamps behind an operator: TFLite's fused activations where they are some, else a byte function of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rocketnpu.graph import Activation
from rocketnpu.graph.operators import ByteFunction
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import Step
from rocketnpu.model.onnx.writer import Writer

Bounds = tuple[float, float]
_ACTIVATIONS: dict[Bounds, Activation] = {
    (0.0, float("inf")): Activation.RELU,
    (0.0, 6.0): Activation.RELU6,
    (-1.0, 1.0): Activation.RELU_N1_TO_1,
}


def activation_of(step: Step) -> tuple[Activation, Bounds | None]:
    """Return the activation that a step's clamp is, or bounds that none is; both none where nothing is clamped away.

    A clamp before rounding is the same as one behind it, for rounding is monotone.
    """
    if step.clamp is None:
        return Activation.NONE, None
    target = step.targets[0]
    limits, scale, zero = np.iinfo(target.dtype.value), target.quantisation.scale, target.quantisation.zero_point
    low, high = byte_of(step.clamp[0], scale, zero, limits), byte_of(step.clamp[1], scale, zero, limits)
    if (low, high) == (limits.min, limits.max):
        return Activation.NONE, None
    found = _ACTIVATIONS.get(step.clamp)
    if found is None and step.clamp[0] == 0 and high == limits.max:
        found = Activation.RELU
    if found is None and step.clamp[1] == 6 and low == limits.min:
        found = Activation.RELU6 if zero == limits.min else None
    return (found, None) if found is not None else (Activation.NONE, step.clamp)


def byte_of(real: float, scale: float, zero: int, limits: np.iinfo[Any]) -> int:
    """Quantise a real number as ONNX does: rounded half to even, saturated."""
    if np.isinf(real):
        return int(limits.max if real > 0 else limits.min)
    with np.errstate(over="ignore"):
        steps = np.rint(np.float32(real) / np.float32(scale))
    return int(np.clip(float(steps) + zero, limits.min, limits.max))


@contextmanager
def clamped(out: Writer, step: Step, layout: Layout, bounds: Bounds | None) -> Iterator[int]:
    """Give the tensor that a step's operator is to write; behind it, a byte function clamps to ``bounds``."""
    result = out.result(step.targets[0], layout)
    if bounds is None:
        yield result
        return
    tensor = out.tensors[result]
    assert tensor.quantisation is not None
    between = out.add(f"{tensor.name} unclamped", tensor.shape, tensor.dtype, tensor.quantisation)
    yield between
    limits = np.iinfo(tensor.dtype.value)
    scale, zero = tensor.quantisation.scale, tensor.quantisation.zero_point
    low, high = (byte_of(bound, scale, zero, limits) for bound in bounds)
    values = np.clip(np.arange(limits.min, limits.max + 1), min(low, high), high)
    out.operator("BYTE_FUNCTION", [between], [result], ByteFunction(tuple(int(value) for value in values)))
