"""The three kinds of task: which units work together, and in which order they are asked.

Everything is checked, and every address is looked up, before the first value is computed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rocketnpu.rockchip.simulator.context import Context
from rocketnpu.rockchip.simulator.registers import Registers
from rocketnpu.rockchip.simulator.units.cbuf import check_banks
from rocketnpu.rockchip.simulator.units.cna import feature_rows, fetch_features, fetch_weights, padded_features
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig, read_cna
from rocketnpu.rockchip.simulator.units.core import MacArray, read_core
from rocketnpu.rockchip.simulator.units.dpu import Input, ow_operand, prepare_dpu, run_dpu
from rocketnpu.rockchip.simulator.units.dpu_config import DpuConfig, read_dpu
from rocketnpu.rockchip.simulator.units.ppu import read_ppu, run_ppu
from rocketnpu.rockchip.simulator.units.rdma import RdmaConfig, main_reader, read_rdma
from rocketnpu.rockchip.simulator.units.weights import MAX_INPUT

Units = Mapping[str, Registers]


def run_convolution(units: Units, context: Context) -> int:
    """CNA, CORE and DPU, with DPU_RDMA for operands from memory. Returns the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
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
    weights = fetch_weights(cna, context)
    outputs = min(dpu.real_channels, cna.outputs)
    operand = ow_operand(dpu, task.bs_operands) if core.sums_features else np.zeros(outputs, np.int64)
    net = weights.net(outputs, operand[:outputs])
    features = padded_features(cna, fetch_features(cna, context), net.lanes, context.state.scratch)
    mac = MacArray(cna, core, features, net, context.state.scratch)
    run_dpu(task, Input(mac, mac.bound, mac.rows_at_once), context)
    return cna.out_width * cna.out_height * cna.kernel.total_bytes


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
    run_dpu(task, Input(main_reader(rdma, context), MAX_INPUT, dpu.height), context)
    return 0


def run_pooling(units: Units, context: Context) -> int:
    """PPU and PPU_RDMA on a tensor in memory. Returns 0, the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    run_ppu(read_ppu(units["PPU"], units["PPU_RDMA"], context.checks), context.memory, context.checks)
    return 0
