"""Weights with a scale for each output channel, though one multiplier serves a whole job.

The channels' scales are folded into the weights, which are rounded again. Where that cannot shift a result by much, it
is all. Otherwise what the rounding left out is a convolution of its own, whose results are small and can be stored
finely: a second job computes it, and a third adds the two. A run of channels whose largest scale is too large for the
others is cut: each run has multipliers of its own, and all share the addition.

The bound: the first map is stored with steps a little wider than the output's, so that nothing which counts is cut off;
its rounding, that of the second map and that of the sum together must stay below a step and a half, for then the result
is within 1 of the rounded truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel
from rocketnpu.verisilicon.lowering.sums import operand_weights, pair_tasks
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Int64, Task

FOLDED_ERROR = 0.45
"""Output steps that folding alone may shift a result by."""
TERMS_ERROR = 0.45
"""Output steps that the widening of the first map and the rounding of the second may take together."""
MOST_RUNS = 32
"""Runs of channels beyond which nobody would wait for the jobs."""
CENTRE = 128
REACH = 127
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Folded:
    """Channels under one scale."""

    first: int
    last: int
    scale: float
    weights: Int64
    """Rounded weights without zero point."""
    rest: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    """What the rounding left out, in units of ``scale``."""
    reach: float
    """Output steps by which that may shift a result at most."""


def channel_tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, output: Output
) -> list[Task]:
    """Describe a convolution with several scales.

    Raises:
        UnsupportedError: the hardware cannot express it, or it would take too many jobs.
    """
    units = source.scale / output.scale
    runs = _runs(kernel, source.zero_point, units, FOLDED_ERROR)
    if len(runs) == 1:
        return _run_tasks(context, operator, source, kernel, runs[0], window, output)
    largest = TERMS_ERROR / (1 / _LEVELS + 0.5 / REACH)
    runs = _runs(kernel, source.zero_point, units, largest)
    if len(runs) > MOST_RUNS:
        raise UnsupportedError(
            f"{len(kernel.scales)} channels with scales from {min(kernel.scales):.3g} to {max(kernel.scales):.3g}: "
            f"a job has one multiplier, so they would take {2 * len(runs) + 1} jobs, more than {2 * MOST_RUNS + 1}"
        )
    return _two_terms(context, operator, source, kernel, runs, window, output)


def _runs(kernel: Kernel, zero_point: int, units: float, most: float) -> list[Folded]:
    """Cut the channels into runs in which folding shifts no result by more than ``most`` output steps."""
    found: list[Folded] = []
    first, count = 0, len(kernel.scales)
    while first < count:
        # Doubling, then halving: runs are long or short, and each try looks at all their weights.
        last = count
        while True:
            folded = _folded(kernel, first, last, zero_point, units)
            if folded.reach <= most or last == first + 1:
                break
            last = first + max(1, (last - first) // 2)
        found.append(folded)
        first = last
    return found


def _folded(kernel: Kernel, first: int, last: int, zero_point: int, units: float) -> Folded:
    scales = np.array(kernel.scales[first:last])
    scale = float(scales.max())
    net = kernel.weights[first:last].astype(np.float64) - kernel.zero_point
    exact = net * (scales / scale)[:, None, None, None]
    weights = np.rint(exact)
    rest = exact - weights
    farthest = max(zero_point, _LEVELS - zero_point)
    bias = np.abs(kernel.biases[first:last] * (scales / scale) % 1)
    shift = np.abs(rest).reshape(len(rest), -1).sum(axis=1) * farthest + np.minimum(bias, 1 - bias)
    return Folded(first, last, scale, weights.astype(np.int64), rest, float(shift.max()) * scale * units)


def _part(kernel: Kernel, run: Folded, weights: Int64, scale: float, biases: Int64) -> Kernel:
    stored = (weights + CENTRE).astype(np.uint8)
    return Kernel(stored, CENTRE, (scale,), biases, kernel.depthwise)


def _run_tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, run: Folded, window: Window, output: Output
) -> list[Task]:
    """Describe the rounded weights of a run of channels."""
    ratios = np.array(kernel.scales[run.first : run.last]) / run.scale
    biases = np.rint(kernel.biases[run.first : run.last] * ratios).astype(np.int64)
    part = _part(kernel, run, run.weights, run.scale, biases)
    return window_tasks(context, operator, *_sliced(source, kernel, run, part, window, output))


def _sliced(
    source: Source, kernel: Kernel, run: Folded, part: Kernel, window: Window, output: Output
) -> tuple[Source, Kernel, Window, Output]:
    """Return what a run of channels reads and writes."""
    count = run.last - run.first
    target = replace(output, planes=output.planes.channel_slice(run.first, count))
    if kernel.depthwise and source.planes.channels == len(kernel.weights):
        source = replace(source, planes=source.planes.channel_slice(run.first, count))
    return source, part, window, target


def _two_terms(
    context: Context,
    operator: Operator,
    source: Source,
    kernel: Kernel,
    runs: list[Folded],
    window: Window,
    output: Output,
) -> list[Task]:
    """Describe rounded weights, what the rounding left out, and their sum."""
    if kernel.depthwise and source.planes.channels != len(kernel.weights):
        raise UnsupportedError("a depth multiplier and several scales")
    reach = max(run.reach for run in runs)
    target = output.planes
    room = context.fresh(2, target.channels * target.height, target.width)
    places = [replace(target, at=room.at + number * target.size) for number in (0, 1)]
    # The output's range and as much on either side as the second map may take back.
    wide = (output.high - output.low + 2 * reach) / (_LEVELS - 1)
    middle = round((output.zero_point - output.low + reach) / wide)
    fine = max(reach, 1e-6) / (REACH - 1)
    coarse_out = Output(places[0], middle, wide * output.scale, 0, _LEVELS)
    fine_out = Output(places[1], CENTRE, fine * output.scale, 0, _LEVELS)
    if not 0 <= middle <= _LEVELS:
        raise UnsupportedError(f"a zero point of {middle} for a map between")
    tasks: list[Task] = []
    for run in runs:
        tasks += _run_tasks(context, operator, source, kernel, run, window, coarse_out)
    for run in runs:
        largest = max(float(np.abs(run.rest).max()), 1e-6)
        weights = np.rint(run.rest * (REACH / largest)).astype(np.int64)
        ratios = np.array(kernel.scales[run.first : run.last]) / run.scale
        exact = kernel.biases[run.first : run.last] * ratios
        biases = np.rint((exact - np.rint(exact)) * (REACH / largest)).astype(np.int64)
        part = _part(kernel, run, weights, run.scale * largest / REACH, biases)
        tasks += window_tasks(context, operator, *_sliced(source, kernel, run, part, window, fine_out))
    pair_weights = operand_weights(coarse_out.scale, fine_out.scale, output.scale)
    pair = (
        Source(places[0], middle, coarse_out.scale),
        Source(places[1], CENTRE, fine_out.scale),
    )
    return [*tasks, *pair_tasks(context, operator, pair, pair_weights, output)]
