"""Where a multiplier makes LiteRT's reference kernels leave 32 bits.

They shift a value to the left in 32 bits before they multiply it where the factor is 1 or more, and CONCATENATION turns
real numbers into 32 bits. What does not fit wraps around; LiteRT's other kernels and the chip saturate. No bound holds
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.byte_functions import limits
from rocketnpu.arithmetic.fixed_point import Factor
from rocketnpu.graph import Activation, Graph, Operator, Tensor
from rocketnpu.graph.operators import LeakyRelu

Int64 = npt.NDArray[np.int64]
_LIMIT = 1 << 31
_BYTE = 255
_ROOT_FRACTION, _MAX_RIGHT_SHIFT = 20, 31
_LIMITS = {"RELU6": 6.0, "RELU_N1_TO_1": 1.0}
_FEATURES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 2}


def out_of_range(graph: Graph, operator: Operator) -> str | None:
    """Say which value leaves 32 bits in LiteRT's reference kernel of an operator, or None where none can.

    Tensors have scales, and weights are constant.
    """
    checked = _CHECKS.get(operator.kind)
    return _clamp(graph, operator) or (None if checked is None else checked(graph, operator))


def _clamp(graph: Graph, operator: Operator) -> str | None:
    """Check the activation's limits, which the kernels count in steps of the output."""
    fused = getattr(operator.attributes, "activation", Activation.NONE)
    limit = max(_LIMITS.get(operator.kind, 0.0), _LIMITS.get(fused.value, 0.0))
    scale = _scale(graph.tensors[operator.outputs[0]])
    return f"{limit:g} is {limit / scale:.4g} steps of the output" if limit / scale >= _LIMIT >> 1 else None


def _one(graph: Graph, operator: Operator) -> str | None:
    return _shifted(_steps(_only(graph, operator.inputs[0])), _ratio(graph, operator))


def _product(graph: Graph, operator: Operator) -> str | None:
    other = _only(graph, operator.inputs[1])
    ends = np.outer(_steps(_only(graph, operator.inputs[0])), _steps(other))
    return _shifted((ends.min(), ends.max()), _ratio(graph, operator) * _scale(other))


def _parametric(graph: Graph, operator: Operator) -> str | None:
    return _one(graph, operator) or _product(graph, operator)


def _leaky(graph: Graph, operator: Operator) -> str | None:
    assert isinstance(operator.attributes, LeakyRelu)
    slope = abs(_ratio(graph, operator) * operator.attributes.alpha)
    if not math.isfinite(slope):
        return f"a slope of {operator.attributes.alpha}"
    return _one(graph, operator) or _shifted(_steps(_only(graph, operator.inputs[0])), slope)


def _mean(graph: Graph, operator: Operator) -> str | None:
    source, target = _only(graph, operator.inputs[0]), graph.tensors[operator.outputs[0]]
    low, high = _steps(source)
    cells = source.elements // max(1, target.elements)
    return _shifted((low * cells, high * cells), _ratio(graph, operator))


def _joined(graph: Graph, operator: Operator) -> str | None:
    """Check CONCATENATION, which rescales where scales differ."""
    target = _scale(graph.tensors[operator.outputs[0]])
    for number in operator.inputs:
        source = _only(graph, number)
        low, high = (float(end) * _scale(source) / target for end in _steps(source))
        if max(-low, high) + _BYTE >= _LIMIT:
            return f"values from {low:.4g} to {high:.4g} steps of the output"
    return None


def _root(graph: Graph, operator: Operator) -> str | None:
    """Check RSQRT, which multiplies a root with 20 fraction bits."""
    source, target = _scale(_only(graph, operator.inputs[0])), _scale(graph.tensors[operator.outputs[0]])
    factor = 1 / (math.sqrt(source) * target)
    shift = Factor.of(factor).exponent - _ROOT_FRACTION
    fits = -_MAX_RIGHT_SHIFT <= shift < _MAX_RIGHT_SHIFT - _ROOT_FRACTION and Factor.of(factor).multiplier
    return None if fits else f"a root times {factor:.4g}"


def _convolution(graph: Graph, operator: Operator) -> str | None:
    source, target = _only(graph, operator.inputs[_FEATURES[operator.kind]]), graph.tensors[operator.outputs[0]]
    weights = _only(graph, operator.inputs[1])
    assert weights.data is not None
    assert weights.quantisation is not None
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    kernels = np.moveaxis(weights.data, axis, 0).reshape(weights.shape[axis], -1)
    factors = _scale(source) * weights.quantisation.scales.astype(np.float64) / _scale(target)
    bias = _bias(graph, operator, len(kernels))
    low, high = _steps(source)
    reach = int(max(-low, high)) * kernels.shape[1] * _BYTE + int(np.abs(bias).max(initial=0))
    if _shifted((np.int64(-reach), np.int64(reach)), float(factors.max())) is None:
        return None
    # What is possible at all would leave 32 bits: look at what these weights make.
    values = kernels.astype(np.int64) - weights.quantisation.zero_points.reshape(-1, 1)
    ends = np.stack([values * low, values * high])
    smallest, largest = ends.min(0).sum(1) + bias, ends.max(0).sum(1) + bias
    found = (
        _shifted((smallest[channel], largest[channel]), float(factors[channel % len(factors)]))
        for channel in range(len(kernels))
    )
    return next((text for text in found if text is not None), None)


_CHECKS: Mapping[str, Callable[[Graph, Operator], str | None]] = {
    **dict.fromkeys(_FEATURES, _convolution),
    "MUL": _product,
    "PRELU": _parametric,
    "LEAKY_RELU": _leaky,
    "MEAN": _mean,
    "CONCATENATION": _joined,
    "RSQRT": _root,
    "ABS": _one,
}


def _bias(graph: Graph, operator: Operator, channels: int) -> Int64:
    number = operator.input(3 if operator.kind == "TRANSPOSE_CONV" else 2)
    data = None if number is None else graph.tensors[number].data
    return np.zeros(channels, np.int64) if data is None else data.astype(np.int64).reshape(-1)


def _shifted(values: tuple[np.int64, np.int64] | tuple[int, int], factor: float) -> str | None:
    """Say that values times the power of two in a factor of 1 or more leave 32 bits, or return None."""
    exponent = Factor.of(factor).exponent
    if exponent <= 0:
        return None
    low, high = int(values[0]) << exponent, int(values[1]) << exponent
    if low >= -_LIMIT and high < _LIMIT:
        return None
    return f"values from {int(values[0])} to {int(values[1])} times {factor:.4g}"


def _steps(tensor: Tensor) -> tuple[np.int64, np.int64]:
    assert tensor.quantisation is not None
    low, high = limits(tensor)
    return np.int64(low - tensor.quantisation.zero_point), np.int64(high - tensor.quantisation.zero_point)


def _scale(tensor: Tensor) -> float:
    assert tensor.quantisation is not None
    return tensor.quantisation.scale


def _ratio(graph: Graph, operator: Operator) -> float:
    return _scale(_only(graph, operator.inputs[0])) / _scale(graph.tensors[operator.outputs[0]])


def _only(graph: Graph, number: int | None) -> Tensor:
    assert number is not None
    return graph.tensors[number]
