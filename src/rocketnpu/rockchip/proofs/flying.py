"""Trials that may hang a board: flying tasks that are started by themselves, and look-up tables, which they load.

On mainline each task is a start of its own, so a flying one here follows a convolution: the transition that hung
RK3588s (outside 2.5). Its own rule is asked first, for all others rest on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rocketnpu.proofs.trial import RULE, Hazard, Trial
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.proofs.bench import UNIT, Bench, Fields
from rocketnpu.rockchip.proofs.numbers import Int64
from rocketnpu.rockchip.proofs.values import CHANNELS, SEED, spread
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.jobs import loader
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    LOOKUP_ENTRIES,
    LOOKUP_STEP,
    Combine,
    Elementwise,
    FlyingTask,
    Lookup,
    OutputStage,
    Rows,
    Task,
)

REST = (Unproven.FLYING_START,)
_PASS = OutputStage(BYPASS, BYPASS, None, UNIT)


def _convolution(bench: Bench) -> list[Task]:
    layer = bench.identity(spread(-60, 60))
    return [*bench.tasks(replace(layer, target=replace(layer.target, at=bench.result(4, 5, CHANNELS, "before").at)))]


def _flying(bench: Bench, values: Int64, output: OutputStage = _PASS) -> FlyingTask:
    source = bench.source(values)
    rows = Rows(source, 0, source.height)
    target = bench.result(*values.shape)
    return FlyingTask(0, "trial", rows, output, Rows(target, 0, target.height))


def tables() -> Lookup:
    """Return tables whose entries are all distinct from their neighbours, and meet at 0."""
    entries = np.random.default_rng(SEED).integers(-100, 100, 2 * LOOKUP_ENTRIES - 1)
    entries += (np.diff(entries, prepend=999) == 0).astype(np.int64)
    return Lookup(tuple(entries[:LOOKUP_ENTRIES].tolist()), tuple(entries[LOOKUP_ENTRIES - 1 :].tolist()))


def answer(found: Lookup, argument: Int64, way: str = "floored") -> Int64:
    """Look arguments up, with one of several ways between two entries."""
    entries = np.array([*found.below, *found.above[1:]], np.int64)
    position = argument + (LOOKUP_ENTRIES - 1) * LOOKUP_STEP
    index, rest = position // LOOKUP_STEP, position % LOOKUP_STEP
    low, high = entries[index], entries[np.minimum(index + 1, len(entries) - 1)]
    return {
        "floored": low + (high - low) * rest // LOOKUP_STEP,
        "rounded": low + ((high - low) * rest + LOOKUP_STEP // 2) // LOOKUP_STEP,
        "the nearest entry": np.where(2 * rest >= LOOKUP_STEP, high, low),
        "the entry below": low,
    }[way]


def _table_answers(found: Lookup, argument: Int64, plain: Int64) -> dict[str, Int64]:
    """Return answers for arguments that fall on entries."""
    below, above = np.array(found.below), np.array(found.above)
    reach = LOOKUP_ENTRIES - 1
    place = argument // LOOKUP_STEP
    other = np.where(argument < 0, above[np.clip(place + reach, 0, reach)], below[np.clip(place, 0, reach)])
    return {
        RULE: answer(found, argument),
        "tables exchanged": other,
        "one entry further": answer(found, argument + LOOKUP_STEP),
        "not looked up": plain,
    }


def starts(soc: Soc) -> Iterator[Trial]:
    """A flying task in a job of its own, behind a convolution: first a copy, then a look-up."""
    x = spread(-100, 100)
    bench = Bench(soc)
    answers = {RULE: x, "nothing but zeros": np.zeros_like(x)}
    jobs: list[list[Task]] = [_convolution(bench), [_flying(bench, x)]]
    yield bench.trial(Unproven.FLYING_START, "a copy behind a convolution", jobs, answers, hazard=Hazard.MAY_HANG)
    bench = Bench(soc)
    jobs = [_convolution(bench), [loader(_convolution(bench)[0], tables()), _flying(bench, x)]]
    yield bench.trial(
        Unproven.FLYING_START, "tables loaded behind a convolution", jobs, answers, hazard=Hazard.MAY_HANG
    )


def flying_sums(soc: Soc) -> Iterator[Trial]:
    """Two maps added without a convolution."""
    bench, a = Bench(soc), spread(-50, 50)
    b = np.roll(a, 5, axis=2)[::-1].copy()
    feature = bench.source(b)
    addition = Elementwise(Combine.ADD, Rows(feature, 0, feature.height), 0, 1, 0)
    task = _flying(bench, a, replace(_PASS, elementwise=addition))
    answers = {RULE: a + b, "the second map reads zero": a, "the second map twice": 2 * b}
    jobs = [[*_convolution(bench), task]]
    yield bench.trial("flying-addition", "two maps", jobs, answers, hazard=Hazard.MAY_HANG, needs=REST)


def _fused(bench: Bench, values: Int64, factor: int, repeat: int = 1) -> list[Task]:
    """Make a convolution with tables behind it, whose argument is ``factor * repeat`` times each value."""
    weights = np.zeros((CHANNELS, 1, 1, CHANNELS * repeat), np.int8)
    for copy in range(repeat):
        weights[np.arange(CHANNELS), 0, 0, np.arange(CHANNELS) + copy * CHANNELS] = factor
    source = bench.source(np.tile(values, (1, 1, repeat)))
    layer = replace(bench.layer(source, weights, values.shape[:2]), lookup=tables())
    (task,) = bench.tasks(layer)
    return [*_convolution(bench), loader(task, tables()), task]


def fused(soc: Soc) -> Iterator[Trial]:
    """A look-up behind a convolution: at entries, between them, and beyond the ends."""
    bench, x = Bench(soc), spread(-128, 126)
    answers = _table_answers(tables(), x * LOOKUP_STEP, np.clip(x * LOOKUP_STEP, -128, 127))
    hazard = Hazard.MAY_HANG
    yield bench.trial(
        Unproven.LOOKUP, "at entries", [_fused(bench, x, LOOKUP_STEP)], answers, hazard=hazard, needs=REST
    )
    bench = Bench(soc)
    ways = {RULE: "floored"} | {way: way for way in ("rounded", "the nearest entry", "the entry below")}
    answers = {name: answer(tables(), 8 * x, way) for name, way in ways.items()}
    needs = (*REST, Unproven.LOOKUP)
    yield bench.trial("lut-interpolation", "quarters", [_fused(bench, x, 8)], answers, hazard=hazard, needs=needs)
    bench = Bench(soc)
    reach, scale, shift = (LOOKUP_ENTRIES - 1) * LOOKUP_STEP, 3, 10
    far = x * 127 * 2
    beyond = np.minimum(far + reach, 0) + np.maximum(far - reach, 0)
    inside = answer(tables(), np.clip(far, -reach, reach))
    changes: Fields = {
        "DPU.LUT_LE_SLOPE_SCALE": {"LUT_LE_SLOPE_UFLOW_SCALE": scale},
        "DPU.LUT_LE_SLOPE_SHIFT": {"LUT_LE_SLOPE_UFLOW_SHIFT": shift},
        "DPU.LUT_LO_SLOPE_SCALE": {"LUT_LO_SLOPE_OFLOW_SCALE": scale},
        "DPU.LUT_LO_SLOPE_SHIFT": {"LUT_LO_SLOPE_OFLOW_SHIFT": shift},
    }
    answers = {
        RULE: inside + (beyond * scale >> shift),
        "the last entry is kept": inside,
        "the slope is not shifted": inside + beyond * scale,
    }
    yield bench.trial(
        "lut-slopes",
        "beyond both ends",
        [_fused(bench, x, 127, 2)],
        answers,
        changes=changes,
        hazard=hazard,
        needs=(*needs, "lut-interpolation"),
    )


def alone(soc: Soc) -> Iterator[Trial]:
    """A look-up as a flying task of its own, at entries."""
    bench = Bench(soc)
    x = np.clip(spread(-4, 3) * LOOKUP_STEP, -128, 96)
    task = _flying(bench, x, replace(_PASS, lookup=tables()))
    before = _convolution(bench)
    answers = _table_answers(tables(), x, x)
    jobs = [[*before, loader(before[0], tables()), task]]
    yield bench.trial("lookup-task", "bytes at entries", jobs, answers, hazard=Hazard.MAY_HANG, needs=REST)
