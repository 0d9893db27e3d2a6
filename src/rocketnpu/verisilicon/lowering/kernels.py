"""An operator's constant weights and bias, and kernels that do what the hardware has no word for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.tasks.task import Bytes, Int64

MAX_DENSE = 1 << 26
"""Weights of a dense kernel that stands for a depthwise one, beyond which nobody would wait for them."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Kernels of a convolution, as stored."""

    weights: Bytes
    """``(kernels, channels, rows, columns)``; one channel where ``depthwise``."""
    zero_point: int
    scales: tuple[float, ...]
    """One, or one for each kernel."""
    biases: Int64
    depthwise: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.weights.shape[2], self.weights.shape[3]


def kernel_of(graph: Graph, operator: Operator) -> Kernel:
    """Read the weights (input 1) and the bias (input 2) of an operator."""
    tensor = graph.input_of(operator, 1)
    assert tensor.quantisation is not None
    values = stored.stored(tensor)
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    if operator.kind == "FULLY_CONNECTED":
        weights = values[:, :, None, None]
    else:
        weights = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
    number = operator.input(2)
    data = None if number is None else graph.tensors[number].data
    biases = np.zeros(len(weights), np.int64) if data is None else data.astype(np.int64).reshape(-1)
    shift = stored.SHIFT[tensor.dtype]
    zero = shift if tensor.quantisation.is_per_channel else tensor.quantisation.zero_point + shift
    scales = tuple(float(scale) for scale in tensor.quantisation.scales)
    return Kernel(np.ascontiguousarray(weights), zero, scales, biases, depthwise)


def dilated(kernel: Kernel, dilation: tuple[int, int]) -> Kernel:
    """Put zeros between the weights of a kernel."""
    if dilation == (1, 1):
        return kernel
    rows, columns = ((size - 1) * step + 1 for size, step in zip(kernel.size, dilation, strict=True))
    weights = np.full((*kernel.weights.shape[:2], rows, columns), kernel.zero_point, np.uint8)
    weights[:, :, :: dilation[0], :: dilation[1]] = kernel.weights
    return replace(kernel, weights=weights)


def dense(kernel: Kernel, channels: int) -> Kernel:
    """Return kernels over all input channels that read one each: zero points but for that one (facts 8).

    Raises:
        UnsupportedError: there are too many weights.
    """
    count, _, rows, columns = kernel.weights.shape
    if count * channels * rows * columns > MAX_DENSE:
        size = f"{count}x{channels}x{rows}x{columns}"
        raise UnsupportedError(f"generation 7 would need a dense kernel of {size} weights, more than {MAX_DENSE:,}")
    weights = np.full((count, channels, rows, columns), kernel.zero_point, np.uint8)
    numbers = np.arange(count)
    weights[numbers, numbers * channels // count] = kernel.weights[:, 0]
    return replace(kernel, weights=weights, depthwise=False)


def grouped(kernel: Kernel, channels: int) -> Kernel:
    """Return the dense form of kernels that read a group of channels each.

    Raises:
        UnsupportedError: there are too many weights.
    """
    count, read, rows, columns = kernel.weights.shape
    if read == channels:
        return kernel
    if count * channels * rows * columns > MAX_DENSE:
        raise UnsupportedError(f"a dense kernel of {count}x{channels}x{rows}x{columns} weights is too large")
    weights = np.full((count, channels // read, read, rows, columns), kernel.zero_point, np.uint8)
    numbers = np.arange(count)
    weights[numbers, numbers * (channels // read) // count] = kernel.weights
    return replace(kernel, weights=weights.reshape(count, channels, rows, columns))


def quartered(kernel: Kernel) -> Kernel:
    """Return the kernel of half the size over an image whose planes were cut into four each (facts 8)."""
    count, channels, rows, columns = kernel.weights.shape
    even = np.full((count, channels, rows + rows % 2, columns + columns % 2), kernel.zero_point, np.uint8)
    even[:, :, :rows, :columns] = kernel.weights
    height, width = even.shape[2] // 2, even.shape[3] // 2
    parts = even.reshape(count, channels, height, 2, width, 2).transpose(0, 1, 3, 5, 2, 4)
    return replace(kernel, weights=np.ascontiguousarray(parts).reshape(count, 4 * channels, height, width))


def enlarged(kernel: Kernel) -> Kernel:
    """Return a 1x1 kernel over a single channel as one of 2x2, three of them zero, as the open driver does."""
    if kernel.weights.shape[1:] != (1, 1, 1) or kernel.depthwise:
        return kernel
    weights = np.full((len(kernel.weights), 1, 2, 2), kernel.zero_point, np.uint8)
    weights[:, :, 0, 0] = kernel.weights[:, :, 0, 0]
    return replace(kernel, weights=weights)
