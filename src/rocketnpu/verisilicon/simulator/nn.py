"""The NN cores: a convolution of bytes, its bias, one multiplier for all channels, and the bytes of the result.

Arithmetic (facts 4): generation 7 multiplies the image's bytes as they are, generation 8 less 128; both add the stored
bias, scale by a multiplier below a right shift, round, add the output's zero point and clamp. Rounding is half away
from zero: **assumed**, since no recorded output of these chips is public and published verdicts allow two steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.coefficients.kernels import Bytes, Int64
from rocketnpu.verisilicon.simulator.net_kernels import CENTRE, KernelCache, NetKernels
from rocketnpu.verisilicon.simulator.nn_config import NnConfig

Floats = npt.NDArray[Any]
_ACCUMULATOR = 1 << 31
"""Sums beyond this are refused: how wide the accumulator is and whether it saturates is not known (facts 11)."""
_EXACT_PRODUCT = 1 << 53
_FAR = 60
"""A shift by this or more leaves nothing of a product."""
_MOST_BYTES = 1 << 29
"""Of an image with its border, as it is computed with: an instruction may ask for a large one around a small image."""
_CHUNK = 1 << 20
"""Values that are computed at once: about what a processor keeps close."""


def run_nn(config: NnConfig, generation: int, memory: Memory, cache: KernelCache) -> None:
    """Run one convolution.

    Raises:
        SimulationError: it leaves mapped memory, its coefficients cannot be read, or its sums leave what is known.
    """
    image = _image(config, memory)
    found = memory.find(config.coefficients, config.coefficients + 1)
    if found is None:
        message = f"the coefficients at 0x{config.coefficients:x} lie in no buffer"
        raise SimulationError(message, unit="NN", register="COEFFICIENTS")
    net = cache.load(config.coefficients, found[0][found[1] :], config.shape, generation)
    planes = _planes(config, net, generation, memory)
    constants = net.kernels.biases + (CENTRE * net.sums if generation == 7 else 0)
    reach = int((net.reaches + np.abs(constants))[planes.kept].max(initial=0))
    if reach >= _ACCUMULATOR:
        raise SimulationError(f"sums up to {reach:,}: beyond 32 bits nothing is known", unit="NN", register="KERNEL_Z")
    _check_room(config, net.taps.itemsize)
    padded = _padded(config, image, net.taps.dtype)
    requantise = _Requantise(config, constants, reach)
    if not planes.kept.size:
        return
    if net.matrix is None:
        _convolve_lists(config, net, padded, requantise, planes)
    else:
        _convolve_matrix(config, net.matrix, padded, requantise, planes)


def _image(config: NnConfig, memory: Memory) -> Bytes:
    """View the image, ``(channels, rows, columns)``."""
    return memory.view(
        config.in_address,
        (config.in_planes, config.in_rows, config.in_columns),
        (config.in_plane, config.in_stride, 1),
        unit="NN",
        register="IN_ADDRESS",
    )


class _Planes:
    """Where each kernel's map goes; kernels that go nowhere are left out."""

    def __init__(self, kept: Int64, regular: Bytes | None, single: list[Bytes]) -> None:
        self.kept = kept
        self._regular, self._single = regular, single

    def write(self, first: int, rows: slice, values: Bytes) -> None:
        """Write rows of the kept kernels from ``first`` on; ``values`` is ``(kernels, rows, columns)``."""
        if self._regular is not None:
            self._regular[first : first + len(values), rows] = values
            return
        for number, plane in enumerate(values, first):
            self._single[number][rows] = plane


def _planes(config: NnConfig, net: NetKernels, generation: int, memory: Memory) -> _Planes:
    """Find the output planes.

    Raises:
        SimulationError: one lies outside mapped memory.
    """
    places = net.kernels.places if generation == 7 else net.kernels.places * config.out_plane
    # The last core's surplus kernels point behind the tensor: they are dropped (facts 5).
    kept = np.flatnonzero(places < config.shape.kernels * max(config.out_plane, 1))
    order = kept[np.argsort(places[kept], kind="stable")]
    shape, strides = (config.out_rows, config.out_columns), (config.out_stride, 1)
    sorted_places = places[order]
    if order.size and (np.diff(sorted_places) == config.out_plane).all():
        whole = memory.view(
            config.out_address + int(sorted_places[0]),
            (len(order), *shape),
            (config.out_plane, *strides),
            unit="NN",
            register="OUT_ADDRESS",
            write=True,
        )
        return _Planes(order, whole, [])
    single = [
        memory.view(config.out_address + place, shape, strides, unit="NN", register="OUT_ADDRESS", write=True)
        for place in sorted_places.tolist()
    ]
    return _Planes(order, None, single)


def _check_room(config: NnConfig, size: int) -> None:
    """See that this machine has room for an image with its border, and for what is computed at once.

    Raises:
        SimulationError: it takes too much.
    """
    rows = (config.out_rows - 1) * config.step + config.shape.rows
    columns = (config.out_columns - 1) * config.step + config.shape.columns
    windows = config.out_columns * config.shape.weights
    plane = 4 * config.out_rows * config.out_columns
    room = size * max(config.in_planes * rows * columns, windows, plane)
    if room > _MOST_BYTES:
        message = f"{config.out_columns}x{config.out_rows} windows take {room:,} bytes, more than are spent on a job"
        raise SimulationError(message, unit="NN", register="OUT_X")


def _padded(config: NnConfig, image: Bytes, kind: np.dtype[Any]) -> Floats:
    """Return what the windows read, less the centre, ``(channels, rows, columns)``, the border around it."""
    rows = (config.out_rows - 1) * config.step + config.shape.rows
    columns = (config.out_columns - 1) * config.step + config.shape.columns
    top, left = -config.offset_y, -config.offset_x
    padded = np.full((len(image), rows, columns), config.border - CENTRE, kind)
    inside_rows = slice(max(top, 0), min(top + config.in_rows, rows))
    inside_columns = slice(max(left, 0), min(left + config.in_columns, columns))
    if inside_rows.stop > inside_rows.start and inside_columns.stop > inside_columns.start:
        part = image[
            :,
            inside_rows.start - top : inside_rows.stop - top,
            inside_columns.start - left : inside_columns.stop - left,
        ]
        np.subtract(part, CENTRE, out=padded[:, inside_rows, inside_columns], dtype=kind, casting="unsafe")
    return padded


class _Requantise:
    """Turns sums into bytes."""

    def __init__(self, config: NnConfig, constants: Int64, reach: int) -> None:
        self._config, self._constants = config, constants
        self._exact = reach * config.multiplier < _EXACT_PRODUCT

    def __call__(self, sums: Floats, kernels: Int64) -> Bytes:
        """Return the bytes of sums ``(kernels, ...)`` before bias."""
        config = self._config
        constants = self._constants[kernels].reshape(-1, *([1] * (sums.ndim - 1)))
        zero_point = config.out_zero_point
        low = 0 if config.relu else -zero_point
        if not self._exact:
            return self._slowly(sums, constants, low)
        scaled: npt.NDArray[np.float64] = np.add(sums, constants, dtype=np.float64)
        scaled *= config.multiplier * 2.0**-config.shift
        np.clip(scaled, low, 255 - zero_point, out=scaled)
        if low < 0:
            scaled += np.copysign(0.5, scaled)
        else:
            scaled += 0.5
        return (scaled.astype(np.int16) + np.int16(zero_point)).astype(np.uint8)

    def _slowly(self, sums: Floats, constants: Int64, low: int) -> Bytes:
        """The same in whole numbers, for products that double precision does not hold."""
        config = self._config
        product = (sums.astype(np.int64) + constants) * config.multiplier
        shift = min(config.shift, _FAR)
        half = 1 << shift - 1 if shift else 0
        rounded = np.sign(product) * (np.abs(product) + half >> shift)
        clipped: Int64 = np.clip(rounded, low, 255 - config.out_zero_point)
        return (clipped + config.out_zero_point).astype(np.uint8)


def _convolve_matrix(
    config: NnConfig, matrix: Floats, padded: Floats, requantise: _Requantise, planes: _Planes
) -> None:
    """Multiply a matrix of kernels with the windows, some output rows at a time."""
    kernels = matrix[planes.kept]
    width, step = config.out_columns, config.step
    windows = np.lib.stride_tricks.sliding_window_view(padded, (config.shape.rows, config.shape.columns), (1, 2))
    windows = windows[:, ::step, ::step].transpose(0, 3, 4, 1, 2)
    at_once = max(1, _CHUNK // (width * max(kernels.shape)))
    for row in range(0, config.out_rows, at_once):
        rows = slice(row, min(row + at_once, config.out_rows))
        columns = windows[..., rows, :].reshape(kernels.shape[1], -1)
        sums = (kernels @ columns).reshape(len(kernels), -1, width)
        planes.write(0, rows, requantise(sums, planes.kept))


def _convolve_lists(
    config: NnConfig, net: NetKernels, padded: Floats, requantise: _Requantise, planes: _Planes
) -> None:
    """Multiply each kernel with the few channels that it reads, some kernels at a time."""
    size = config.out_rows * config.out_columns
    at_once = max(1, _CHUNK // 8 // size)
    for first in range(0, len(planes.kept), at_once):
        kernels = planes.kept[first : first + at_once]
        sums = np.zeros((len(kernels), config.out_rows, config.out_columns), padded.dtype)
        scratch = np.empty_like(sums)
        for number in range(net.channels.shape[1]):
            images = padded[net.channels[kernels, number] % config.in_planes]
            taps = net.taps[kernels, number]
            for row in range(config.shape.rows):
                for column in range(config.shape.columns):
                    window = images[:, row :: config.step, column :: config.step]
                    window = window[:, : config.out_rows, : config.out_columns]
                    np.multiply(window, taps[:, row, column, None, None], out=scratch)
                    sums += scratch
        planes.write(first, slice(0, config.out_rows), requantise(sums, kernels))
