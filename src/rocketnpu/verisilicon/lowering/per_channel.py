"""Weights with a scale for each output channel, though one multiplier serves a whole job.

The channels' scales are folded into the weights, which are rounded again. Where that cannot shift a result by much, it
is all. Otherwise what the rounding left out is a convolution of its own, whose results are small and can be stored
finely: a second job computes it, and a third adds the two. Channels whose scales are too far apart for that are cut
into runs: each run has multipliers of its own, and all share the addition.

How far the result is from the truth before it is rounded, at most: half a step of the first map, whose steps are a
little wider than the output's, for it must hold what the second takes back; half a step of the second map; what
rounding the second one's weights leaves out; and what weights that stand for the maps' scales are off. Below one step
of the output the result is within 1 of the rounded truth, below two steps within 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel
from rocketnpu.verisilicon.lowering.sums import Weights, operand_weights, pair_tasks
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Int64, Task

FOLDED_ERROR = 0.45
"""Output steps that folding alone may shift a result by."""
MARGIN = 0.02
"""Output steps for what multipliers round."""
FEW_RUNS, MOST_RUNS = 4, 16
"""Runs of channels for which a distance of 2 is not accepted, and beyond which nobody would wait for the jobs."""
ATTEMPTS = ((1, FEW_RUNS), (2, MOST_RUNS), (1, MOST_RUNS))
"""Distances, and runs that are accepted for them, the best first."""
TIGHTER = (1.0, 0.7, 0.45)
"""Parts of the reach that a run may have: what is left out in different runs lies in one map."""
CENTRE, REACH = 128, 127
_LEVELS = 254
"""Steps of a map between, one less than there are."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """Channels under one scale."""

    first: int
    last: int
    scale: float
    weights: Int64
    """Rounded weights without zero point."""
    biases: Int64
    rest: Floats
    """What the rounding of weights left out, in units of ``scale``."""
    bias_rest: Floats
    low: float
    """Output steps from which to which that may shift a result."""
    high: float
    unit: float
    """What a weight of 1 stands for in the convolution of the rest, in units of ``scale``."""
    left: float
    """Output steps that rounding those weights may shift a result by."""


@dataclass(frozen=True, eq=False)
class Folding:
    """How the channels of a kernel are cut, and how far results are from the truth."""

    runs: tuple[Run, ...]
    is_sum: bool
    """Whether what the rounding left out is computed too."""
    steps: int
    low: float = 0.0
    """The least and the most that is left out, in output steps."""
    high: float = 0.0
    wide: float = 1.0
    """Step of the first map in steps of the output, and of the second."""
    fine: float = 0.0
    weights: Weights | None = None
    """What stands for these in the sum."""


def folding(kernel: Kernel, zero_point: int, units: float, span: int) -> Folding:
    """Fold the scales of a kernel into its weights.

    Args:
        kernel: with a scale for each channel.
        zero_point: of its input, as stored.
        units: the input's scale in steps of the output.
        span: steps from the smallest to the largest output.

    Raises:
        UnsupportedError: it would take too many jobs.
    """
    runs = _runs(kernel, zero_point, units, 2 * FOLDED_ERROR, 1)
    if runs is not None:
        return Folding(runs, False, 1)
    for steps, most in ATTEMPTS:
        for part in TIGHTER:
            runs = _runs(kernel, zero_point, units, part * _LEVELS * (steps - 0.5), most)
            found = None if runs is None else _summed(runs, steps, span)
            if found is not None:
                return found
    raise UnsupportedError(
        f"{len(kernel.scales)} channels with scales from {min(kernel.scales):.3g} to {max(kernel.scales):.3g}: "
        f"a job has one multiplier, and more than {MOST_RUNS} runs of channels would need two jobs each"
    )


def _summed(runs: tuple[Run, ...], steps: int, span: int) -> Folding | None:
    """Return how runs are added, if the distance from the truth allows it."""
    low, high = min(run.low for run in runs), max(run.high for run in runs)
    wide, fine = (span + high - low) / _LEVELS, max(high - low, _SMALLEST) / _LEVELS
    try:
        weights = operand_weights(wide, fine, 1.0)
    except UnsupportedError:
        return None
    distance = (wide + fine) / 2 + max(run.left for run in runs) + weights.error + MARGIN
    return Folding(runs, True, steps, low, high, wide, fine, weights) if distance < steps else None


_SMALLEST = 1e-6
"""Stands for nothing at all where a number must not be 0."""


def _runs(kernel: Kernel, zero_point: int, units: float, reach: float, most: int) -> tuple[Run, ...] | None:
    """Cut the channels into at most so many runs in which results shift by no more than ``reach`` output steps in all;
    None where there are more.
    """
    found: list[Run] = []
    first, count = 0, len(kernel.scales)
    while first < count:
        if len(found) == most:
            return None
        last = count
        while True:
            run = _run(kernel, first, last, zero_point, units)
            if run.high - run.low + 2 * run.left <= reach:
                break
            if last == first + 1:
                return None
            last = first + max(1, (last - first) // 2)
        found.append(run)
        first = last
    return tuple(found)


def _run(kernel: Kernel, first: int, last: int, zero_point: int, units: float) -> Run:
    scales = np.array(kernel.scales[first:last])
    scale = float(scales.max())
    ratios = scales / scale
    exact = (kernel.weights[first:last].astype(np.float64) - kernel.zero_point) * ratios[:, None, None, None]
    weights = np.rint(exact)
    rest = exact - weights
    biases = kernel.biases[first:last] * ratios
    rounded = np.rint(biases)
    bias_rest = biases - rounded
    unit = max(float(np.abs(rest).max(initial=0.0)), _SMALLEST) / REACH
    factor = scale * units
    low, high = _reach(rest, bias_rest, zero_point)
    left = _reach(rest - np.rint(rest / unit) * unit, bias_rest - np.rint(bias_rest / unit) * unit, zero_point)
    return Run(
        *(first, last, scale, weights.astype(np.int64), rounded.astype(np.int64), rest, bias_rest),
        *(low * factor, high * factor, unit, max(-left[0], left[1]) * factor),
    )


def _reach(weights: Floats, biases: Floats, zero_point: int) -> tuple[float, float]:
    """Return the smallest and largest sum that weights and biases make of any image, and 0."""
    flat = weights.reshape(len(weights), -1)
    above, below = np.maximum(flat, 0).sum(axis=1), np.maximum(-flat, 0).sum(axis=1)
    most, least = 255 - zero_point, -zero_point
    high = float((above * most - below * least + biases).max(initial=0.0))
    low = float((above * least - below * most + biases).min(initial=0.0))
    return low, high


def channel_tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, output: Output
) -> list[Task]:
    """Describe a convolution with several scales.

    Raises:
        UnsupportedError: the hardware cannot express it, or it would take too many jobs.
    """
    if kernel.depthwise and source.planes.channels != len(kernel.weights):
        raise UnsupportedError("a depth multiplier and several scales")
    folded = folding(kernel, source.zero_point, source.scale / output.scale, output.high - output.low)
    convolution = _Convolution(context, operator, source, kernel, window)
    if folded.weights is None:
        return convolution.rounded(folded.runs[0], output)
    if not folded.wide:
        raise UnsupportedError(
            f"every value is clamped to {output.low}: there is no step that the map between could have"
        )
    target = output.planes
    room = context.fresh(2, target.channels * target.height, target.width)
    places = [replace(target, at=room.at + number * target.size) for number in (0, 1)]
    # The first map holds the output's range, and on either side what the second may take back.
    middle = round((output.zero_point - output.low + folded.high) / folded.wide)
    centre = round(-folded.low / folded.fine)
    if not 0 <= middle <= 255:
        raise UnsupportedError(f"a zero point of {middle} for the map between")
    coarse = Output(places[0], middle, folded.wide * output.scale, 0, 255)
    small = Output(places[1], centre, folded.fine * output.scale, 0, 255)
    tasks = [task for run in folded.runs for task in convolution.rounded(run, coarse)]
    tasks += [task for run in folded.runs for task in convolution.rest(run, small)]
    pair = Source(places[0], middle, coarse.scale), Source(places[1], centre, small.scale)
    return [*tasks, *pair_tasks(context, operator, pair, folded.weights, output)]


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution whose channels are computed run by run."""

    context: Context
    operator: Operator
    source: Source
    kernel: Kernel
    window: Window

    def rounded(self, run: Run, output: Output) -> list[Task]:
        """Compute the rounded weights of a run."""
        return self._tasks(run, run.weights, run.scale, run.biases, output)

    def rest(self, run: Run, output: Output) -> list[Task]:
        """Compute what the rounding left out, with weights as large as they can be."""
        weights, biases = np.rint(run.rest / run.unit), np.rint(run.bias_rest / run.unit)
        return self._tasks(run, weights.astype(np.int64), run.scale * run.unit, biases.astype(np.int64), output)

    def _tasks(self, run: Run, weights: Int64, scale: float, biases: Int64, output: Output) -> list[Task]:
        count = run.last - run.first
        stored = (weights + CENTRE).astype(np.uint8)
        part = Kernel(stored, CENTRE, (scale,), biases, self.kernel.depthwise)
        output = replace(output, planes=output.planes.channel_slice(run.first, count))
        source = self.source
        if self.kernel.depthwise:
            source = replace(source, planes=source.planes.channel_slice(run.first, count))
        return window_tasks(self.context, self.operator, source, part, self.window, output)
