"""DPU and DPU_RDMA: what happens to a value between the accumulator, or memory, and memory."""

from __future__ import annotations

from rocketnpu.program.constants import Location
from rocketnpu.rockchip.emission.lut import write_lookup, write_tables
from rocketnpu.rockchip.emission.writer import Writer
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    MEMORY,
    Combine,
    ConvolutionTask,
    Elementwise,
    FlyingTask,
    Multiply,
    OutputStage,
    Stage,
)
from rocketnpu.rockchip.tasks.weights import aligned

BURST = 15
OUTPUT_TO_MEMORY = 2
ADD = 2
"""ALU_ALGO of an addition in BS and BN (TRM; Mesa)."""
EW_ALGORITHM = {Combine.MAXIMUM: 0, Combine.MINIMUM: 1, Combine.ADD: 2, Combine.SUBTRACT: 4, Combine.MULTIPLY: 0}
"""EW_ALU_ALGO (TRM; addition by Mesa and the vendor; spec 5.5)."""
COMBINED_OPERAND = 5
"""COMB_USE: MRDMA and ERDMA share one tensor and deliver it to the EW port (Mesa's fused addition; spec 3.8)."""
SMALLEST_SURFACE = 12
"""Slots of the smallest distance between operand surfaces that Mesa programs (spec 3.8)."""
USE_BIAS, USE_FEATURE_OFFSET, USE_MULTIPLIER = 1, 2, 4
"""Bits of BRDMA_DATA_USE: which per-channel operands the records hold (addendum 1.2)."""


DpuTask = ConvolutionTask | FlyingTask
"""Tasks that end in the DPU."""


def _is_depthwise(task: DpuTask) -> bool:
    return isinstance(task, ConvolutionTask) and task.weights.depthwise


def _group_surfaces(task: DpuTask, soc: Soc) -> int:
    """Return surfaces that the writer fills for one kernel group: 2, depthwise 4, flying 1 (spec 3.6)."""
    if not isinstance(task, ConvolutionTask):
        return 1
    return (soc.depthwise_group if _is_depthwise(task) else soc.kernel_group) // soc.slot


def _padded(task: DpuTask, soc: Soc) -> int:
    return aligned(task.target.feature.channels, _group_surfaces(task, soc) * soc.slot)


def operand_end(task: DpuTask, soc: Soc) -> int:
    """Return the offset in its region behind the last byte of the EW operand that is fetched: whole kernel groups, of
    which only the surfaces that the task writes matter.
    """
    assert task.output.elementwise is not None
    feature = task.output.elementwise.operand.feature
    surfaces = _padded(task, soc) // soc.slot
    return feature.end(surfaces)


def written_end(task: DpuTask, soc: Soc) -> int:
    """Return the offset in its region behind the last byte that the writer may touch: whole kernel groups."""
    return task.target.feature.end(written_surfaces(task, soc))


def written_surfaces(task: DpuTask, soc: Soc) -> int:
    """Return how many surfaces the writer may touch: those of whole kernel groups."""
    return _padded(task, soc) // soc.slot


def write_dpu(writer: Writer, task: DpuTask) -> None:
    """Write every DPU register."""
    feature, rows = task.target.feature, task.target.count
    convolution = isinstance(task, ConvolutionTask)
    if isinstance(task, FlyingTask):
        _flying_pointers(writer, task)
    writer.put(
        "DPU.FEATURE_MODE_CFG",
        BURST_LEN=BURST,
        CONV_MODE=3 if _is_depthwise(task) else 0,
        OUTPUT_MODE=OUTPUT_TO_MEMORY,
        FLYING_MODE=int(not convolution),
    )
    # Negative values have shifts of their own; they must equal the positive ones (addendum 5.3).
    writer.put(
        "DPU.DATA_FORMAT",
        BN_MUL_SHIFT_VALUE_NEG=_shift(task.output.bn),
        BS_MUL_SHIFT_VALUE_NEG=_shift(task.output.bs),
    )
    writer.zero("DPU.OFFSET_PEND")
    writer.address("DPU.DST_BASE_ADDR", task.target.at)
    writer.put("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=feature.surface_slots)
    writer.put("DPU.DATA_CUBE_WIDTH", WIDTH=feature.width - 1)
    writer.put("DPU.DATA_CUBE_HEIGHT", HEIGHT=rows - 1)
    writer.put("DPU.DATA_CUBE_NOTCH_ADDR", NOTCH_ADDR_1=feature.line_gap, NOTCH_ADDR_0=feature.line_gap)
    writer.put("DPU.DATA_CUBE_CHANNEL", ORIG_CHANNEL=feature.channels - 1, CHANNEL=_padded(task, writer.soc) - 1)
    _stage(writer, "BS", task.output.bs)
    _feature_offset(writer, task)
    writer.put("DPU.WDMA_SIZE_0", CHANNEL_WDMA=_padded(task, writer.soc) - 1)
    writer.put("DPU.WDMA_SIZE_1", HEIGHT_WDMA=rows - 1, WIDTH_WDMA=feature.width - 1)
    _stage(writer, "BN", task.output.bn)
    _elementwise(writer, task.output)
    _conversion(writer, task)
    writer.zero("DPU.UNK_40C4")
    write_lookup(writer, task.output.lookup)


def _flying_pointers(writer: Writer, task: FlyingTask) -> None:
    """Choose the register groups, and load tables. A loader resets both pointers (0x30; RK3568, RK3588 in fp16)."""
    fields = {"POINTER_PP_MODE": 1, "EXECUTER_PP_EN": 1, "POINTER_PP_EN": 1}
    if task.tables is not None:
        fields = {"EXECUTER_PP_CLEAR": 1, "POINTER_PP_CLEAR": 1}
    writer.put("DPU.S_POINTER", **fields)
    writer.put("DPU_RDMA.RDMA_S_POINTER", **fields)
    if task.tables is not None:
        write_tables(writer, task.tables)


def _shift(stage: Stage) -> int:
    return stage.multiply.shift if stage.multiply else 0


def _stage(writer: Writer, name: str, stage: Stage) -> None:
    """Write BS or BN. A stage that does nothing is switched off as a whole, with every part bypassed (0x53)."""
    rectifies = stage.relu or stage.ceiling is not None
    fields = {
        f"{name}_ALU_ALGO": ADD if stage.add is not None else 0,
        f"{name}_ALU_SRC": int(stage.add is MEMORY),
        f"{name}_RELUX_EN": int(stage.ceiling is not None),
        f"{name}_RELU_BYPASS": int(not rectifies),
        f"{name}_MUL_PRELU": int(stage.prelu),
        f"{name}_MUL_BYPASS": int(stage.multiply is None),
        f"{name}_ALU_BYPASS": int(stage.add is None),
        f"{name}_BYPASS": int(stage == BYPASS),
    }
    writer.put(f"DPU.{name}_CFG", **fields)
    constant = stage.add if isinstance(stage.add, int) else 0
    writer.put(f"DPU.{name}_ALU_CFG", **{f"{name}_ALU_OPERAND": constant})
    multiply = stage.multiply or Multiply(0, 0)
    writer.put(
        f"DPU.{name}_MUL_CFG",
        **{
            f"{name}_MUL_OPERAND": multiply.operand if isinstance(multiply.operand, int) else 0,
            f"{name}_MUL_SHIFT_VALUE": multiply.shift,
            f"{name}_MUL_SRC": int(multiply.operand is MEMORY),
        },
    )
    writer.put(f"DPU.{name}_RELUX_CMP_VALUE", **{f"{name}_RELUX_CMP_DAT": stage.ceiling or 0})


def _per_channel(task: DpuTask) -> bool:
    multiply = task.output.bs.multiply
    return multiply is not None and multiply.operand is MEMORY


def _feature_offset(writer: Writer, task: DpuTask) -> None:
    """Write the OW operand: a constant, or per channel from the records (addendum 1.4), or off when flying."""
    size = _group_surfaces(task, writer.soc) - 1
    flying = not isinstance(task, ConvolutionTask)
    writer.put(
        "DPU.BS_OW_CFG",
        SIZE_E_2=size,
        SIZE_E_1=size,
        SIZE_E_0=size,
        OD_BYPASS=int(flying),
        OW_SRC=int(_per_channel(task)),
    )
    writer.put("DPU.BS_OW_OP", OW_OP=task.feature_offset if isinstance(task, ConvolutionTask) else 0)


def _elementwise(writer: Writer, output: OutputStage) -> None:
    stage = output.elementwise
    if stage is None:
        off = int(output.lookup is None)
        writer.put("DPU.EW_CFG", EW_RELU_BYPASS=1, EW_OP_CVT_BYPASS=1, EW_LUT_BYPASS=off, EW_OP_BYPASS=1, EW_BYPASS=off)
        writer.zero("DPU.EW_CVT_OFFSET_VALUE")
        writer.put("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SCALE=1)
        writer.zero("DPU.EW_RELUX_CMP_VALUE")
        return
    writer.put(
        "DPU.EW_CFG",
        EW_CVT_TYPE=1,
        EW_DATA_MODE=int(not stage.per_channel),
        EDATA_SIZE=1,
        EW_ALU_ALGO=EW_ALGORITHM[stage.combine],
        EW_RELUX_EN=int(stage.ceiling is not None),
        EW_RELU_BYPASS=int(not stage.relu and stage.ceiling is None),
        EW_LUT_BYPASS=1,
        EW_OP_SRC=1,
        EW_OP_TYPE=int(stage.combine is Combine.MULTIPLY),
    )
    writer.put("DPU.EW_CVT_OFFSET_VALUE", EW_OP_CVT_OFFSET=stage.offset)
    writer.put("DPU.EW_CVT_SCALE_VALUE", EW_OP_CVT_SHIFT=stage.shift, EW_OP_CVT_SCALE=stage.scale)
    writer.put("DPU.EW_RELUX_CMP_VALUE", EW_RELUX_CMP_DAT=stage.ceiling or 0)


def _conversion(writer: Writer, task: DpuTask) -> None:
    conversion = task.output.conversion
    writer.put("DPU.OUT_CVT_OFFSET", OUT_CVT_OFFSET=conversion.offset)
    writer.put("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=conversion.multiplier)
    writer.put("DPU.OUT_CVT_SHIFT", OUT_CVT_SHIFT=conversion.shift)
    writer.zero(*(f"DPU.EW_OP_VALUE_{number}" for number in range(8)))
    pitch = task.target.feature.surface_slots
    writer.put("DPU.SURFACE_ADD", SURF_ADD=_group_surfaces(task, writer.soc) * pitch)


def write_rdma(writer: Writer, task: DpuTask) -> None:
    """Write every DPU_RDMA register."""
    feature, rows = task.target.feature, task.target.count
    operand = task.output.elementwise
    writer.put("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", WIDTH=feature.width - 1)
    writer.put("DPU_RDMA.RDMA_DATA_CUBE_HEIGHT", HEIGHT=rows - 1)
    writer.put("DPU_RDMA.RDMA_DATA_CUBE_CHANNEL", CHANNEL=_padded(task, writer.soc) - 1)
    source, second = _operand_places(task)
    writer.address("DPU_RDMA.RDMA_SRC_BASE_ADDR", source)
    use = 0
    if task.output.operands is not None:
        use = USE_BIAS | (USE_FEATURE_OFFSET | USE_MULTIPLIER if _per_channel(task) else 0)
    writer.put("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=use)
    writer.address("DPU_RDMA.RDMA_BS_BASE_ADDR", task.output.operands)
    writer.zero("DPU_RDMA.RDMA_NRDMA_CFG", "DPU_RDMA.RDMA_BN_BASE_ADDR")
    if operand is None:
        writer.put("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DISABLE=1)
    else:
        writer.put("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DATA_MODE=int(not operand.per_channel), ERDMA_DATA_SIZE=1)
    writer.address("DPU_RDMA.RDMA_EW_BASE_ADDR", second)
    writer.put("DPU_RDMA.RDMA_EW_SURF_STRIDE", EW_SURF_STRIDE=_operand_stride(operand))
    flying = not isinstance(task, ConvolutionTask)
    shared = operand is not None and not flying and not operand.per_channel
    writer.put(
        "DPU_RDMA.RDMA_FEATURE_MODE_CFG",
        BURST_LEN=BURST,
        COMB_USE=COMBINED_OPERAND if shared else 0,
        MRDMA_DISABLE=int(not shared and not flying),
        CONV_MODE=3 if _is_depthwise(task) else 0,
        FLYING_MODE=int(flying),
    )
    writer.zero("DPU_RDMA.RDMA_SRC_DMA_CFG")
    main, other = _notches(task)
    writer.put("DPU_RDMA.RDMA_SURF_NOTCH", SURF_NOTCH_ADDR=main)
    writer.zero("DPU_RDMA.RDMA_PAD_CFG")
    writer.put("DPU_RDMA.RDMA_WEIGHT", E_WEIGHT=1, N_WEIGHT=1, B_WEIGHT=1, M_WEIGHT=1)
    writer.put("DPU_RDMA.RDMA_EW_SURF_NOTCH", EW_SURF_NOTCH=other)


def _operand_stride(operand: Elementwise | None) -> int:
    """Return slots from one surface of the operand to the next; 1 for a vector (exact on RV1106; addendum 3.5)."""
    if operand is None:
        return 0
    pitch = operand.operand.feature.surface_slots
    return pitch if operand.per_channel else max(pitch, SMALLEST_SURFACE)


def _operand_places(task: DpuTask) -> tuple[Location | None, Location | None]:
    """Return what MRDMA and ERDMA read first.

    Behind a convolution both share the operand, MRDMA its even surfaces, ERDMA its odd ones (spec 3.8); in a flying
    task MRDMA reads the main input and ERDMA the operand (addendum 3.1).
    """
    operand = task.output.elementwise
    if not isinstance(task, ConvolutionTask):
        return task.source.at, operand.operand.at if operand else None
    if operand is None:
        return None, None
    first = operand.operand.at
    if operand.per_channel:
        return None, first
    return first, first + operand.operand.feature.surface_pitch


def _notches(task: DpuTask) -> tuple[int, int]:
    """Return the slots that MRDMA and ERDMA skip from the end of a surface's part to the next one they read."""
    operand = task.output.elementwise
    pixels = task.target.count * task.target.feature.width
    if isinstance(task, ConvolutionTask):
        if operand is None or operand.per_channel:
            return 0, 0
        pitch = operand.operand.feature.surface_slots
        notch = 2 * pitch - pixels
        return notch, notch
    main = task.source.feature.surface_slots - pixels
    other = operand.operand.feature.surface_slots - pixels if operand else 0
    return main, other
