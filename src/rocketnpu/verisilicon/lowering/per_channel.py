"""Weights with a scale for each output channel, though one multiplier serves a whole job.

The channels' scales are folded into the weights, which are rounded again. Where that cannot shift a result by much, it
is all. Otherwise what the rounding left out is a convolution of its own, whose results are small and can be stored
finely: a second job computes it, and a third adds the two. Channels whose scales are too far apart for that are cut
into runs: each run has multipliers of its own, and all share the addition.

How far the result is from the truth before it is rounded: the first map's steps are a little wider than the output's,
for it must hold what the second takes back; half of such a step, and half a step of the second map, are all there is.
Below one step the result is within 1 of the rounded truth, below two steps within 2. The limits leave some room for
multipliers and for weights that stand for scales.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Operator
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel
from rocketnpu.verisilicon.lowering.sums import operand_weights, pair_tasks
from rocketnpu.verisilicon.lowering.window import Output, Source, Window, window_tasks
from rocketnpu.verisilicon.tasks.task import Int64, Task

FOLDED_ERROR = 0.45
"""Output steps that folding alone may shift a result by."""
LIMITS = {1: 0.42, 2: 1.4}
"""For each distance from the truth, output steps that the widening of the first map and the rounding of the second may
take together."""
FEW_RUNS, MOST_RUNS = 4, 16
"""Runs of channels for which a distance of 2 is not accepted, and beyond which nobody would wait for the jobs."""
CENTRE, REACH = 128, 127
_LEVELS = 254
"""Steps of a map between, one less than there are."""
_SPREAD = 1 / _LEVELS
"""Of the reach of what is left out: half a step of the first map for it, and half a step of the second."""
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


@dataclass(frozen=True, eq=False)
class Folding:
    """How the channels of a kernel are cut, and how far results are from the truth."""

    runs: tuple[Run, ...]
    is_sum: bool
    """Whether what the rounding left out is computed too."""
    steps: int

    @property
    def low(self) -> float:
        """The least that is left out, in output steps."""
        return min(run.low for run in self.runs)

    @property
    def high(self) -> float:
        """The most that is left out."""
        return max(run.high for run in self.runs)


def folding(kernel: Kernel, zero_point: int, units: float) -> Folding:
    """Fold the scales of a kernel into its weights.

    Args:
        kernel: with a scale for each channel.
        zero_point: of its input, as stored.
        units: the input's scale in steps of the output.

    Raises:
        UnsupportedError: it would take too many jobs.
    """
    runs = _runs(kernel, zero_point, units, 2 * FOLDED_ERROR, 1)
    if runs is not None:
        return Folding(runs, False, 1)
    for steps, most in ((1, FEW_RUNS), (2, MOST_RUNS), (1, MOST_RUNS)):
        runs = _runs(kernel, zero_point, units, LIMITS[steps] / _SPREAD, most)
        if runs is not None:
            return Folding(runs, True, steps)
    raise UnsupportedError(
        f"{len(kernel.scales)} channels with scales from {min(kernel.scales):.3g} to {max(kernel.scales):.3g}: "
        f"a job has one multiplier, and more than {MOST_RUNS} runs of channels would need two jobs each"
    )


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
            if run.high - run.low <= reach:
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
    flat = rest.reshape(len(rest), -1)
    above, below = np.maximum(flat, 0).sum(axis=1), np.maximum(-flat, 0).sum(axis=1)
    most, least = 255 - zero_point, -zero_point
    bias_rest = biases - rounded
    high = float((above * most - below * least + bias_rest).max(initial=0.0))
    low = float((above * least - below * most + bias_rest).min(initial=0.0))
    factor = scale * units
    return Run(
        *(first, last, scale, weights.astype(np.int64), rounded.astype(np.int64), rest, bias_rest),
        *(low * factor, high * factor),
    )


def channel_tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, output: Output
) -> list[Task]:
    """Describe a convolution with several scales.

    Raises:
        UnsupportedError: the hardware cannot express it, or it would take too many jobs.
    """
    if kernel.depthwise and source.planes.channels != len(kernel.weights):
        raise UnsupportedError("a depth multiplier and several scales")
    folded = folding(kernel, source.zero_point, source.scale / output.scale)
    convolution = _Convolution(context, operator, source, kernel, window)
    if not folded.is_sum:
        return convolution.rounded(folded.runs[0], output)
    target = output.planes
    room = context.fresh(2, target.channels * target.height, target.width)
    places = [replace(target, at=room.at + number * target.size) for number in (0, 1)]
    # The output's range, and on either side what the second map may take back.
    low, high = output.low - folded.high, output.high - folded.low
    wide = (high - low) / _LEVELS
    middle = round((output.zero_point - low) / wide)
    fine = max(folded.high - folded.low, 1e-6) / _LEVELS
    centre = round(-folded.low / fine)
    if not 0 <= middle <= 255:
        raise UnsupportedError(f"a zero point of {middle} for the map between")
    coarse = Output(places[0], middle, wide * output.scale, 0, 255)
    small = Output(places[1], centre, fine * output.scale, 0, 255)
    tasks = [task for run in folded.runs for task in convolution.rounded(run, coarse)]
    tasks += [task for run in folded.runs for task in convolution.rest(run, small)]
    pair = Source(places[0], middle, coarse.scale), Source(places[1], centre, small.scale)
    weights = operand_weights(coarse.scale, small.scale, output.scale)
    return [*tasks, *pair_tasks(context, operator, pair, weights, output)]


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
        unit = max(float(np.abs(run.rest).max()), 1e-6) / REACH
        weights, biases = np.rint(run.rest / unit), np.rint(run.bias_rest / unit)
        return self._tasks(run, weights.astype(np.int64), run.scale * unit, biases.astype(np.int64), output)

    def _tasks(self, run: Run, weights: Int64, scale: float, biases: Int64, output: Output) -> list[Task]:
        count = run.last - run.first
        stored = (weights + CENTRE).astype(np.uint8)
        part = Kernel(stored, CENTRE, (scale,), biases, self.kernel.depthwise)
        output = replace(output, planes=output.planes.channel_slice(run.first, count))
        source = self.source
        if self.kernel.depthwise:
            source = replace(source, planes=source.planes.channel_slice(run.first, count))
        return window_tasks(self.context, self.operator, source, part, self.window, output)
