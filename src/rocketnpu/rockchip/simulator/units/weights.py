"""Weights: their order in memory, decoding, and the copies that are kept while the bytes stay the same.

Order of a regular int8 convolution (Mesa, recordings of its buffers and this simulator; spec 3.5): groups of 32
kernels, in each groups of 32 input channels (the last may hold 16), then kernel rows, columns, kernels, lanes.
Depthwise: groups of 64 channels (the last 16, 32 or 48), then rows, columns, lanes. A kernel occupies rows * columns
* padded channels bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Bytes, Float32, Int8, Int16, Int64

KERNEL_GROUP = 32
"""Kernels of one block, int8 (TRM)."""
LANES = 32
"""Input channels of one block."""
DEPTHWISE_GROUP = 64
"""Channels of one depthwise block."""
PACKED_GROUP = 32
"""Outputs that the compiled arithmetic works on together."""
MAX_INPUT = 128
"""Largest magnitude of an int8 feature."""
EXACT_FLOAT32 = 1 << 24
"""Sums of integers below this magnitude are exact in float32, whatever the order of adding."""
CACHE_BYTES = 192 << 20
"""Decoded weights kept at most; a network larger than this decodes again."""


@dataclass(frozen=True, slots=True)
class KernelShape:
    """Geometry of the kernels in a weight buffer."""

    height: int
    width: int
    channels: int
    """Padded input channels, a multiple of 16."""
    kernels: int
    depthwise: bool

    @property
    def kernel_bytes(self) -> int:
        """Bytes of one kernel."""
        return self.height * self.width * self.channels

    @property
    def total_bytes(self) -> int:
        """Bytes of all kernels."""
        return self.kernel_bytes * self.kernels


@dataclass(frozen=True, slots=True)
class NetWeights:
    """Weights with the OW operand added, ready for the MAC array.

    ``matrix`` is [taps * lanes, outputs] for regular and [taps, channels] for depthwise convolutions. ``lanes`` counts
    the leading input channels that carry any weight: what padding channels hold is multiplied by zero only. ``parts``
    cut its rows so that the sums over each part are exact in float32; ``bound`` limits the magnitude of the whole
    sum.
    """

    matrix: Float32
    parts: tuple[slice, ...]
    bound: int
    lanes: int


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """Net weights as the compiled arithmetic wants them: int16, in groups of 32 outputs.

    ``values`` is [groups, taps, lanes / 2, 32, 2] for regular convolutions and [groups, taps / 2, 32, 2] for depthwise
    ones, an odd tap with zeros beside it. ``lanes`` is even.
    """

    values: Int16
    bound: int
    lanes: int


@dataclass(slots=True)
class StoredWeights:
    """Bytes of a weight buffer, as fetched, and what was decoded from them."""

    raw: Bytes
    shape: KernelShape
    nets: dict[tuple[int, bytes], NetWeights] = field(default_factory=dict)
    packed: dict[tuple[int, bytes], PackedWeights | None] = field(default_factory=dict)
    ready: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)
    """Compiled forms of tasks that use these weights, by the task."""

    def net(self, outputs: int, operand: Int64) -> NetWeights:
        """Return the first ``outputs`` kernels (channels, if depthwise) with ``operand`` added to each weight.

        Adding the OW operand to every weight is the same as adding operand times the window's sum (spec 12.1, step 6).
        """
        key = (outputs, operand.tobytes())
        found = self.nets.get(key)
        if found is None:
            found = self.nets[key] = self._decoded(outputs, operand)
        return found

    def pack(self, outputs: int, operand: Int64) -> PackedWeights | None:
        """Return the same for the compiled arithmetic; None where they exceed int16, or sums could exceed int32."""
        key = (outputs, operand.tobytes())
        if key not in self.packed:
            self.packed[key] = _pack(self._decoded(outputs, operand), self.shape)
        return self.packed[key]

    def _decoded(self, outputs: int, operand: Int64) -> NetWeights:
        decode = decode_depthwise if self.shape.depthwise else decode_regular
        return _net(decode(self.raw.view(np.int8), self.shape)[..., :outputs], operand, self.shape)

    @property
    def held_bytes(self) -> int:
        """Memory in use."""
        packed = sum(one.values.nbytes for one in self.packed.values() if one is not None)
        return self.raw.size + sum(net.matrix.nbytes for net in self.nets.values()) + packed


def decode_regular(raw: Int8, shape: KernelShape) -> Int8:
    """Return [height, width, channels, kernels] of a regular convolution."""
    out = np.empty((shape.height, shape.width, shape.channels, shape.kernels), np.int8)
    whole = shape.kernels // KERNEL_GROUP * KERNEL_GROUP
    _decode_groups(raw[: whole * shape.kernel_bytes], out[..., :whole], KERNEL_GROUP)
    _decode_groups(raw[whole * shape.kernel_bytes :], out[..., whole:], shape.kernels - whole)
    return out


def _decode_groups(raw: Int8, out: Int8, kernels: int) -> None:
    """Decode kernel groups of one size into ``out[height, width, channels, groups * kernels]``."""
    if not raw.size:
        return
    height, width, channels, total = out.shape
    groups = total // kernels
    whole = channels // LANES * LANES
    data = raw.reshape(groups, -1)
    cut = height * width * kernels * whole
    blocks = data[:, :cut].reshape(groups, whole // LANES, height, width, kernels, LANES)
    tail = data[:, cut:].reshape(groups, height, width, kernels, channels - whole)
    main = blocks.transpose(2, 3, 1, 5, 0, 4).reshape(height, width, whole, total)
    rest = tail.transpose(1, 2, 4, 0, 3).reshape(height, width, channels - whole, total)
    out[:, :, :whole] = main
    out[:, :, whole:] = rest


def decode_depthwise(raw: Int8, shape: KernelShape) -> Int8:
    """Return [height, width, channels] of a depthwise convolution."""
    taps, channels = shape.height * shape.width, shape.channels
    whole = channels // DEPTHWISE_GROUP * DEPTHWISE_GROUP
    main = raw[: taps * whole].reshape(-1, taps, DEPTHWISE_GROUP).transpose(1, 0, 2).reshape(taps, whole)
    rest = raw[taps * whole : taps * channels].reshape(taps, channels - whole)
    return np.concatenate((main, rest), axis=1).reshape(shape.height, shape.width, channels)


def _net(decoded: Int8, operand: Int64, shape: KernelShape) -> NetWeights:
    outputs = decoded.shape[-1]
    net = decoded.reshape(shape.height * shape.width, -1, outputs).astype(np.float32)
    net += operand.astype(np.float32)
    used = np.flatnonzero(net.any(axis=(0, 2)))
    lanes = shape.channels if shape.depthwise else int(used[-1]) + 1 if used.size else 1
    matrix: Float32 = np.ascontiguousarray(net[:, :lanes]).reshape(-1, outputs)
    magnitude = np.abs(matrix)
    bound = int(magnitude.sum(axis=0, dtype=np.float64).max(initial=0)) * MAX_INPUT
    if shape.depthwise or bound < EXACT_FLOAT32:
        return NetWeights(matrix, (slice(0, len(matrix)),), bound, lanes)
    return NetWeights(matrix, _exact_parts(magnitude), bound, lanes)


def _pack(net: NetWeights, shape: KernelShape) -> PackedWeights | None:
    limits = np.iinfo(np.int16)
    if net.bound > np.iinfo(np.int32).max or net.matrix.min() < limits.min or net.matrix.max() > limits.max:
        return None
    taps, outputs = shape.height * shape.width, net.matrix.shape[1]
    groups = -(-outputs // PACKED_GROUP)
    if shape.depthwise:
        taps += taps % 2
        whole: Int16 = np.zeros((taps, groups * PACKED_GROUP), np.int16)
        whole[: len(net.matrix), :outputs] = net.matrix
        pairs = whole.reshape(taps // 2, 2, groups, PACKED_GROUP).transpose(2, 0, 3, 1)
        return PackedWeights(np.ascontiguousarray(pairs), net.bound, net.lanes)
    lanes = net.lanes + net.lanes % 2
    whole = np.zeros((taps, lanes, groups * PACKED_GROUP), np.int16)
    whole[:, : net.lanes, :outputs] = net.matrix.reshape(taps, net.lanes, outputs)
    pairs = whole.reshape(taps, lanes // 2, 2, groups, PACKED_GROUP).transpose(3, 0, 1, 4, 2)
    return PackedWeights(np.ascontiguousarray(pairs), net.bound, lanes)


def _exact_parts(magnitude: Float32) -> tuple[slice, ...]:
    """Cut the rows so that MAX_INPUT times each column's sum over a part stays below 2**24."""
    rows = len(magnitude)
    count = 2
    while True:
        size = -(-rows // count)
        parts = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
        worst = max(float(magnitude[part].sum(axis=0, dtype=np.float64).max()) for part in parts)
        if worst * MAX_INPUT < EXACT_FLOAT32 or size == 1:
            return tuple(parts)
        count *= 2


class WeightCache:
    """Weight buffers seen before. Contents are compared at each use, so that a rewritten buffer is decoded anew."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[int, KernelShape], StoredWeights] = OrderedDict()

    def load(self, address: int, shape: KernelShape, memory: Bytes) -> StoredWeights:
        """Return the weights whose bytes ``memory`` holds now."""
        key = (address, shape)
        entry = self._entries.get(key)
        if entry is None or not _same(entry.raw, memory):
            entry = self._entries[key] = StoredWeights(memory.copy(), shape)
            self._evict()
        self._entries.move_to_end(key)
        return entry

    def _evict(self) -> None:
        held = sum(entry.held_bytes for entry in self._entries.values())
        while held > CACHE_BYTES and len(self._entries) > 1:
            held -= self._entries.popitem(last=False)[1].held_bytes


def _same(first: Bytes, second: Bytes) -> bool:
    """Compare in units of 8 bytes, which is several times faster than bytewise."""
    cut = first.size // 8 * 8
    whole = np.array_equal(first[:cut].view(np.uint64), second[:cut].view(np.uint64))
    return whole and np.array_equal(first[cut:], second[cut:])
