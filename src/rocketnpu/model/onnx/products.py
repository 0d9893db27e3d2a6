"""Gemm and MatMul with constant weights: fully connected layers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import DType, Quantisation
from rocketnpu.graph.operators import FullyConnected
from rocketnpu.model.onnx.clamps import activation_of, clamped
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import NotTakenError, Source, Step
from rocketnpu.model.onnx.windows import bias_of
from rocketnpu.model.onnx.writer import Writer

Array = npt.NDArray[Any]


def gemm(step: Step, out: Writer) -> None:
    """Write Gemm as FULLY_CONNECTED."""
    attributes = step.attributes
    if attributes.get("transA", 0) or attributes.get("beta", 1.0) != 1.0 or attributes.get("alpha", 1.0) != 1.0:
        raise NotTakenError("transA, alpha or beta are not those of a fully connected layer")
    _connected(step, out, transposed=bool(attributes.get("transB", 0)))


def product(step: Step, out: Writer) -> None:
    """Write MatMul as FULLY_CONNECTED."""
    _connected(step, out, transposed=False)


def _connected(step: Step, out: Writer, *, transposed: bool) -> None:
    source, weights = step.source(0), step.source(1)
    data, quantisation = weights.data, weights.quantisation
    if data is None or source.data is not None:
        raise NotTakenError("its second factor is computed, or its first is constant: the NPU multiplies by weights")
    if quantisation is None or data.ndim != 2 or data.dtype.name not in ("int8", "uint8"):
        raise NotTakenError(f"weights of shape {data.shape} ({data.dtype.name})")
    if quantisation.is_per_channel and quantisation.axis != (0 if transposed else 1):
        raise NotTakenError(f"its weights have scales along axis {quantisation.axis}")
    rows = data if transposed else data.T
    shape = out.values.shapes.get(source.name)
    if shape is None or not shape or shape[-1] != rows.shape[1]:
        raise NotTakenError(f"an input of shape {shape} for weights of shape {data.shape}")
    features, rows = _features(out, source, shape, rows)
    kernel = _kernel(out, weights, rows, step)
    bias = bias_of(out, step, 2, kernel, rows.shape[0])
    target = Layout.plain((*shape[:-1], rows.shape[0]))
    activation, rest = activation_of(step)
    with clamped(out, step, target, rest) as result:
        out.operator(
            "FULLY_CONNECTED",
            [features, kernel, bias],
            [result],
            FullyConnected(activation, keep_dims=len(shape) > 2),
        )


def _features(out: Writer, source: Source, shape: tuple[int, ...], rows: Array) -> tuple[int, Array]:
    """Return the input, and the weights in the order in which its values lie: rows of maps stay rows of maps."""
    number, layout = out.home(source)
    if layout.is_flat and math.prod(shape[:-1]) == 1:
        order = np.arange(shape[-1]).reshape(layout.split).transpose(layout.order).reshape(-1)
        return number, rows[:, order]
    return out.read(source, Layout.plain(shape)), rows


def _kernel(out: Writer, weights: Source, rows: Array, step: Step) -> int:
    quantisation = weights.quantisation
    assert quantisation is not None
    dtype = DType(rows.dtype.name)
    if quantisation.is_per_channel or step.targets[0].dtype is DType.INT8:
        dtype = DType.INT8
    plain = replace(weights, quantisation=Quantisation(quantisation.scales, quantisation.zero_points, 0))
    return out.constant(plain, rows, dtype)
