"""Operators in a row on single bytes, as one function of a byte: what LiteRT's kernels make of each of its 256 values.

Integer operators follow the reference kernels' fixed-point arithmetic, floating-point ones between DEQUANTIZE and
QUANTIZE are computed in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS, limits
from rocketnpu.arithmetic.fixed_point import Factor
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Operator, Tensor

Values = npt.NDArray[Any]
_HEADROOM = 20
"""Bits by which LiteRT's ADD and SUB shift their operands left."""
_REAL = (DType.FLOAT32,)
_CLAMPS: Mapping[str, Activation] = {name: Activation(name) for name in ("RELU", "RELU6", "RELU_N1_TO_1")}
_LIMITS: Mapping[Activation, tuple[float, float]] = {
    Activation.NONE: (-np.inf, np.inf),
    Activation.RELU: (0.0, np.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}
_FLOAT_UNARY: Mapping[str, Callable[[Values], Values]] = {
    "NEG": np.negative,
    "ABS": np.abs,
    "SQUARE": np.square,
    "SQRT": np.sqrt,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "EXP": np.exp,
    "LOG": np.log,
    "SIN": np.sin,
    "COS": np.cos,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND": np.rint,
    "TANH": np.tanh,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "ELU": lambda x: np.where(x < 0, np.expm1(x), x),
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}
_FLOAT_BINARY: Mapping[str, Callable[[Values, Values], Values]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "POW": np.power,
    "SQUARED_DIFFERENCE": lambda x, y: np.square(x - y),
}
_BYTE_BINARY = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
_TOO_FAR = 2.0**31
"""Steps that LiteRT's QUANTIZE turns into a whole number of 32 bits without a look, as it does what is no number: one
byte on one processor, another on the next.
"""
_FAR = 1 << 20
"""A number of steps beyond every byte, whatever the zero point."""


def in_chain(operator: Operator, inputs: list[Tensor], output: Tensor) -> bool:
    """Say whether an operator can be a link of a chain: one byte or real number in, one out, for each element."""
    kinds = {tensor.dtype for tensor in (*inputs, output)}
    activation = getattr(operator.attributes, "activation", Activation.NONE)
    if not kinds <= {DType.INT8, DType.UINT8, DType.FLOAT32} or activation not in _LIMITS:
        return False
    if kinds == {DType.FLOAT32}:
        return operator.kind in _CLAMPS or operator.kind in (_FLOAT_UNARY if len(inputs) == 1 else _FLOAT_BINARY)
    if any(tensor.dtype is not DType.FLOAT32 and not _is_byte(tensor) for tensor in (*inputs, output)):
        return False
    if DType.FLOAT32 in kinds:
        return operator.kind == ("DEQUANTIZE" if output.dtype is DType.FLOAT32 else "QUANTIZE")
    if len(inputs) == 2:
        return operator.kind in _BYTE_BINARY and len(kinds) == 1
    return operator.kind == "QUANTIZE" or (operator.kind in (*BYTE_FUNCTIONS, *_CLAMPS) and len(kinds) == 1)


def _is_byte(tensor: Tensor) -> bool:
    return tensor.quantisation is not None and not tensor.quantisation.is_per_channel and tensor.quantisation.scale > 0


def link(operator: Operator, inputs: list[Tensor], given: list[Values], output: Tensor) -> Values:
    """Return what a link of a chain makes of values: whole numbers of byte tensors, single precision of real ones.

    Raises:
        UnsupportedError: the reference kernel refuses these scales.
    """
    with np.errstate(all="ignore"):
        if output.dtype in _REAL:
            return _real(operator, inputs, given)
        if inputs[0].dtype in _REAL:
            return _quantised(given[0], output)
    if len(inputs) == 2:
        return _binary(operator, inputs, given, output)
    if operator.kind in BYTE_FUNCTIONS:
        table = BYTE_FUNCTIONS[operator.kind](operator, inputs[0], output)
        return np.asarray(table[given[0] - limits(inputs[0])[0]])
    factor = Factor.of(float(_scale(inputs[0]) / _scale(output)))
    steps = factor.apply(given[0] - _zero(inputs[0]))
    return _clamped(steps + _zero(output), output, _CLAMPS.get(operator.kind, Activation.NONE))


def _real(operator: Operator, inputs: list[Tensor], given: list[Values]) -> Values:
    if operator.kind == "DEQUANTIZE":
        steps = (given[0] - _zero(inputs[0])).astype(np.float32)
        return np.asarray(_scale(inputs[0]) * steps, np.float32)
    activation = _CLAMPS.get(operator.kind, getattr(operator.attributes, "activation", Activation.NONE))
    if operator.kind in _CLAMPS:
        found = given[0]
    elif len(given) == 1:
        found = _FLOAT_UNARY[operator.kind](given[0])
    else:
        found = _FLOAT_BINARY[operator.kind](*given)
    return np.asarray(np.clip(found, *_LIMITS[activation]), np.float32)


def _quantised(reals: Values, output: Tensor) -> Values:
    steps = reals / _scale(output)
    if not np.all(np.abs(steps) < _TOO_FAR):
        raise UnsupportedError("its steps leave 32 bits, and what LiteRT makes of them is the processor's affair")
    rounded = np.copysign(np.floor(np.abs(steps) + np.float32(0.5)), steps)
    whole = np.clip(rounded, -_FAR, _FAR).astype(np.int64)
    return np.asarray(np.clip(whole + _zero(output), *limits(output)))


def _binary(operator: Operator, inputs: list[Tensor], given: list[Values], output: Tensor) -> Values:
    activation = getattr(operator.attributes, "activation", Activation.NONE)
    if operator.kind in ("MAXIMUM", "MINIMUM"):
        if any(
            tensor.quantisation is None or not tensor.quantisation.same_as(output.quantisation) for tensor in inputs
        ):
            raise UnsupportedError(f"{operator.kind} of different scales")
        return (np.maximum if operator.kind == "MAXIMUM" else np.minimum)(*given)
    first, second = (values - _zero(tensor) for values, tensor in zip(given, inputs, strict=True))
    if operator.kind == "MUL":
        product = float(np.float64(_scale(inputs[0])) * np.float64(_scale(inputs[1])) / np.float64(_scale(output)))
        return _clamped(Factor.of(product).apply(first * second) + _zero(output), output, activation)
    twice = 2 * max(np.float64(_scale(tensor)) for tensor in inputs)
    scaled = [
        Factor.of(float(np.float64(_scale(tensor)) / twice)).apply(values << _HEADROOM)
        for tensor, values in zip(inputs, (first, second), strict=True)
    ]
    total = scaled[0] - scaled[1] if operator.kind == "SUB" else scaled[0] + scaled[1]
    back = Factor.of(float(twice / ((1 << _HEADROOM) * np.float64(_scale(output)))))
    return _clamped(back.apply(total) + _zero(output), output, activation)


def _clamped(values: Values, output: Tensor, activation: Activation) -> Values:
    low, high = limits(output)
    bounds = []
    for real, end in zip(_LIMITS[activation], (low, high), strict=True):
        if np.isinf(real):
            bounds.append(end)
            continue
        steps = float(np.float32(real) / _scale(output))
        bounds.append(_zero(output) + int(np.copysign(np.floor(abs(steps) + 0.5), steps)))
    return np.clip(values, max(low, bounds[0]), min(high, bounds[1]))


def _scale(tensor: Tensor) -> np.float32:
    assert tensor.quantisation is not None
    return np.float32(tensor.quantisation.scale)


def _zero(tensor: Tensor) -> int:
    assert tensor.quantisation is not None
    return tensor.quantisation.zero_point
