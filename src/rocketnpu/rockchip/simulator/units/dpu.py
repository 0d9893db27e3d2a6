"""DPU: takes accumulators from CORE or, in a flying task, a tensor from MRDMA; writes the result to memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.arrays import Array, Bytes, Float64, Int64, slots
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.units.dpu_config import (
    BYTES,
    INT8,
    INT16,
    INT32,
    DpuConfig,
    ScaleStage,
)
from rocketnpu.rockchip.simulator.units.dpu_stages import Pipeline, element_stage, output_stage, scale_stage
from rocketnpu.rockchip.simulator.units.rdma import (
    PER_CHANNEL,
    USE_ALU,
    USE_MUL,
    USE_OW,
    ChannelOperands,
    RdmaConfig,
    operand_reader,
    read_records,
)
from rocketnpu.rockchip.soc import Soc

SLOT_BYTES = 16
_BLOCK_VALUES = 1 << 15
"""Values worked on at a time: a float64 block of them stays in a second-level cache."""
_KINDS: Mapping[int, type[np.signedinteger[Any]]] = {INT8: np.int8, INT16: np.int16, INT32: np.int32}
"""What the writer stores, by the code of its precision."""
_SPOIL = 0x80
"""Flipped in every byte of an output that silicon computes in an unknown way, so that nobody takes it for right."""


class RowSource(Protocol):
    """Something that delivers integers of some output rows."""

    def rows(self, start: int, stop: int) -> Array:
        """Return [pixels, lanes] of rows ``start..stop-1``. Valid until the next call."""


@dataclass(frozen=True, slots=True)
class Input:
    """The DPU's main input."""

    source: RowSource
    rows_at_once: int
    """Rows that the source delivers most cheaply."""


def check_cubes(dpu: DpuConfig, rdma: RdmaConfig | None, soc: Soc, checks: Checks) -> None:
    """Hold the DPU's cube against DPU_RDMA's and against the kernel groups.

    Raises:
        SimulationError: an operand is wanted that nobody fetches, or sizes that contradict each other.
    """
    _check_supply(dpu, rdma, checks)
    if rdma is not None:
        width, height = rdma.width * rdma.enlarge_x, rdma.height * rdma.enlarge_y
        if (width, height, rdma.channels) != (dpu.width, dpu.height, dpu.channels):
            checks.refuse(
                "DPU_RDMA",
                "RDMA_DATA_CUBE_WIDTH",
                f"a cube of {width}x{height}x{rdma.channels} for the DPU's {dpu.width}x{dpu.height}x{dpu.channels}",
            )
    if dpu.flying:
        if dpu.channels % SLOT_BYTES:
            checks.distrust("DPU", "DATA_CUBE_CHANNEL", f"{dpu.channels} channels; int8 cubes hold a multiple of 16")
        return
    group = soc.depthwise_group if dpu.depthwise else soc.kernel_group
    if dpu.channels % group:
        checks.distrust(
            "DPU", "DATA_CUBE_CHANNEL", f"{dpu.channels} channels; the MAC array delivers groups of {group}"
        )
    surfaces = group * BYTES[dpu.out.precision] // SLOT_BYTES
    if dpu.group_surfaces != surfaces:
        # Always kernels of a group times bytes of a result over 16 (captures; spec 3.6).
        message = f"SIZE_E makes {dpu.group_surfaces} surfaces a kernel group; it has {surfaces}"
        checks.distrust("DPU", "BS_OW_CFG", message)
    if dpu.channels > group and dpu.group_stride != dpu.group_surfaces * dpu.surface_stride:
        checks.distrust(
            "DPU",
            "SURFACE_ADD",
            f"{dpu.group_stride} bytes between groups of {dpu.group_surfaces} surfaces {dpu.surface_stride} apart",
        )


def _check_supply(dpu: DpuConfig, rdma: RdmaConfig | None, checks: Checks) -> None:
    """Refuse operands from memory that no engine delivers: the DPU would wait for ever."""
    bs, bn = (rdma.bs_use, rdma.bn_use) if rdma is not None else (0, 0)
    for stage, use in ((dpu.bs, bs), (dpu.bn, bn)):
        if stage.alu is not None and stage.alu_operand is None and not use & USE_ALU:
            checks.refuse("DPU", f"{stage.name}_CFG", "the ALU operand comes from memory, but no engine reads it")
        if stage.mul and stage.mul_operand is None and not use & USE_MUL:
            checks.refuse("DPU", f"{stage.name}_MUL_CFG", "the multiplier comes from memory, but no engine reads it")
    if dpu.ow_from_memory and not dpu.ow_bypass and (dpu.flying or not bs & USE_OW):
        # In a flying task this hangs (RV1103; addendum 1.4).
        checks.refuse("DPU", "BS_OW_CFG", "the OW operand comes from memory, but no engine reads it")
    ew = dpu.ew
    if ew.operate and ew.from_memory:
        if rdma is None or rdma.operand_off:
            checks.refuse("DPU", "EW_CFG", "the element-wise operand comes from memory, but ERDMA is off")
        elif ew.data_mode != rdma.operand_mode:
            checks.refuse("DPU", "EW_CFG", f"EW_DATA_MODE {ew.data_mode}, ERDMA_DATA_MODE {rdma.operand_mode}")
        elif ew.data_mode == PER_CHANNEL and not ew.multiply:
            # Added, 69 to 99 % of the values came out wrong over all modes (outside 2.4).
            checks.distrust("DPU", "EW_CFG", "only a multiplication takes an operand for each channel")
    _check_left_over(dpu, bs, bn, checks)


def _check_left_over(dpu: DpuConfig, bs: int, bn: int, checks: Checks) -> None:
    """Object to operands that are fetched and not consumed: what stays behind hung a later task (outside 2.6a)."""
    for stage, use in ((dpu.bs, bs), (dpu.bn, bn)):
        consumed = {
            USE_ALU: stage.alu is not None and stage.alu_operand is None,
            USE_MUL: stage.mul and stage.mul_operand is None,
            USE_OW: stage is dpu.bs and dpu.ow_from_memory and not dpu.ow_bypass,
        }
        idle = sum(bit for bit, used in consumed.items() if use & bit and not used)
        if idle:
            engine = "BRDMA" if stage is dpu.bs else "NRDMA"
            message = f"DATA_USE {use}: operands {idle} are fetched and not consumed by {stage.name}"
            checks.object("DPU_RDMA", f"RDMA_{engine}_CFG", message)


def stage_operands(stage: ScaleStage, dpu: DpuConfig, rdma: RdmaConfig | None, context: Context) -> ChannelOperands:
    """Read the per-channel operands of BS or BN.

    Raises:
        SimulationError: outside mapped memory.
    """
    if rdma is None:
        return ChannelOperands()
    of_bn = stage.name == "BN"
    use, address = (rdma.bn_use, rdma.bn_address) if of_bn else (rdma.bs_use, rdma.bs_address)
    return read_records(address, use, dpu.real_channels, stage.name, context)


def ow_operand(dpu: DpuConfig, operands: ChannelOperands) -> Int64:
    """Return the OW operand of each real channel; constant and stream are both applied (addendum 1.5)."""
    total = np.full(dpu.real_channels, 0 if dpu.ow_bypass else dpu.ow_constant, np.int64)
    if dpu.ow_from_memory and not dpu.ow_bypass and operands.ow is not None:
        total += operands.ow
    return total


class Writer:
    """The output's place in memory, checked before anything is computed."""

    def __init__(self, dpu: DpuConfig, memory: Memory) -> None:
        self._dpu = dpu
        self._lanes = SLOT_BYTES // BYTES[dpu.out.precision]
        self.surfaces = -(-dpu.real_channels // self._lanes)
        self.line = (dpu.width + dpu.line_notch) * SLOT_BYTES
        """Bytes from one row to the next."""
        self._targets = self._place(memory, 0, self.surfaces)
        self._tail = self._place_tail(memory)

    @property
    def padded_lanes(self) -> int:
        """Channels written, real ones and those that fill the last surface."""
        return self.surfaces * self._lanes

    def _place(self, memory: Memory, first: int, last: int) -> list[tuple[slice, Bytes]]:
        """View surfaces ``first..last-1`` as [surfaces, rows, columns, 16], in runs of equal distance.

        ``first`` begins a group, or is the only one.
        Inside a kernel group surfaces lie DST_SURF_STRIDE apart, groups SURFACE_ADD (captures; spec 3.6).
        """
        dpu, step = self._dpu, self._dpu.group_surfaces
        if dpu.group_stride == step * dpu.surface_stride:
            runs = [(first, last)]
        else:
            runs = [(start, min(start + step, last)) for start in range(first, last, step)]
        placed = []
        for start, stop in runs:
            address = dpu.address + start // step * dpu.group_stride + start % step * dpu.surface_stride
            shape = (stop - start, dpu.height, dpu.width, SLOT_BYTES)
            strides = (dpu.surface_stride, self.line, SLOT_BYTES, 1)
            view = memory.view(address, shape, strides, unit="DPU", register="DST_BASE_ADDR", write=True)
            placed.append((slice(start, stop), view))
        return placed

    def _place_tail(self, memory: Memory) -> list[Bytes | None]:
        """View the surfaces of padding channels as far as they lie in the same buffer as the first one.

        Tasks write whole kernel groups, so a neighbour that lies behind is overwritten (RK3568 and RK3576; addendum
        6.7), while Mesa's depthwise tensors can be smaller than a group. That what leaves the buffer is lost is
        *assumed*.
        """
        dpu = self._dpu
        home = memory.find(dpu.address, dpu.address + 1)
        tail: list[Bytes | None] = []
        for surface in range(self.surfaces, -(-dpu.channels // self._lanes)):
            group, place = divmod(surface, dpu.group_surfaces)
            low = dpu.address + group * dpu.group_stride + place * dpu.surface_stride
            found = memory.find(low, low + (dpu.height - 1) * self.line + dpu.width * SLOT_BYTES)
            inside = home is not None and found is not None and found[0] is home[0]
            tail.append(self._place(memory, surface, surface + 1)[0][1] if inside else None)
        return tail

    @property
    def surface_views(self) -> list[Bytes | None]:
        """Views [rows, columns, 16] of all surfaces, those of padding channels last; None where one is lost."""
        real: list[Bytes | None] = [surface for _, run in self._targets for surface in run]
        return [*real, *(None if surface is None else surface[0] for surface in self._tail)]

    def write(self, values: Array, spoil: bool) -> None:
        """Write ``values[pixels, padded lanes]``, and what padding channels hold into the surfaces behind."""
        dpu = self._dpu
        data = values.view(np.uint8).reshape(dpu.height, dpu.width, self.surfaces * SLOT_BYTES)
        if spoil:
            np.bitwise_xor(data, _SPOIL, out=data)
        source = slots(data)
        for span, target in self._targets:
            np.copyto(slots(target)[..., 0].transpose(1, 2, 0), source[..., span])
        for padding in self._tail:
            if padding is None:
                continue
            fill = np.full(self._lanes, np.array(dpu.fill).astype(values.dtype)).view(np.uint8)
            np.copyto(padding, fill)


@dataclass(frozen=True, slots=True)
class DpuTask:
    """A task that was checked and whose operands and output have their places."""

    dpu: DpuConfig
    rdma: RdmaConfig | None
    bs_operands: ChannelOperands
    bn_operands: ChannelOperands
    writer: Writer


def prepare_dpu(dpu: DpuConfig, rdma: RdmaConfig | None, context: Context) -> DpuTask:
    """Check a task and look up its memory.

    Raises:
        SimulationError: sizes or sources contradict each other, or lie outside mapped memory.
    """
    check_cubes(dpu, rdma, context.soc, context.checks)
    writer = Writer(dpu, context.memory)
    return DpuTask(
        dpu, rdma, stage_operands(dpu.bs, dpu, rdma, context), stage_operands(dpu.bn, dpu, rdma, context), writer
    )


def make_pipeline(task: DpuTask, bound: int, context: Context) -> Pipeline:
    """Put the stages in order for an input of magnitude ``bound`` at most.

    Raises:
        SimulationError: an operand outside mapped memory.
    """
    dpu, tables = task.dpu, context.state.luts.tables
    pipeline = Pipeline([], 0)
    pipeline.saturate(bound)
    scale_stage(pipeline, dpu.bs, task.bs_operands)
    scale_stage(pipeline, dpu.bn, task.bn_operands)
    operand = None
    if dpu.ew.operate and dpu.ew.from_memory and task.rdma is not None:
        operand = operand_reader(task.rdma, context)
    element_stage(pipeline, dpu.ew, operand, tables, dpu.real_channels)
    limits = np.iinfo(_KINDS[dpu.out.precision])
    output_stage(pipeline, dpu.out, int(limits.min), int(limits.max))
    return pipeline


def run_dpu(task: DpuTask, pipeline: Pipeline, given: Input, context: Context) -> None:
    """Run the stages over all rows, a cache-sized block at a time, then write the output."""
    dpu, lanes, scratch = task.dpu, task.dpu.real_channels, context.state.scratch
    kind = _KINDS[dpu.out.precision]
    result = scratch.take("result", (dpu.height * dpu.width, task.writer.padded_lanes), kind)
    result[:, lanes:] = np.array(dpu.fill).astype(kind)
    step = max(1, min(given.rows_at_once, _BLOCK_VALUES // (dpu.width * lanes)))
    for start in range(0, dpu.height, step):
        stop = min(start + step, dpu.height)
        block: Float64 = scratch.take("block", ((stop - start) * dpu.width, lanes), np.float64)
        _load(block, given.source.rows(start, stop))
        for work in pipeline.steps:
            work(block, start, stop)
        np.copyto(result[start * dpu.width : stop * dpu.width, :lanes], block, casting="unsafe")
    task.writer.write(result, bool(context.checks.defects))


def _load(block: Float64, values: Array) -> None:
    """Widen the input; lanes that nothing computes (a defect noted earlier) read 0."""
    lanes = min(block.shape[1], values.shape[1])
    np.copyto(block[:, :lanes], values[:, :lanes])
    block[:, lanes:] = 0
