"""Values as the NPU stores them: int8, where UINT8 tensors are shifted by 128 (spec 3.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Tensor

SHIFT = {DType.UINT8: 128, DType.INT8: 0}
"""What is subtracted from a stored tensor's elements."""
INT8_MIN, INT8_MAX = -128, 127
_FAR = float(1 << 40)
"""Steps beyond every byte."""


def zero_point(tensor: Tensor) -> int:
    """Return the zero point in the stored, signed domain."""
    assert tensor.quantisation is not None
    return tensor.quantisation.zero_point - SHIFT[tensor.dtype]


def scale(tensor: Tensor) -> float:
    """Return the tensor's only scale."""
    assert tensor.quantisation is not None
    return tensor.quantisation.scale


def stored(tensor: Tensor) -> npt.NDArray[np.int8]:
    """Return a constant's elements as stored."""
    assert tensor.data is not None
    if tensor.dtype is DType.UINT8:
        return (tensor.data.view(np.uint8) ^ np.uint8(0x80)).view(np.int8)
    return tensor.data.view(np.int8)


def activation_range(activation: Activation, tensor: Tensor) -> tuple[int, int]:
    """Return the smallest and largest stored output value that an activation leaves, as TFLite computes them.

    Raises:
        UnsupportedError: the activation is no clamp.
    """
    zero, step = zero_point(tensor), scale(tensor)

    def quantised(real: float) -> int:
        # Divided in single precision, then half away from zero: TFLite's Quantize with std::round. Steps so fine that
        # the limit has no number in single precision limit nothing.
        with np.errstate(over="ignore"):
            steps = float(np.clip(np.float32(real) / np.float32(step), -_FAR, _FAR))
        return zero + int(np.copysign(np.floor(abs(steps) + 0.5), steps))

    limits = {
        Activation.NONE: (INT8_MIN, INT8_MAX),
        Activation.RELU: (zero, INT8_MAX),
        Activation.RELU6: (zero, quantised(6.0)),
        Activation.RELU_N1_TO_1: (quantised(-1.0), quantised(1.0)),
    }
    if activation not in limits:
        raise UnsupportedError(f"fused activation {activation.value} is no clamp")
    low, high = limits[activation]
    return max(low, INT8_MIN), min(high, INT8_MAX)
