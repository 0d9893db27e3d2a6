"""Trials of padding, rounding, clamping and records: nothing in them but convolutions that are known to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from rocketnpu.proofs.trial import RULE, Hazard, Trial
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.proofs.bench import UNIT, UNTOUCHED, Bench, with_operands
from rocketnpu.rockchip.proofs.numbers import Int64, floored, half_away, half_even, half_up, windows, wrapped
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Conversion

SEED = 3588
CHANNELS = 32
INT32 = np.iinfo(np.int32)


def spread(low: int, high: int, shape: tuple[int, ...] = (4, 5, CHANNELS)) -> Int64:
    """Return values between two bounds, both of which occur."""
    values = np.random.default_rng(SEED).integers(low, high, shape, np.int64, endpoint=True)
    values.reshape(-1)[[0, -1]] = low, high
    return values


def padding(soc: Soc) -> Iterator[Trial]:
    """Which byte of PAD_CON1 pads which channel of a depthwise convolution."""
    bench, channels = Bench(soc), 2 * soc.depthwise_group
    low, high = 5, -7
    x = spread(-3, 3, (4, 4, channels))
    weights = spread(-2, 2, (3, 3, channels)).astype(np.int8)
    odd = np.arange(channels) % 2 == 1

    def padded(second: Int64) -> Int64:
        whole = np.full((6, 6, channels), low, np.int64)
        whole[:, :, np.flatnonzero(second)] = high
        whole[1:5, 1:5] = x
        sums: Int64 = (windows(whole, (4, 4), (3, 3), (1, 1)) * weights.reshape(9, 1, 1, channels)).sum(0)
        return sums

    place = np.arange(channels)
    answers = {
        RULE: padded(odd & (place < 32)),
        "the first 32 of each 64 channels": padded(odd & (place % 64 < 32)),
        "all odd channels": padded(odd),
        "the first byte everywhere": padded(odd & False),
    }
    layer = bench.layer(bench.source(x), weights, (4, 4), padding=(1, 1))
    changes = {"CNA.PAD_CON1": {"PAD_VALUE": (high & 0xFF) << 8 | low}}
    yield bench.trial("depthwise-pad-lanes", "two bytes, 128 channels", [bench.tasks(layer)], answers, changes=changes)


def ties(soc: Soc) -> Iterator[Trial]:
    """Whether the output converter rounds before it adds an odd offset."""
    bench, offset = Bench(soc), 3
    x = spread(-60, 60)
    answers = {
        RULE: half_even(x, 1) + offset,
        "rounded together with the offset": half_even(x + 2 * offset, 1),
        "half up": half_up(x, 1) + offset,
        "half away from zero": half_away(x, 1) + offset,
    }
    layer = bench.identity(x, Requantise(Conversion(1, 1, offset)))
    yield bench.trial("offset-ties", "halves and an offset of 3", [bench.tasks(layer)], answers)


def two_roundings(soc: Soc) -> Iterator[Trial]:
    """Whether the channel's product is rounded before the common factor. No tie is left to the second rounding."""
    bench, factor, shift = Bench(soc), 21845, 16
    x = spread(-60, 60)
    multipliers = np.where(np.arange(CHANNELS) % 2 == 0, 8192, 5461 * 3).astype(np.int64)
    product = 7 * x * multipliers

    def finished(stage: Int64) -> Int64:
        return half_even(stage * factor, shift)

    answers = {
        RULE: finished(half_even(product, 14)),
        "rounded once": half_even(product * factor, 14 + shift),
        "first half up": finished(half_up(product, 14)),
        "first half away from zero": finished(half_away(product, 14)),
        "first floored": finished(floored(product, 14)),
    }
    layer = bench.identity(x, Requantise(Conversion(factor, shift, 0), multipliers), factor=7)
    yield bench.trial("two-roundings", "halves of a channel's product", [bench.tasks(layer)], answers)


def saturation(soc: Soc) -> Iterator[Trial]:
    """What BS does with a sum beyond 32 bits."""
    bench, channels, shift, offset = Bench(soc), 2048, 24, -100
    total = 127 * 127 * channels + INT32.max
    source = bench.source(np.full((1, 1, channels), 127, np.int64))
    weights = np.full((CHANNELS, 1, 1, channels), 127, np.int8)
    layer = bench.layer(source, weights, (1, 1), Requantise(Conversion(1, shift, offset)))
    at = bench.constants.add(np.full(CHANNELS, INT32.max, "<i4").tobytes())
    tasks = [with_operands(task, at) for task in bench.tasks(layer)]
    sums = {RULE: INT32.max, "wraps around": int(wrapped(np.array(total), 32)), "keeps more than 32 bits": total}
    answers = {
        name: half_even(np.full((1, 1, CHANNELS), value, np.int64), shift) + offset for name, value in sums.items()
    }
    yield bench.trial("stage-saturation", "a bias of 2**31 - 1", [tasks], answers)


def channels_beyond(soc: Soc) -> Iterator[Trial]:
    """What channels hold that fill up a kernel group."""
    bench, real, fill, offset = Bench(soc), 6, -3, 7
    x = spread(-60, 60)
    weights = np.zeros((real, 1, 1, CHANNELS), np.int8)
    weights[np.arange(real), 0, 0, np.arange(real)] = 1
    layer = bench.layer(bench.source(x), weights, (4, 5), Requantise(Conversion(1 << 14, 14, offset)))
    answers = {}
    fills = {RULE: fill, "zero": 0, "the output's offset": offset, "they are not written": UNTOUCHED}
    for name, value in fills.items():
        answers[name] = np.full((4, 5, CHANNELS), value, np.int64)
        answers[name][..., :real] = x[..., :real] + offset
    changes = {"DPU.OFFSET_PEND": {"OFFSET_PEND": fill}}
    yield bench.trial("written-padding", "6 channels of 32", [bench.tasks(layer)], answers, changes=changes)


def ceilings(soc: Soc) -> Iterator[Trial]:
    """RELUX in either stage; the factor behind it is 2, exactly."""
    x, top, double = spread(-60, 60), 30, Conversion(1 << 14, 13, 0)
    answers = {
        RULE: 2 * np.clip(x, 0, top),
        "no upper bound": 2 * np.maximum(x, 0),
        "no lower bound": 2 * np.minimum(x, top),
        "bounds behind the converter": np.clip(2 * x, 0, top),
    }
    stages = {"BN": Requantise(double, relu=True, ceiling=top), "BS": Requantise(double, room=top)}
    for name, requantise in stages.items():
        bench = Bench(soc)
        yield bench.trial(Unproven.CEILING, name, [bench.tasks(bench.identity(x, requantise))], answers)


def lifted(soc: Soc) -> Iterator[Trial]:
    """A constant that BN adds in front of its ReLU."""
    bench, x, lift = Bench(soc), spread(-60, 60), 37
    answers = {
        RULE: np.maximum(x + lift, 0),
        "not added": np.maximum(x, 0),
        "subtracted": np.maximum(x - lift, 0),
        "added behind the ReLU": np.maximum(x, 0) + lift,
    }
    layer = bench.identity(x, Requantise(UNIT, relu=True, lift=lift))
    yield bench.trial(Unproven.LIFT, "37 and a ReLU", [bench.tasks(layer)], answers)


def slopes(soc: Soc) -> Iterator[Trial]:
    """PReLU in BS: a slope of one half for negative values; all values are even."""
    bench, x = Bench(soc), 2 * spread(-60, 60)
    half = x // 2
    answers = {
        RULE: np.where(x < 0, half, x),
        "all values are multiplied": half,
        "positive values are multiplied": np.where(x > 0, half, x),
        "no value is multiplied": x,
    }
    slope = np.full(CHANNELS, 1 << 13, np.int64)
    layer = bench.identity(x, Requantise(UNIT, slope, slope_shift=14))
    yield bench.trial(Unproven.PARAMETRIC_RELU, "slopes of a half", [bench.tasks(layer)], answers)


def depthwise_records(soc: Soc) -> Iterator[Trial]:
    """Per-channel operands of a depthwise convolution: bias, feature offset and multiplier of each channel."""
    bench, channels, each = Bench(soc), soc.depthwise_group, soc.record_channels
    x = spread(-3, 3, (4, 4, channels))
    weights = 2 * spread(-2, 2, (3, 3, channels)).astype(np.int8)
    kind = np.dtype([("bias", "<i4", each), ("offset", "<i2", each), ("multiplier", "<i2", each)])
    records = np.zeros(channels // each, kind)
    records["bias"] = 2 * spread(-9, 9, records["bias"].shape)
    records["offset"] = 2 * spread(-1, 1, records["offset"].shape)
    records["multiplier"] = np.where(np.arange(each) % 2, 1 << 14, 1 << 13)
    raw = records.tobytes() + bytes(8 * channels)
    taps = windows(x, (2, 2), (3, 3), (1, 1))
    sums = (taps * weights.reshape(9, 1, 1, channels)).sum(0)

    def answer(operands: Mapping[str, Int64]) -> Int64:
        total = sums + taps.sum(0) * operands["offset"] + operands["bias"]
        return half_even(np.clip(total, INT32.min, INT32.max) * operands["multiplier"], 14)

    answers = {
        RULE: answer({name: records[name].reshape(-1).astype(np.int64) for name in kind.names or ()}),
        "records of 48 bytes without feature offsets": answer(short_records(raw, channels, each)),
        "one kind behind the other": answer(columns_of_operands(raw, channels)),
    }
    identity = np.full(channels, 1 << 14, np.int64)
    layer = bench.layer(bench.source(x), weights, (2, 2), Requantise(UNIT, identity))
    at = bench.constants.add(raw)
    tasks = [with_operands(task, at) for task in bench.tasks(layer)]
    yield bench.trial(
        Unproven.CHANNEL_RECORDS_DEPTHWISE, "records of 64 bytes", [tasks], answers, needs=("two-roundings",)
    )


def short_records(raw: bytes, channels: int, each: int) -> dict[str, Int64]:
    """Read operands as a relative's depthwise convolutions have them: 48 bytes for 8 channels (addendum 1.6)."""
    kind = np.dtype([("bias", "<i4", each), ("multiplier", "<i2", each)])
    records = np.frombuffer(raw, kind, channels // each)
    found = {name: records[name].reshape(-1).astype(np.int64) for name in ("bias", "multiplier")}
    return found | {"offset": np.zeros(channels, np.int64)}


def columns_of_operands(raw: bytes, channels: int) -> dict[str, Int64]:
    """Read operands as three arrays, all biases first."""
    bias = np.frombuffer(raw, "<i4", channels).astype(np.int64)
    words = np.frombuffer(raw, "<i2", 2 * channels, 4 * channels).astype(np.int64)
    return {"bias": bias, "offset": words[:channels], "multiplier": words[channels:]}


def dilated(soc: Soc) -> Iterator[Trial]:
    """How far apart the taps of a kernel are."""
    bench, size, down, across = Bench(soc), (5, 5), 2, 3
    x = spread(-2, 2, (11, 11, CHANNELS))
    taps = np.arange(1, 10).reshape(3, 3)
    weights = np.zeros((CHANNELS, 3, 3, CHANNELS), np.int8)
    weights[np.arange(CHANNELS), :, :, np.arange(CHANNELS)] = taps
    read = x[: size[0] + 2 * down]

    def answer(rows: int, columns: int) -> Int64:
        sums: Int64 = (windows(read, size, (3, 3), (rows, columns)) * taps.reshape(9, 1, 1, 1)).sum(0)
        return sums

    answers = {
        RULE: answer(down, across),
        "ignored": answer(1, 1),
        "rows and columns exchanged": answer(across, down),
        "the fields hold the distance itself": answer(down - 1, across - 1),
    }
    layer = bench.layer(bench.source(x), weights, size, dilation=(down, across))
    yield bench.trial(Unproven.DILATION, "2 rows, 3 columns", [bench.tasks(layer)], answers)


def wide_output(soc: Soc) -> Iterator[Trial]:
    """An output of 16 bits, row after row."""
    bench, rows = Bench(soc), 4
    x = spread(-127, 127, (rows, 1, CHANNELS))
    values = (x[:, 0] * 97).astype("<i2")
    layer = bench.identity(x, factor=97)
    notch = CHANNELS // 8 - 1
    changes = {
        "DPU.DATA_FORMAT": {"OUT_PRECISION": 1},
        "DPU.DST_SURF_STRIDE": {"DST_SURF_STRIDE": 1},
        "DPU.DATA_CUBE_NOTCH_ADDR": {"NOTCH_ADDR_0": notch, "NOTCH_ADDR_1": notch},
        "DPU.BS_OW_CFG": {"SIZE_E_0": 3, "SIZE_E_1": 3, "SIZE_E_2": 3, "OD_BYPASS": 1},
        "DPU.SURFACE_ADD": {"SURF_ADD": 4},
    }
    answers = {
        RULE: values.tobytes(),
        "clipped to bytes": np.clip(values, -128, 127).astype("<i2").tobytes(),
        "only the low byte": wrapped(values.astype(np.int64), 8).astype("<i2").tobytes(),
    }
    yield bench.trial(
        "int16-output", "row-major", [bench.tasks(layer)], answers, changes=changes, hazard=Hazard.MAY_TIME_OUT
    )


def gaps(soc: Soc) -> Iterator[Trial]:
    """Where the fetch finds the rows of a map that is a part of a wider one."""
    bench, rows, width, whole = Bench(soc), 6, 5, 9
    x = spread(-100, 100, (rows, whole, CHANNELS))
    flat = x.reshape(rows * whole, CHANNELS)
    layer = bench.identity(x)
    layer = replace(layer, source=layer.source.column_slice(0, width), target=bench.result(rows, width, CHANNELS))

    def answer(starts: list[int]) -> Int64:
        return np.stack([flat[start : start + width] for start in starts])

    answers = {
        RULE: x[:, :width],
        "no gap": answer([row * width for row in range(rows)]),
        "a gap after four rows": answer([row // 4 * whole + row % 4 * width for row in range(rows)]),
    }
    yield bench.trial(Unproven.SOURCE_GAP, "5 of 9 columns", [bench.tasks(layer)], answers)


def pictures(soc: Soc) -> Iterator[Trial]:
    """Pixels of three bytes as the host has them."""
    bench, rows, columns, channels = Bench(soc), 4, 16, 3
    x = spread(-20, 20, (rows, columns, channels))
    stored = (x + 128).astype(np.uint8)
    at = bench.constants.add(stored.tobytes())
    source = FeatureMap(at, rows, columns, channels, stored.size, channels, unsigned=True)
    weights = spread(-2, 2, (CHANNELS, 1, 1, channels)).astype(np.int8)

    def answer(values: Int64) -> Int64:
        sums: Int64 = (values[:, :, None] * weights[:, 0, 0].astype(np.int64)).sum(-1)
        return sums

    answers = {
        RULE: answer(x),
        "channels in reverse": answer(x[..., ::-1]),
        "nothing is subtracted": answer(np.minimum(x + 128, 127)),
    }
    layer = bench.layer(source, weights, (rows, columns))
    yield bench.trial(
        Unproven.PACKED_PICTURE, "three channels", [bench.tasks(layer)], answers, hazard=Hazard.MAY_TIME_OUT
    )
