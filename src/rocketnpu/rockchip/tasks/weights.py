"""Weights and per-channel operands as the CNA and DPU_RDMA fetch them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.rockchip.soc import Soc

Int8 = npt.NDArray[np.int8]


def aligned(value: int, unit: int) -> int:
    """Round up to a multiple of ``unit``."""
    return -(-value // unit) * unit


def padded_channels(channels: int, soc: Soc) -> int:
    """Return channels as the CNA is told: whole pixel slots (spec 3.5)."""
    return aligned(channels, soc.slot)


def pack_convolution(weights: Int8, fill: int, soc: Soc) -> bytes:
    """Lay out kernels for a convolution (spec 3.5: Mesa's streams, word for word).

    Groups of 32 kernels; in a group blocks of 32 input channels (the last may have 16); in a block row by row the
    window, kernel by kernel the channels.

    Args:
        weights: stored values, shape ``(kernels, height, width, channels)``; the number of kernels is even.
        fill: stored value of lanes beyond the last channel: the weights' zero point, so that they count for nothing.
        soc: the chip.
    """
    kernels, height, width, channels = weights.shape
    full = padded_channels(channels, soc)
    if full != channels:
        filled = np.full((kernels, height, width, full), fill, np.int8)
        filled[..., :channels] = weights
        weights = filled
    wide = full // soc.weight_lanes * soc.weight_lanes
    parts: list[bytes] = []
    for start in range(0, kernels, soc.kernel_group):
        group = weights[start : start + soc.kernel_group]
        if wide:
            blocks = group[..., :wide].reshape(len(group), height, width, -1, soc.weight_lanes)
            parts.append(blocks.transpose(3, 1, 2, 0, 4).tobytes())
        if wide != full:
            parts.append(group[..., wide:].transpose(1, 2, 0, 3).tobytes())
    return b"".join(parts)


def pack_depthwise(weights: Int8, fill: int, soc: Soc) -> bytes:
    """Lay out kernels for a depthwise convolution (spec 3.5): groups of 64 channels, in a group row by row the window.

    Args:
        weights: stored values, shape ``(height, width, channels)``.
        fill: stored value of lanes beyond the last channel.
        soc: the chip.
    """
    height, width, channels = weights.shape
    full = padded_channels(channels, soc)
    filled = np.full((height, width, full), fill, np.int8)
    filled[..., :channels] = weights
    groups = range(0, full, soc.depthwise_group)
    return b"".join(filled[..., start : start + soc.depthwise_group].tobytes() for start in groups)


def pack_biases(biases: npt.NDArray[np.int64], channels: int) -> bytes:
    """Lay out biases as plain int32, zero up to ``channels`` (spec 3.7, DATA_USE 1)."""
    padded = np.zeros(channels, "<i4")
    padded[: len(biases)] = biases
    return padded.tobytes()


def pack_records(biases: npt.NDArray[np.int64], multipliers: npt.NDArray[np.int64], channels: int, soc: Soc) -> bytes:
    """Lay out per-channel operands: records of int32 biases, int16 feature offsets and int16 multipliers, 64 bytes for
    8 channels (addendum 1.2, DATA_USE 7).

    Feature offsets are 0, for per-channel weights have zero point 0. Channels beyond the last get multiplier 1: zero is
    harmless here, but silences its whole group on a relative (RK3576).
    """
    each = soc.record_channels
    count = aligned(channels, each)
    bias = np.zeros(count, np.int64)
    bias[: len(biases)] = biases
    multiplier = np.ones(count, np.int64)
    multiplier[: len(multipliers)] = multipliers
    records = np.zeros(
        count // each, [("bias", "<i4", each), ("feature_offset", "<i2", each), ("multiplier", "<i2", each)]
    )
    records["bias"] = bias.reshape(-1, each)
    records["multiplier"] = multiplier.reshape(-1, each)
    return records.tobytes()
