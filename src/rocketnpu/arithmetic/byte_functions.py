"""What LiteRT's reference kernels make of each of the 256 bytes, for operators that map byte to byte.

Values here are those of the tensor's own type (UINT8 or INT8); functions follow the kernels' definition: either a float
function of the dequantised value, rounded half away from zero and saturated, or the kernel's integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.fixed_point import Factor, high_multiply, rounding_divide, saturated
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator, Tensor
from rocketnpu.graph.operators import ByteFunction, Gelu, LeakyRelu

Int64 = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]
Function = Callable[[Operator, Tensor, Tensor], Int64]
"""Operator, input and output give the output's value for each input value, the lowest first."""


_FAR = 1 << 20
"""A number of steps beyond every byte, whatever the zero point."""


def limits(tensor: Tensor) -> tuple[int, int]:
    """Return the lowest and highest value of a byte tensor's type."""
    found = np.iinfo(tensor.dtype.value)
    return int(found.min), int(found.max)


def steps(tensor: Tensor) -> Int64:
    """Return all values of a byte tensor, less its zero point."""
    low, high = limits(tensor)
    assert tensor.quantisation is not None
    return np.arange(low, high + 1, dtype=np.int64) - tensor.quantisation.zero_point


def _scale(tensor: Tensor) -> np.float32:
    assert tensor.quantisation is not None
    return np.float32(tensor.quantisation.scale)


def _finish(values: Int64, target: Tensor) -> Int64:
    assert target.quantisation is not None
    return np.clip(values + target.quantisation.zero_point, *limits(target))


def of_reals(function: Callable[[Real], Real]) -> Function:
    """Make a byte function of one on real numbers.

    The kernel computes in single precision; the function is evaluated in double precision and rounded to single, which
    differs from any good mathematical library by less than its own error. Where it has no value (NaN) the output is the
    lowest of its type.
    """

    def apply(operator: Operator, source: Tensor, target: Tensor) -> Int64:
        del operator
        given = (_scale(source) * steps(source).astype(np.float32)).astype(np.float64)
        with np.errstate(all="ignore"):
            found = function(given).astype(np.float32) * (np.float32(1) / _scale(target))
            rounded = np.copysign(np.floor(np.abs(found) + np.float32(0.5)), found)
        # Far beyond any byte all is the same; infinities must not reach the conversion to integers.
        limited = np.nan_to_num(np.clip(rounded, -_FAR, _FAR), nan=-_FAR)
        return _finish(limited.astype(np.int64), target)

    return apply


def _logistic(x: Real) -> Real:
    # Each step rounds to single precision, as in the kernel: 1 / 256 steps put results near ties.
    one = np.float32(1)
    return (one / (one + np.exp(-x).astype(np.float32))).astype(np.float64)


def _log(x: Real) -> Real:
    return np.log(np.where(x > 0, x, np.nan))


def _inverse_root(x: Real) -> Real:
    # The kernel refuses negative values while it runs; zero gives the largest output.
    return np.where(x > 0, 1 / np.sqrt(np.abs(x)), np.inf)


def _elu(x: Real) -> Real:
    return np.where(x < 0, np.expm1(x), x)


def _gelu(x: Real) -> Real:
    return np.array([0.5 * value * math.erfc(-value * math.sqrt(0.5)) for value in x])


def _tanh_gelu(x: Real) -> Real:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def gelu(operator: Operator, source: Tensor, target: Tensor) -> Int64:
    """Return GELU, exact or by the tangent, as the operator says."""
    assert isinstance(operator.attributes, Gelu)
    return of_reals(_tanh_gelu if operator.attributes.approximate else _gelu)(operator, source, target)


def given(operator: Operator, source: Tensor, target: Tensor) -> Int64:
    """Return the values that the operator lists.

    Raises:
        UnsupportedError: they are not 256 values of the output's type.
    """
    assert isinstance(operator.attributes, ByteFunction)
    values = np.array(operator.attributes.values, np.int64)
    low, high = limits(target)
    if values.size != high - low + 1 or values.min() < low or values.max() > high:
        raise UnsupportedError(f"a function of {values.size} values, not one {target.dtype.value} for each byte")
    del source
    return values


def leaky_relu(operator: Operator, source: Tensor, target: Tensor) -> Int64:
    """Return LEAKY_RELU in the kernel's fixed-point arithmetic."""
    assert isinstance(operator.attributes, LeakyRelu)
    values = steps(source)
    above = Factor.of(float(_scale(source) / _scale(target))).apply(values)
    slope = _scale(source) * np.float32(operator.attributes.alpha) / _scale(target)
    return _finish(np.where(values >= 0, above, Factor.of(float(slope)).apply(values)), target)


def absolute(operator: Operator, source: Tensor, target: Tensor) -> Int64:
    """Return ABS; equal scales skip the multiplication."""
    del operator
    values = np.abs(steps(source))
    if _scale(source) != _scale(target):
        values = Factor.of(float(_scale(source) / _scale(target))).apply(values)
    return _finish(values, target)


def hard_swish(operator: Operator, source: Tensor, target: Tensor) -> Int64:
    """Return HARD_SWISH in the kernel's 16-bit arithmetic: ``x * relu6(x + 3) / 6``."""
    del operator
    fine = np.float32(1 / 128) * _scale(source)
    out = Factor.of(float(fine / _scale(target)))
    ramp = Factor.of(float(fine / np.float32(3 / 32768)))
    values = steps(source) << 7
    scaled = high_multiply(values, out.short, 16)
    gate = values
    if ramp.exponent > 0:
        gate = saturated(gate << (ramp.exponent - 1), 16)
    gate = high_multiply(gate, ramp.short, 16)
    gate = saturated(gate << 1, 16) if ramp.exponent > 0 else rounding_divide(gate, -ramp.exponent)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    if out.exponent > 0:
        raise UnsupportedError(f"an output scale of {_scale(target):.6g}: the reference kernel refuses so fine a one")
    half = saturated(np.sign(product) * (np.abs(product) >> 15), 16)
    return _finish(rounding_divide(half, -out.exponent), target)


BYTE_FUNCTIONS: Mapping[str, Function] = {
    "LOGISTIC": of_reals(_logistic),
    "TANH": of_reals(np.tanh),
    "ELU": of_reals(_elu),
    "EXP": of_reals(np.exp),
    "LOG": of_reals(_log),
    "RSQRT": of_reals(_inverse_root),
    "GELU": gelu,
    "HARD_SWISH": hard_swish,
    "LEAKY_RELU": leaky_relu,
    "ABS": absolute,
    "BYTE_FUNCTION": given,
}
"""Operators of one byte tensor that the look-up table computes."""
