"""CNA: fetches features and weights into the convolution buffer and hands them to the MAC array.

The MAC array gets features as float32 [rows, columns, channels] with the padding in place: float32 holds every int8 and
every sum that the array lets it make, and feeds the fastest matrix product there is.
"""

from __future__ import annotations

import numpy as np

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.arrays import Array, Bytes, Float32, Int8, Int64, Scratch, slots
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.core_state import BufferedWeights, StoredFeatures
from rocketnpu.rockchip.simulator.rounding import INT8_MAX, INT8_MIN, shift_half_away, shift_half_even
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig, Converter
from rocketnpu.rockchip.simulator.units.weights import StoredWeights

SLOT_BYTES = 16
SECOND_BYTE_LANES = 32
"""Channels below which the second byte of PAD_CON1 pads the odd ones of a depthwise convolution."""


def fetch_weights(config: CnaConfig, context: Context) -> StoredWeights:
    """Return the task's weights: from memory, or what the previous task left if WEIGHT_REUSE says so.

    Raises:
        SimulationError: outside mapped memory; strict mode: nothing usable was left.
    """
    state, checks = context.state, context.checks
    if config.banks.weight_reuse:
        left = state.weights
        if left is None or left.stored.shape != config.kernel:
            checks.distrust("CNA", "CBUF_CON0", "WEIGHT_REUSE is set, but no earlier task left kernels of this shape")
        elif left.split != config.banks.split:
            checks.distrust("CNA", "CBUF_CON0", _other_split("WEIGHT_REUSE", left.split, config.banks.split))
        elif config.kernel.total_bytes > config.banks.weight * context.soc.cbuf_bank_bytes:
            checks.distrust(
                "CNA", "CBUF_CON0", "WEIGHT_REUSE is set, but the weights exceed their banks and were streamed"
            )
        else:
            return left.stored
    size = config.kernel.total_bytes
    raw = context.memory.view(config.weight_address, (size,), unit="CNA", register="DCOMP_ADDR0")
    stored = state.weight_cache.load(config.weight_address, config.kernel, raw)
    state.weights = BufferedWeights(stored, config.banks.split)
    return stored


def _other_split(bit: str, left: tuple[int, int], split: tuple[int, int]) -> str:
    """Say what is wrong: contents are known to survive under the identical bank split only (addendum 7.2)."""
    return f"{bit} is set with {split[0]} + {split[1]} banks, the task before had {left[0]} + {left[1]}"


def fetch_features(config: CnaConfig, context: Context) -> Int8:
    """Return the features: from memory, or what the previous task left if DATA_REUSE says so.

    Raises:
        SimulationError: outside mapped memory; strict mode: nothing usable was left.
    """
    state, shape = context.state, (config.height, config.width, config.kernel.channels)
    if config.banks.data_reuse:
        left = state.features
        if left is None or (left.data.shape, left.packed) != (shape, config.packed):
            message = "DATA_REUSE is set, but no earlier task left features of this shape"
        elif left.split != config.banks.split:
            message = _other_split("DATA_REUSE", left.split, config.banks.split)
        else:
            return left.data
        context.checks.distrust("CNA", "CBUF_CON0", message)
    data: Int8 = state.scratch.take("features", shape, np.int8)
    if config.packed:
        pixels, table = packed_pixels(config, context.memory), converted_bytes(config)
        data[..., config.packed :] = 0
        for channel in range(config.packed):
            data[..., channel] = table[channel][pixels[..., channel]]
    else:
        target = slots(data)
        for span, view in feature_rows(config, context.memory):
            np.copyto(target[span], slots(view)[..., 0].transpose(1, 2, 0))
    state.features = StoredFeatures(data, config.packed, config.banks.split)
    return data


def padded_features(config: CnaConfig, features: Int8, lanes: int, scratch: Scratch) -> Float32:
    """Widen the first ``lanes`` channels to float32 and put the padding around them."""
    rows, columns, _ = config.padded_shape
    data: Float32 = scratch.take("padded", (rows, columns, lanes), np.float32)
    inner = data[config.pad_top :, config.pad_left :][: config.height, : config.width]
    np.copyto(inner, features[..., :lanes])
    _pad(config, data)
    return data


def feature_rows(config: CnaConfig, memory: Memory) -> list[tuple[slice, Int8]]:
    """Return views [surfaces, rows, columns, 16] of the features, and which rows each covers.

    The line-group rule (614 of 614 captured vendor tasks, all of Mesa's; spec 3.3), with G lines in a run of G * W
    slots: slot(s, y, x) = s * (SS + G * W) + (y div G) * LS + (y mod G) * W + x.
    """
    group, pitch = config.group, config.fetch_width
    surfaces, columns = config.kernel.channels // SLOT_BYTES, config.width
    surface = (config.surface_stride + group * pitch) * SLOT_BYTES
    if group == 1:
        runs = [(slice(0, config.height), 0, config.line_stride)]
    elif config.line_stride == group * pitch:
        runs = [(slice(0, config.height), 0, pitch)]
    else:
        starts = range(0, config.height, group)
        runs = [
            (slice(y, min(y + group, config.height)), y // group * config.line_stride * SLOT_BYTES, pitch)
            for y in starts
        ]
    return [
        (
            rows,
            memory.view(
                config.feature_address + offset,
                (surfaces, rows.stop - rows.start, columns, SLOT_BYTES),
                (surface, line * SLOT_BYTES, SLOT_BYTES, 1),
                unit="CNA",
                register="FEATURE_DATA_ADDR",
                dtype=np.int8,
            ),
        )
        for rows, offset, line in runs
    ]


def packed_pixels(config: CnaConfig, memory: Memory) -> Bytes:
    """View packed pixels [rows, columns, channels]: LINE_STRIDE pixels a row (Mesa, captures; spec 3.4).

    Lanes without a packed channel are don't-care, because their net weights vanish; they read 0 in the units.
    """
    count = config.packed
    view: Bytes = memory.view(
        config.feature_address,
        (config.height, config.width, count),
        (config.line_stride * count, count, 1),
        unit="CNA",
        register="FEATURE_DATA_ADDR",
    )
    return view


def converted_bytes(config: CnaConfig) -> Int8:
    """Return what the input converter makes of each of the 256 bytes: [channels of a packed pixel, 256]."""
    values = np.arange(256, dtype=np.uint8).view(np.int8 if config.converter.signed else np.uint8).astype(np.int64)
    converted = [_convert(values, channel, config.converter) for channel in range(config.packed)]
    return np.array(converted).astype(np.int8)


def _convert(values: Int64, channel: int, converter: Converter) -> Int64:
    """Apply the input converter to one channel and saturate to int8.

    With CVT_TYPE 0 the offset comes after the shift: Mesa's constants only give v - 128 that way (spec 3.4).
    """
    if not converter.bypass and converter.lanes >> channel & 1:
        shift = shift_half_away if converter.half_away else shift_half_even
        scale, offset, places = (part[channel] for part in (converter.scales, converter.offsets, converter.shifts))
        if converter.offset_first:
            values = shift((values + offset) * scale, places)
        else:
            values = shift(values * scale, places) + offset
    return np.clip(values, INT8_MIN, INT8_MAX)


def padding_lanes(value: int, depthwise: bool, lanes: int) -> Int8:
    """Return what pads each of ``lanes`` channels.

    Byte 0 of the register pads every channel, but byte 1 the odd channels below :data:`SECOND_BYTE_LANES` of a
    depthwise convolution (4,096 bytes of an RK3588; outside 2.1). No recording has more than 64 channels: that it are
    the first 32 of all, and not of each 64, is *assumed*.
    """
    pads = np.full(lanes, value & 0xFF, np.uint8)
    if depthwise:
        pads[1:SECOND_BYTE_LANES:2] = value >> 8 & 0xFF
    return pads.view(np.int8)


def _pad(config: CnaConfig, data: Float32) -> None:
    pads = padding_lanes(config.pad_value, config.depthwise, data.shape[2])
    lanes: float | Array = float(pads[0]) if np.all(pads == pads[0]) else pads.astype(np.float32)
    bottom, right = config.pad_top + config.height, config.pad_left + config.width
    data[: config.pad_top] = lanes
    data[bottom:] = lanes
    data[config.pad_top : bottom, : config.pad_left] = lanes
    data[config.pad_top : bottom, right:] = lanes
