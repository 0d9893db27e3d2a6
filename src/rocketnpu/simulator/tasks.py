"""The three kinds of task: which units work together, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rocketnpu.simulator.cbuf import check_banks
from rocketnpu.simulator.checks import Checks
from rocketnpu.simulator.cna import feature_rows, fetch_features, fetch_weights
from rocketnpu.simulator.cna_config import CnaConfig, read_cna
from rocketnpu.simulator.core import MacArray, read_core
from rocketnpu.simulator.core_state import CoreState
from rocketnpu.simulator.dpu import Input, Writer, check_cubes, ow_operand, run_dpu, stage_operands
from rocketnpu.simulator.dpu_config import DpuConfig, read_dpu
from rocketnpu.simulator.memory import Memory
from rocketnpu.simulator.ppu import read_ppu, run_ppu
from rocketnpu.simulator.rdma import main_reader, read_rdma
from rocketnpu.simulator.registers import Registers
from rocketnpu.simulator.weights import MAX_INPUT
from rocketnpu.soc import Soc

Units = Mapping[str, Registers]


def run_convolution(units: Units, state: CoreState, memory: Memory, soc: Soc, checks: Checks) -> int:
    """CNA, CORE and DPU, with DPU_RDMA for operands from memory. Returns the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    cna = read_cna(units["CNA"], checks)
    check_banks(cna, soc, checks)
    core = read_core(units["CORE"], cna, checks)
    dpu = read_dpu(units["DPU"], checks)
    rdma = read_rdma(units["DPU_RDMA"], checks) if "DPU_RDMA" in units else None
    _check_convolution(cna, dpu, units["CORE"]["DATAOUT_SIZE_1.DATAOUT_CHANNEL"] + 1, checks)
    if rdma is not None and rdma.flying:
        checks.refuse("DPU_RDMA", "RDMA_FEATURE_MODE_CFG", "FLYING_MODE is set behind a convolution")
    check_cubes(dpu, rdma, soc, checks)
    writer = Writer(dpu, memory)
    if not cna.packed:
        feature_rows(cna, memory)
    operands = tuple(stage_operands(stage, dpu, rdma, memory, checks) for stage in (dpu.bs, dpu.bn))
    weights = fetch_weights(cna, state, memory, soc, checks)
    operand = ow_operand(dpu, operands[0]) if core.sums_features else np.zeros(dpu.real_channels, np.int64)
    outputs = min(dpu.real_channels, cna.outputs)
    net = weights.net(outputs, operand[:outputs])
    features = fetch_features(cna, state, memory, checks)
    mac = MacArray(cna, core, features, net, state.scratch)
    given = Input(mac, mac.bound, mac.rows_at_once)
    both = (operands[0], operands[1])
    run_dpu(dpu, rdma, given, both, writer, memory, state.scratch, state.luts.tables, checks)
    return cna.out_width * cna.out_height * cna.kernel.total_bytes


def _check_convolution(cna: CnaConfig, dpu: DpuConfig, core_channels: int, checks: Checks) -> None:
    """Hold the DPU's cube against what CNA and CORE deliver."""
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


def run_flying(units: Units, state: CoreState, memory: Memory, soc: Soc, checks: Checks) -> int:
    """DPU and DPU_RDMA on a tensor in memory. Returns 0, the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    dpu = read_dpu(units["DPU"], checks)
    rdma = read_rdma(units["DPU_RDMA"], checks)
    if not dpu.flying or not rdma.flying:
        checks.refuse("DPU", "FEATURE_MODE_CFG", "without a convolution in front DPU and DPU_RDMA need FLYING_MODE")
    check_cubes(dpu, rdma, soc, checks)
    writer = Writer(dpu, memory)
    operands = tuple(stage_operands(stage, dpu, rdma, memory, checks) for stage in (dpu.bs, dpu.bn))
    given = Input(main_reader(rdma, memory, state.scratch), MAX_INPUT, dpu.height)
    both = (operands[0], operands[1])
    run_dpu(dpu, rdma, given, both, writer, memory, state.scratch, state.luts.tables, checks)
    return 0


def run_pooling(units: Units, state: CoreState, memory: Memory, soc: Soc, checks: Checks) -> int:
    """PPU and PPU_RDMA on a tensor in memory. Returns 0, the MACs done.

    Raises:
        SimulationError: the registers ask for something that is not defined.
    """
    del state, soc
    run_ppu(read_ppu(units["PPU"], units["PPU_RDMA"], checks), memory, checks)
    return 0
