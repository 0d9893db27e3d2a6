"""A convolution task for the compiled arithmetic: pointers and numbers of what the units checked and looked up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Array, Float64, Int8, Int16
from rocketnpu.rockchip.simulator.compiled.library import Kernel
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.core_state import StoredFeatures
from rocketnpu.rockchip.simulator.rounding import factor
from rocketnpu.rockchip.simulator.units.cna import (
    SLOT_BYTES,
    converted_bytes,
    feature_rows,
    packed_pixels,
    padding_lanes,
)
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig
from rocketnpu.rockchip.simulator.units.core import CoreConfig
from rocketnpu.rockchip.simulator.units.dpu import DpuTask
from rocketnpu.rockchip.simulator.units.dpu_config import BYTES, EW_ADD, EW_MAX, EW_MIN, EW_MINUS
from rocketnpu.rockchip.simulator.units.dpu_stages import Add, Clip, Combine, Pipeline, Scale
from rocketnpu.rockchip.simulator.units.rdma import SurfaceReader
from rocketnpu.rockchip.simulator.units.weights import PACKED_GROUP, PackedWeights

_OPERATIONS = (EW_MAX, EW_MIN, EW_ADD, EW_MINUS)
_CHUNK_BYTES = 1 << 18
"""Features worked on at a time: they should stay in a second-level cache while all groups of kernels pass over them."""
_SLACK = SLOT_BYTES
"""Values read, and not used, behind the last pixel of a depthwise convolution: channels come in slots of 16, and are
read in groups of 32."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the units made of a convolution task's registers and memory."""

    cna: CnaConfig
    core: CoreConfig
    dpu: DpuTask
    pipeline: Pipeline
    weights: PackedWeights


class CompiledConvolution:
    """One task, ready to run as long as the memory is mapped as it was."""

    def __init__(self, kernel: Kernel, work: Work, context: Context) -> None:
        self._kernel, self._work = kernel, work
        self._held: list[Any] = []
        cna = work.cna
        self._features = (cna.height, cna.width, cna.kernel.channels)
        rows, columns, _ = cna.padded_shape
        self._padded = rows * columns * work.weights.lanes + _SLACK
        self._fetch = self._make_fetch(context)
        self._task = self._make_task()

    def run(self, context: Context) -> None:
        """Compute the task and write its output."""
        fetch, task, scratch, cna = self._fetch, self._task, context.state.scratch, self._work.cna
        ffi = self._kernel.ffi
        data = scratch.take("features", self._features, np.int8)
        fetch.kept = ffi.from_buffer("int8_t[]", data)
        context.state.features = StoredFeatures(data, cna.packed, cna.banks.split)
        padded = scratch.take("padded lanes", (self._padded,), np.int16)
        fetch.padded = task.padded = ffi.from_buffer("int16_t[]", padded)
        self._kernel.fetch(fetch)
        if context.state.workers is None:
            self._kernel.convolve(task, 0, cna.out_height)
        else:
            context.state.workers.share(lambda start, stop: self._kernel.convolve(task, start, stop), cna.out_height)

    def _pointer(self, array: Array, kind: str) -> Any:
        """Return an array's first element as C sees it; the array lives as long as this task."""
        self._held.append(array)
        return self._kernel.ffi.cast(f"{kind} *", array.ctypes.data)

    def _make_fetch(self, context: Context) -> Any:
        cna, lanes = self._work.cna, self._work.weights.lanes
        fetch = self._kernel.ffi.new("fetch_t *")
        fetch.width, fetch.height, fetch.slots = cna.width, cna.height, cna.kernel.channels // SLOT_BYTES
        fetch.rows, fetch.columns, _ = cna.padded_shape
        fetch.top, fetch.left, fetch.lanes = cna.pad_top, cna.pad_left, lanes
        pads: Int16 = padding_lanes(cna.pad_value, cna.depthwise, lanes).astype(np.int16)
        fetch.pads = self._pointer(pads, "int16_t")
        fetch.lines = cna.height
        if cna.packed:
            view = packed_pixels(cna, context.memory)
            fetch.packed, fetch.line = cna.packed, view.strides[0]
            fetch.source = self._pointer(view, "int8_t")
            fetch.table = self._pointer(converted_bytes(cna), "int8_t")
        else:
            runs = [view for _, view in feature_rows(cna, context.memory)]
            fetch.source = self._pointer(runs[0], "int8_t")
            fetch.slot, fetch.line, fetch.pixel = runs[0].strides[:3]
            if len(runs) > 1:
                fetch.lines, fetch.group = runs[0].shape[1], runs[1].ctypes.data - runs[0].ctypes.data
        return fetch

    def _make_task(self) -> Any:
        cna, weights, writer = self._work.cna, self._work.weights, self._work.dpu.writer
        dpu = self._work.dpu.dpu
        task = self._kernel.ffi.new("task_t *")
        task.row, task.lanes = cna.padded_shape[1] * weights.lanes, weights.lanes
        task.stride_x, task.stride_y, task.width = cna.stride_x, cna.stride_y, cna.out_width
        task.depthwise = cna.depthwise
        offsets, pairs = _runs(cna, weights.lanes)
        task.runs, task.pairs, task.offsets = len(offsets), pairs, self._pointer(offsets, "int32_t")
        task.weights = self._pointer(weights.values, "int16_t")
        task.channels, task.fill, task.size = dpu.real_channels, dpu.fill, BYTES[dpu.out.precision]
        targets = np.array([0 if view is None else view.ctypes.data for view in writer.surface_views], np.uintp)
        task.surfaces, task.line = len(targets), writer.line
        task.targets = self._kernel.ffi.cast("int8_t **", self._pointer(targets, "int8_t"))
        reach = cna.stride_y * task.row * 2
        task.rows_at_once = max(1, min(cna.out_height, _CHUNK_BYTES // reach))
        self._fill_steps(task)
        return task

    def _fill_steps(self, task: Any) -> None:
        core, steps = self._work.core, self._work.pipeline.steps
        if core.truncate:
            cut = np.array([factor(1, core.truncate)])
            steps = [Scale(cut, cut, core.half_away), *steps]
        made = self._kernel.ffi.new("step_t[]", max(len(steps), 1))
        self._held.append(made)
        for one, step in zip(made, steps, strict=False):
            match step:
                case Add():
                    one.kind, one.a = 0, self._channels(step.values)
                case Clip():
                    one.kind, one.low, one.high = 1, step.low, step.high
                case Scale():
                    one.kind, one.choice = 2, step.half_away
                    one.a = one.b = self._channels(step.positive)
                    if step.negative is not step.positive:
                        one.b = self._channels(step.negative)
                case Combine():
                    one.kind, one.choice = 3, step.stage.algorithm
                    self._fill_operand(task.operand, step)
        task.steps, task.step_count = made, len(steps)

    def _channels(self, values: Float64) -> Any:
        """Give each channel its value, up to whole groups."""
        channels = self._work.dpu.dpu.real_channels
        full: Float64 = np.zeros(-(-channels // PACKED_GROUP) * PACKED_GROUP)
        full[:channels] = values
        return self._pointer(full, "double")

    def _fill_operand(self, operand: Any, step: Combine) -> None:
        stage, source = step.stage, step.source
        assert isinstance(source, SurfaceReader)
        for engine, view in enumerate(source.views):
            operand.base[engine] = self._pointer(view, "int8_t")
            operand.surface[engine], operand.line[engine] = view.strides[:2]
        operand.engines, operand.surfaces = len(source.views), sum(len(view) for view in source.views)
        operand.convert, operand.offset_first, operand.half_away = stage.convert, stage.offset_first, stage.half_away
        operand.offset, operand.scale = stage.offset, factor(stage.scale, stage.shift)


def _runs(cna: CnaConfig, lanes: int) -> tuple[Array, int]:
    """Return where a window's unbroken runs begin, in values from its first, and the pairs of lanes in each."""
    kernel, row = cna.kernel, cna.padded_shape[1] * lanes
    if cna.step_x == 1 and not cna.depthwise:
        return np.arange(kernel.height, dtype=np.int32) * np.int32(cna.step_y * row), kernel.width * lanes // 2
    taps = [y * cna.step_y * row + x * cna.step_x * lanes for y in range(kernel.height) for x in range(kernel.width)]
    if cna.depthwise and len(taps) % 2:
        taps.append(taps[-1])  # with weights of zero
    return np.array(taps, np.int32), 0 if cna.depthwise else lanes // 2


def can_compile(pipeline: Pipeline, task: DpuTask) -> bool:
    """Tell whether the compiled arithmetic knows all steps, and whether the order of writes cannot matter."""
    for step in pipeline.steps:
        match step:
            case Add() | Clip() | Scale():
                continue
            case Combine() if _known(step):
                continue
        return False
    written = sorted(_extent(view) for view in task.writer.surface_views if view is not None)
    if any(first[1] > second[0] for first, second in pairwise(written)):
        return False
    read = [_extent(view) for view in _operand_views(pipeline)]
    return not any(low < written[-1][1] and written[0][0] < high for low, high in read)


def _known(step: Combine) -> bool:
    known = not step.stage.multiply and step.stage.algorithm in _OPERATIONS
    return known and isinstance(step.source, SurfaceReader)


def _operand_views(pipeline: Pipeline) -> Iterator[Int8]:
    for step in pipeline.steps:
        if isinstance(step, Combine) and isinstance(step.source, SurfaceReader):
            yield from step.source.views


def _extent(view: Array) -> tuple[int, int]:
    """Return the addresses between which a view's bytes lie."""
    start = view.ctypes.data
    reach = [(count - 1) * step for count, step in zip(view.shape, view.strides, strict=True)]
    low, high = sum(step for step in reach if step < 0), sum(step for step in reach if step > 0)
    return start + low, start + high + view.itemsize
