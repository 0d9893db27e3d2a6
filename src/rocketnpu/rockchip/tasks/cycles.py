"""How long a task keeps a core busy, from its description.

The judge of :mod:`rocketnpu.rockchip.timing` reads the same figures from the registers that the task is emitted as; a
test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import ConvolutionTask, FlyingTask, PoolingTask, Task, WeightBlock
from rocketnpu.rockchip.tasks.weights import aligned
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.work import Kind, Work, cycles, multiply_cycles

START = 8_000
"""Cycles from the end of a task to the start of the next at 200 MHz: the mainline kernel starts each by interrupt,
which takes 25 to 39 microseconds (timing 3)."""


def task_cycles(task: Task, soc: Soc) -> int:
    """Estimate the cycles of a task, the kernel's start of it included."""
    return START + cycles(task_work(task, soc), NETWORK_FIT).total


def milliseconds(cycles: int, clock_hz: int) -> float:
    """Return how long so many cycles take."""
    return cycles / clock_hz * 1e3


def task_work(task: Task, soc: Soc) -> Work:
    """Return what a task moves and computes."""
    if isinstance(task, ConvolutionTask):
        return _convolution(task, soc)
    written = _bytes(task.target.feature, task.target.count)
    if isinstance(task, PoolingTask):
        read = task.source.feature.surfaces * task.source.feature.slot * task.source.count * task.columns
        return Work(Kind.POOLING, features=read, values=read, stored=written)
    return Work(
        Kind.PASS,
        features=written,
        operand=_operand(task, soc.slot),
        values=written,
        lookup=task.output.lookup is not None,
        stored=written,
    )


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """What the work of a convolution's tasks depends on, their rows left out."""

    source: FeatureMap
    target: FeatureMap
    taps: int
    weights: WeightBlock
    operand_bytes: int
    """Bytes of the element-wise operand for each output pixel."""
    operand_once: int
    """Bytes of an operand that serves all pixels."""
    lookup: bool

    def work(self, rows_read: int, rows_made: int, fetches: bool, soc: Soc) -> Work:
        """Return the work of a task that reads and makes some rows, and fetches its weights or finds them there."""
        weights, channels = self.weights, self.target.channels
        pixels = rows_made * self.target.width
        if weights.depthwise:
            blocks = -(-channels // soc.depthwise_group)
            first = min(weights.bytes, self.taps * soc.depthwise_group)
        else:
            lanes = -(-self.source.channels // soc.weight_lanes)
            blocks = lanes * -(-weights.kernels // soc.kernel_group)
            first = min(weights.kernels, soc.kernel_group) * weights.kernel_bytes
        return Work(
            Kind.CONVOLUTION,
            features=_bytes(self.source, rows_read),
            operand=self.operand_once + self.operand_bytes * pixels,
            first_weights=first if fetches else 0,
            weights=weights.bytes - first if fetches else 0,
            multiply=multiply_cycles(pixels, self.taps, blocks),
            values=multiply_cycles(pixels, 1, aligned(channels, soc.kernel_group)),
            lookup=self.lookup,
            stored=_bytes(self.target, rows_made),
        )


def _convolution(task: ConvolutionTask, soc: Soc) -> Work:
    stage, group = task.output.elementwise, soc.depthwise_group if task.weights.depthwise else soc.kernel_group
    operand = aligned(task.target.feature.channels, group) if stage else 0
    each = stage is not None and not stage.per_channel
    shape = ConvolutionShape(
        task.source.feature,
        task.target.feature,
        task.kernel.size[0] * task.kernel.size[1],
        task.weights,
        operand if each else 0,
        0 if each else operand,
        task.output.lookup is not None,
    )
    return shape.work(task.source.count, task.target.count, not task.weights.reuse, soc)


def _operand(task: FlyingTask, group: int) -> int:
    """Return the bytes of the element-wise operand: it is fetched for whole groups of the target's channels."""
    stage = task.output.elementwise
    if stage is None:
        return 0
    channels = aligned(task.target.feature.channels, group)
    return channels if stage.per_channel else channels * task.target.count * task.target.feature.width


def _bytes(feature: FeatureMap, rows: int) -> int:
    return feature.surfaces * feature.slot * rows * feature.width
