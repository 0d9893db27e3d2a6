"""Layers shared out to cores: by rows where there are many, by kernels where there are few, or not at all.

A layer is split where the estimate says that it takes less time so, the barrier included: what the slowest core takes,
while all share the memory, and the CPU's part between two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.policy import Policy
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.lowering import Layer, Lowered, allowed_layers, layer_tasks, outlined_layer
from rocketnpu.rockchip.lowering.placement import computes_nothing, place
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.jobs import with_loaders
from rocketnpu.rockchip.tasks.task import Task
from rocketnpu.rockchip.timing.setting import Setting

BARRIER_US = 60.0
"""Microseconds from one layer to the next where cores wait for each other, starts included (timing 6.3)."""
Shares = tuple[tuple[Task, ...], ...]
"""Tasks of each core between two barriers; the first core's alone where nothing is split."""


@dataclass(frozen=True, eq=False)
class Stages:
    """A graph as what the cores do between barriers."""

    lowered: Lowered
    """With all tasks of all cores, stage by stage."""
    stages: tuple[Shares, ...]
    split_us: float
    """Estimated, barriers and starts included, the host's part not."""
    whole_us: float
    """The same on one core."""


def split_graph(graph: Graph, soc: Soc, policy: Policy, setting: Setting, barrier_us: float = BARRIER_US) -> Stages:
    """Share a graph out to ``setting.cores`` cores; the passes have run.

    Args:
        graph: all of its operators run on the NPU.
        soc: the chip.
        policy: that of the compilation.
        setting: the board's state.
        barrier_us: what a barrier costs; with 0 everything that can be split is.

    Raises:
        UnsupportedError: an operator cannot be run.
    """
    context = Context(graph, soc, place(graph, soc, policy), policy, folds=False)
    maker = _Maker(context, setting, barrier_us)
    for operator in graph.operators:
        if not computes_nothing(graph, operator, soc):
            maker.add(operator)
    tasks = tuple(task for shares in maker.stages for share in shares for task in share)
    lowered = Lowered(graph, tasks, context.features, context.constants, tuple(context.notes))
    return Stages(lowered, tuple(maker.stages), maker.split_us, maker.whole_us)


class _Maker:
    """Collects stages, and adds up what they take."""

    def __init__(self, context: Context, setting: Setting, barrier_us: float) -> None:
        self.context, self.setting, self.barrier_us = context, setting, barrier_us
        self.alone = replace(setting, cores=1)
        self.stages: list[Shares] = []
        self.split_us = self.whole_us = 0.0
        self._cycles = 0
        """Of the last stage, where it runs on one core."""
        self._rows: tuple[FeatureMap, tuple[int, ...]] | None = None
        """What the last layer made, and the heights of its parts, where it was split by rows."""

    def add(self, operator: Operator) -> None:
        """Add the stages of an operator."""
        for layer in allowed_layers(self.context, operator):
            whole = list(with_loaders(outlined_layer(layer, self.context)))
            whole_us = self._us(whole, self.alone, len(whole))
            self.whole_us += whole_us
            if not self._follow_rows(layer, whole_us):
                self._add_stage(layer, whole_us)

    def _follow_rows(self, layer: Layer, whole_us: float) -> bool:
        """Let each core go on with the rows that it has just made, where no other rows are needed: no barrier then."""
        if self._rows is None or not isinstance(layer, ConvolutionLayer) or layer.source != self._rows[0]:
            return False
        if layer.window[0] != 1 or layer.stride[0] != 1 or layer.source.height != layer.target.height:
            return False
        parts, first = [], 0
        for count in self._rows[1]:
            parts.append(layer.row_slice(first, count))
            first += count
        try:
            lists = [outlined_layer(part, self.context) for part in parts]
        except UnsupportedError:
            return False
        spent = max(self._us(tasks, self.setting, len(tasks)) for tasks in lists)
        if spent > min(whole_us, *(us for us, _ in self._ways(layer))):
            return False
        made = [tuple(layer_tasks(part, self.context)) for part in parts]
        self.stages[-1] = tuple((*share, *tasks) for share, tasks in zip(self.stages[-1], made, strict=True))
        self.split_us += spent
        self._rows = (layer.target, self._rows[1])
        return True

    def _add_stage(self, layer: Layer, whole_us: float) -> None:
        parts = self._best(layer, whole_us)
        self._rows = None
        if len(parts) == 1:
            self._append_whole(layer)
            self.split_us += whole_us
            return
        self.stages.append(tuple(tuple(layer_tasks(part, self.context)) for part in parts))
        self.split_us += self._split_us(parts)
        self._cycles = 0
        heights = tuple(part.target.height for part in parts)
        if isinstance(layer, ConvolutionLayer) and sum(heights) == layer.target.height:
            self._rows = (layer.target, heights)

    def _append_whole(self, layer: Layer) -> None:
        """Add a layer that one core runs, behind others of that kind without a barrier, as long as a job may be."""
        tasks = tuple(layer_tasks(layer, self.context))
        cycles = sum(self.alone.cycles(task_work(task, self.context.soc)).total for task in tasks)
        if self.stages and len(self.stages[-1]) == 1 and self._cycles + cycles <= self.context.soc.job_cycles:
            self.stages[-1] = ((*self.stages[-1][0], *tasks),)
            self._cycles += cycles
        else:
            self.stages.append((tasks,))
            self._cycles = cycles

    def _best(self, layer: Layer, whole_us: float) -> Sequence[Layer]:
        """Return the parts of a layer, one for each core, or the layer itself where that is not slower."""
        if not isinstance(layer, ConvolutionLayer):
            return [layer]
        return min([(whole_us, [layer]), *self._ways(layer)], key=lambda one: one[0])[1]

    def _ways(self, layer: ConvolutionLayer) -> list[tuple[float, Sequence[Layer]]]:
        """Return the ways to split a layer, each with its microseconds."""
        cores, found = self.setting.cores, list[tuple[float, Sequence[Layer]]]()
        for parts in (_by_rows(layer, cores), _by_kernels(layer, cores, self.context.soc)):
            if len(parts) > 1:
                try:
                    found.append((self._split_us(parts), parts))
                except UnsupportedError:  # a part has no cut that fits the buffer
                    continue
        return found

    def _split_us(self, parts: Sequence[Layer]) -> float:
        lists = [list(with_loaders(outlined_layer(part, self.context))) for part in parts]
        # The first start is part of the barrier.
        return self.barrier_us + max(self._us(tasks, self.setting, len(tasks) - 1) for tasks in lists)

    def _us(self, tasks: Sequence[Task], setting: Setting, starts: int) -> float:
        cycles = sum(setting.cycles(task_work(task, self.context.soc)).total for task in tasks)
        return setting.us(cycles) + setting.start_us * starts


def _by_rows(layer: ConvolutionLayer, cores: int) -> list[ConvolutionLayer]:
    """Cut into as even ranges of output rows; none reads fewer rows than the kernel reaches over (spec 4.3)."""
    axis, height = layer.axis, layer.target.height
    ends = [height * part // cores for part in range(cores + 1)]
    ranges = [(first, end - first) for first, end in pairwise(ends) if end > first]
    for first, count in ranges:
        low, high = axis.span(first, count)
        if high - low + 1 < min(axis.reach, axis.size):
            return [layer]
    return [layer.row_slice(*part) for part in ranges]


def _by_kernels(layer: ConvolutionLayer, cores: int, soc: Soc) -> list[ConvolutionLayer]:
    """Cut into ranges of whole kernel groups, in ascending order."""
    unit = soc.depthwise_group if layer.depthwise else soc.kernel_group
    channels = layer.target.channels
    groups = -(-channels // unit)
    ends = [min(unit * (groups * part // cores), channels) for part in range(cores + 1)]
    ranges = [(first, end - first) for first, end in pairwise(ends) if end > first]
    return [layer.kernel_slice(*part) for part in ranges]
