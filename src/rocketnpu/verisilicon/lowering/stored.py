"""Values as these NPUs store them: unsigned bytes, where INT8 tensors are stored plus 128 (facts 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Tensor

SHIFT = {DType.UINT8: 0, DType.INT8: 128}
"""What is added to a stored tensor's elements."""
BYTE_MAX = 255
_FAR = float(1 << 40)
_LIMITS = {
    Activation.NONE: (-np.inf, np.inf),
    Activation.RELU: (0.0, np.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}


def zero_point(tensor: Tensor) -> int:
    """Return the zero point of a tensor as it is stored."""
    assert tensor.quantisation is not None
    return tensor.quantisation.zero_point + SHIFT[tensor.dtype]


def scale(tensor: Tensor) -> float:
    """Return the tensor's only scale."""
    assert tensor.quantisation is not None
    return tensor.quantisation.scale


def stored(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return a constant's elements as stored."""
    assert tensor.data is not None
    flip = np.uint8(0x80 if tensor.dtype is DType.INT8 else 0)
    found: npt.NDArray[np.uint8] = np.ascontiguousarray(tensor.data).view(np.uint8) ^ flip
    return found.reshape(tensor.shape)


def clamp(activation: Activation, tensor: Tensor) -> tuple[int, int]:
    """Return the smallest and largest stored output that an activation leaves, as TFLite computes them.

    Raises:
        UnsupportedError: the activation is no clamp.
    """
    if activation not in _LIMITS:
        raise UnsupportedError(f"fused activation {activation.value} is no clamp")
    zero = zero_point(tensor)
    # Divided in single precision, then half away from zero, as LiteRT's Quantize does.
    with np.errstate(over="ignore"):
        steps = np.clip(np.array(_LIMITS[activation], np.float32) / np.float32(scale(tensor)), -_FAR, _FAR)
    low, high = (zero + int(np.copysign(np.floor(abs(step) + 0.5), step)) for step in steps.astype(float))
    return min(max(low, 0), BYTE_MAX), max(min(high, BYTE_MAX), 0)
