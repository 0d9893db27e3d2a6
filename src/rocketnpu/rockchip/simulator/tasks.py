"""The three kinds of task: which units work together, and in which order they are asked.

Everything is checked, and every address is looked up, before the first value is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rocketnpu.rockchip.simulator.arrays import Int64
from rocketnpu.rockchip.simulator.compiled.convolution import CompiledConvolution, Work, can_compile
from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.registers import Registers
from rocketnpu.rockchip.simulator.units.cbuf import check_banks
from rocketnpu.rockchip.simulator.units.cna import feature_rows, fetch_features, fetch_weights, padded_features
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig, read_cna
from rocketnpu.rockchip.simulator.units.core import CoreConfig, MacArray, accumulator_bound, read_core
from rocketnpu.rockchip.simulator.units.dpu import DpuTask, Input, make_pipeline, ow_operand, prepare_dpu, run_dpu
from rocketnpu.rockchip.simulator.units.dpu_config import DpuConfig, read_dpu
from rocketnpu.rockchip.simulator.units.ppu import read_ppu, run_ppu
from rocketnpu.rockchip.simulator.units.rdma import RdmaConfig, main_reader, read_rdma
from rocketnpu.rockchip.simulator.units.weights import MAX_INPUT, StoredWeights

Units = Mapping[str, Registers]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ConvolutionTask:
    """A convolution that was checked and whose operands and output have their places."""

    cna: CnaConfig
    core: CoreConfig
    dpu: DpuTask
    operand: Int64
    """The OW operand of each output."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding channels included."""
        return self.cna.out_width * self.cna.out_height * self.cna.kernel.total_bytes

    @property
    def current(self) -> bool:
        """Whether the memory still holds the same operands."""
        return self.dpu.bs_operands.current and self.dpu.bn_operands.current


def run_convolution(units: Units, context: Context) -> int:
    """CNA, CORE and DPU, with DPU_RDMA for operands from memory. Returns the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    kept, key = context.state.tasks_in(context.memory), tuple(units.values())
    task = kept.get(key)
    if not isinstance(task, ConvolutionTask) or not task.current:
        task = _prepare(units, context)
        if context.checks.silent:
            kept.put(key, task)
    weights = fetch_weights(task.cna, context)
    ready = weights.ready.get(task) if context.checks.silent else None
    if ready is None:
        _run_new(task, weights, context)
    else:
        ready.run(context)
    return task.macs


def _prepare(units: Units, context: Context) -> ConvolutionTask:
    checks = context.checks
    cna = units["CNA"].read(CnaConfig, read_cna, checks)
    check_banks(cna, context.soc, checks)
    core = read_core(units["CORE"], cna, checks)
    dpu = units["DPU"].read(DpuConfig, read_dpu, checks)
    rdma = units["DPU_RDMA"].read(RdmaConfig, read_rdma, checks) if "DPU_RDMA" in units else None
    _check_convolution(cna, dpu, units["CORE"]["DATAOUT_SIZE_1.DATAOUT_CHANNEL"] + 1, context)
    if rdma is not None and rdma.flying:
        checks.refuse("DPU_RDMA", "RDMA_FEATURE_MODE_CFG", "FLYING_MODE is set behind a convolution")
    task = prepare_dpu(dpu, rdma, context)
    if not cna.packed:
        feature_rows(cna, context.memory)
    outputs = min(dpu.real_channels, cna.outputs)
    operand = ow_operand(dpu, task.bs_operands) if core.sums_features else np.zeros(outputs, np.int64)
    return ConvolutionTask(cna, core, task, operand[:outputs])


def _run_new(task: ConvolutionTask, weights: StoredWeights, context: Context) -> None:
    """Run a task whose weights were not seen with it before, compiled where that is possible."""
    cna, core, outputs, kernel = task.cna, task.core, len(task.operand), context.state.kernel
    usable = kernel is not None and context.checks.silent and not cna.banks.data_reuse
    packed = weights.pack(outputs, task.operand) if usable else None
    bound = weights.net(outputs, task.operand).bound if packed is None else packed.bound
    pipeline = make_pipeline(task.dpu, accumulator_bound(core, bound), context)
    if kernel is not None and packed is not None and context.checks.silent and can_compile(pipeline, task.dpu):
        compiled = CompiledConvolution(kernel, Work(cna, core, task.dpu, pipeline, packed), context)
        weights.ready[task] = compiled
        compiled.run(context)
        return
    net = weights.net(outputs, task.operand)
    features = padded_features(cna, fetch_features(cna, context), net.lanes, context.state.scratch)
    mac = MacArray(cna, core, features, net, context.state.scratch)
    run_dpu(task.dpu, pipeline, Input(mac, mac.rows_at_once), context)


def _check_convolution(cna: CnaConfig, dpu: DpuConfig, core_channels: int, context: Context) -> None:
    """Hold the DPU's cube against what CNA and CORE deliver."""
    checks = context.checks
    if dpu.flying or dpu.depthwise != cna.depthwise:
        checks.refuse("DPU", "FEATURE_MODE_CFG", "FLYING_MODE or CONV_MODE contradicts the convolution in front")
    if (dpu.width, dpu.height) != (cna.out_width, cna.out_height):
        size = f"{cna.out_width}x{cna.out_height}"
        checks.refuse("DPU", "DATA_CUBE_WIDTH", f"a cube of {dpu.width}x{dpu.height} for an output of {size}")
    if core_channels != dpu.channels:
        checks.refuse("CORE", "DATAOUT_SIZE_1", f"{core_channels} channels for the DPU's {dpu.channels}")
    if dpu.real_channels > cna.outputs:
        message = f"{dpu.real_channels} real channels, but kernels for {cna.outputs} only"
        checks.distrust("DPU", "DATA_CUBE_CHANNEL", message)


def run_flying(units: Units, context: Context) -> int:
    """DPU and DPU_RDMA on a tensor in memory. Returns 0, the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    dpu = units["DPU"].read(DpuConfig, read_dpu, context.checks)
    rdma = units["DPU_RDMA"].read(RdmaConfig, read_rdma, context.checks)
    if not dpu.flying or not rdma.flying:
        message = "without a convolution in front DPU and DPU_RDMA need FLYING_MODE"
        context.checks.refuse("DPU", "FEATURE_MODE_CFG", message)
    task = prepare_dpu(dpu, rdma, context)
    source = main_reader(rdma, context)
    run_dpu(task, make_pipeline(task, MAX_INPUT, context), Input(source, dpu.height), context)
    return 0


def run_pooling(units: Units, context: Context) -> int:
    """PPU and PPU_RDMA on a tensor in memory. Returns 0, the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    run_ppu(read_ppu(units["PPU"], units["PPU_RDMA"], context.checks), context.memory, context.checks)
    return 0
