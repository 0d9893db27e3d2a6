"""Kernels ready to be multiplied: zero point taken off, in the form that is fastest to compute with.

Both forms give the same sums. Generation 7 has no depthwise kernels, so streams for it hold dense kernels whose
weights are zero but for one channel: these are kept as what they are, a short list of channels for each kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.verisilicon.coefficients.entropy import read_entropy
from rocketnpu.verisilicon.coefficients.kernels import MAX_WEIGHTS, Bytes, Int64, Kernels, KernelShape, refuse
from rocketnpu.verisilicon.coefficients.zero_runs import read_zero_runs

Floats = npt.NDArray[Any]
CENTRE = 128
"""Images are computed with less this, which keeps sums small enough for single precision."""
_EXACT = 1 << 24
"""Integers up to this are exact in single precision."""
_FEW_CHANNELS = 4
"""Channels of a kernel up to which a list of channels is faster than a matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class NetKernels:
    """All kernels of an instruction."""

    kernels: Kernels
    matrix: Floats | None
    """``(kernels, channels * rows * columns)``; None where each kernel reads few channels."""
    channels: Int64
    """Channels that each kernel reads, ``(kernels, n)``; empty where there is a matrix."""
    taps: Floats
    """Weights of these channels, ``(kernels, n, rows, columns)``."""
    sums: Int64
    """Sum of each kernel's net weights."""
    reaches: Int64
    """Largest absolute sum that each kernel can make of a centred image."""
    source: bytes
    """The buffer as far as it was read, to notice when it changes."""


def read_kernels(data: Bytes, shape: KernelShape, generation: int) -> Kernels:
    """Read a coefficient buffer of either generation.

    Raises:
        SimulationError: it cannot be read, or holds more than any job can.
    """
    if shape.kernels * shape.weights > MAX_WEIGHTS:
        refuse(f"{shape.kernels} kernels of {shape.weights} weights are more than any job can hold")
    return (read_zero_runs if generation == 7 else read_entropy)(data, shape)


def load_kernels(data: Bytes, shape: KernelShape, generation: int) -> NetKernels:
    """Read a coefficient buffer and prepare its kernels.

    Raises:
        SimulationError: it cannot be read.
    """
    kernels = read_kernels(data, shape, generation)
    net = kernels.weights.astype(np.int16) - np.int16(shape.zero_point)
    flat = net.reshape(len(net), -1)
    sums = flat.sum(axis=1, dtype=np.int64)
    reaches = CENTRE * np.abs(flat).sum(axis=1, dtype=np.int64)
    kind = np.float32 if reaches.max(initial=0) < _EXACT else np.float64
    source = data[: kernels.size].tobytes()
    if shape.depthwise:
        return NetKernels(kernels, None, kernels.places[:, None], net.astype(kind), sums, reaches, source)
    used = net.any(axis=(2, 3))
    most = int(used.sum(axis=1).max(initial=0))
    if most > min(_FEW_CHANNELS, shape.channels // 4):
        empty = np.zeros((0, 0), np.int64)
        return NetKernels(kernels, flat.astype(kind), empty, np.zeros((0, 0, 0, 0), kind), sums, reaches, source)
    # Stable, so that kernels with fewer channels are filled up with some whose weights are all zero.
    chosen = np.argsort(~used, axis=1, kind="stable")[:, : max(most, 1)].astype(np.int64)
    taps = np.take_along_axis(net, chosen[:, :, None, None], axis=1).astype(kind)
    return NetKernels(kernels, None, chosen, taps, sums, reaches, source)


class KernelCache:
    """Kernels that were read already, by address; what lies there is compared each time."""

    _LIMIT = 1 << 28
    """Bytes of prepared kernels that are kept."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, KernelShape, int], NetKernels] = {}
        self._bytes = 0

    def load(self, address: int, data: Bytes, shape: KernelShape, generation: int) -> NetKernels:
        """Return the kernels at ``address``, where ``data`` begins.

        Raises:
            SimulationError: they cannot be read.
        """
        key = (address, shape, generation)
        known = self._found.get(key)
        if known is not None and data[: len(known.source)].tobytes() == known.source:
            return known
        if known is not None:
            self._bytes -= _size(known)
        found = load_kernels(data, shape, generation)
        if self._bytes + _size(found) > self._LIMIT:
            self._found.clear()
            self._bytes = 0
        self._found[key] = found
        self._bytes += _size(found)
        return found


def _size(kernels: NetKernels) -> int:
    matrix = 0 if kernels.matrix is None else kernels.matrix.nbytes
    return matrix + kernels.taps.nbytes + kernels.kernels.weights.nbytes + len(kernels.source)
