"""Tasks of the DPU and its reader alone, as words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import Location
from rocketnpu.rockchip.emission.emit import chain_words, emit, fetch_amount
from rocketnpu.rockchip.registers.command import pack, write
from rocketnpu.rockchip.registers.rk3588 import register
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import (
    BYPASS,
    Banks,
    Combine,
    Conversion,
    ConvolutionTask,
    Elementwise,
    FlyingTask,
    KernelShape,
    Multiply,
    OutputStage,
    Rows,
    Stage,
    Task,
    WeightBlock,
)


def test_both_units_take_turns_with_their_register_groups() -> None:
    """Every word of both pointers: a register group that a task leaves to chance is another task's (addendum 8.1)."""
    x, y = (FeatureMap.packed(name, 4, 6, 16, RK3588.slot) for name in "xy")
    task = FlyingTask(0, "copy", Rows(x, 0, 4), OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0)), Rows(y, 0, 4))
    words = list(emit(task, RK3588).words)
    for pointer in ("DPU.S_POINTER", "DPU_RDMA.RDMA_S_POINTER"):
        assert words.count(write(pointer, POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)) == 1


def element_task(pixels: int, *, flying: bool, per_channel: bool = False, combine: Combine = Combine.ADD) -> Task:
    """An element-wise task of one row, by itself or behind a 1x1 convolution."""
    x, y, z = (FeatureMap.packed(name, 1, pixels, 40, RK3588.slot) for name in "xyz")
    if per_channel:
        z = FeatureMap.packed("z", 1, 1, 40, RK3588.slot)
    stage = Elementwise(combine, Rows(z, 0, 1), -5, 77, 3, per_channel=per_channel)
    output = OutputStage(BYPASS, BYPASS, stage, Conversion(1, 0, 0))
    if flying:
        return FlyingTask(0, "sum", Rows(x, 0, 1), output, Rows(y, 0, 1))
    kernel = KernelShape((1, 1), (1, 1), (1, 1), 0, 0, 0)
    weights = WeightBlock(Location("constants"), 40, 48, False)
    return ConvolutionTask(0, "sum", Rows(x, 0, 1), kernel, weights, Banks(1, 1, 3), 0, output, Rows(y, 0, 1))


def fields(task: Task) -> TaskRegisters:
    return TaskRegisters(emit(task, RK3588).words)


@pytest.mark.parametrize(("pixels", "stride"), [(1, 12), (11, 12), (12, 12), (13, 13), (40, 40)])
def test_surfaces_of_operands_lie_twelve_slots_apart_at_least(pixels: int, stride: int) -> None:
    """Mesa's smallest distance behind a convolution (spec 3.8)."""
    assert fields(element_task(pixels, flying=False))["DPU_RDMA.RDMA_EW_SURF_STRIDE.EW_SURF_STRIDE"] == stride


def test_an_operand_for_each_channel_has_one_slot_a_surface() -> None:
    regs = fields(element_task(7, flying=False, per_channel=True, combine=Combine.MULTIPLY))
    assert regs["DPU_RDMA.RDMA_EW_SURF_STRIDE.EW_SURF_STRIDE"] == 1
    assert (regs["DPU_RDMA.RDMA_ERDMA_CFG.ERDMA_DATA_MODE"], regs["DPU.EW_CFG.EW_DATA_MODE"]) == (0, 0)
    assert regs["DPU_RDMA.RDMA_FEATURE_MODE_CFG.COMB_USE"] == 0


@pytest.mark.parametrize(
    ("combine", "algorithm", "product"),
    [
        (Combine.MAXIMUM, 0, 0),
        (Combine.MINIMUM, 1, 0),
        (Combine.ADD, 2, 0),
        (Combine.SUBTRACT, 4, 0),
        (Combine.MULTIPLY, 0, 1),
    ],
)
def test_operations_of_the_element_stage(combine: Combine, algorithm: int, product: int) -> None:
    regs = fields(element_task(7, flying=True, combine=combine))
    assert (regs["DPU.EW_CFG.EW_ALU_ALGO"], regs["DPU.EW_CFG.EW_OP_TYPE"]) == (algorithm, product)
    found = [regs[f"DPU.EW_CVT_{path}"] for path in ("OFFSET_VALUE.EW_OP_CVT_OFFSET", "SCALE_VALUE.EW_OP_CVT_SCALE")]
    assert [*found, regs["DPU.EW_CVT_SCALE_VALUE.EW_OP_CVT_SHIFT"]] == [-5, 77, 3]


@pytest.mark.parametrize(("flying", "engines"), [(False, (5, 0, 0)), (True, (0, 0, 1))])
def test_behind_a_convolution_both_engines_share_the_operand(flying: bool, engines: tuple[int, int, int]) -> None:
    """Each skips the other's surface; a flying task reads its two maps with an engine each."""
    task = element_task(7, flying=flying)
    regs, places = fields(task), emit(task, RK3588).addresses
    mode = [regs[f"DPU_RDMA.RDMA_FEATURE_MODE_CFG.{name}"] for name in ("COMB_USE", "MRDMA_DISABLE", "FLYING_MODE")]
    assert tuple(mode) == engines
    notch = 0 if flying else 7
    assert (
        regs["DPU_RDMA.RDMA_SURF_NOTCH.SURF_NOTCH_ADDR"] == regs["DPU_RDMA.RDMA_EW_SURF_NOTCH.EW_SURF_NOTCH"] == notch
    )
    at = {int(emit(task, RK3588).words[word]) & 0xFFFF: place for word, place in places.items()}
    source, second = (at[register(f"DPU_RDMA.{name}").offset] for name in ("RDMA_SRC_BASE_ADDR", "RDMA_EW_BASE_ADDR"))
    assert (source, second) == (Location("x" if flying else "z"), Location("z", 0 if flying else 7 * 16))


@pytest.mark.parametrize(("relu", "ceiling"), [(False, None), (True, None), (True, 50), (False, 50)])
def test_rectifiers_of_each_stage(relu: bool, ceiling: int | None) -> None:
    """A ceiling alone rectifies too."""
    x, y, z = (FeatureMap.packed(name, 4, 6, 16, RK3588.slot) for name in "xyz")
    stage = Stage(relu=relu, ceiling=ceiling)
    element = Elementwise(Combine.ADD, Rows(z, 0, 4), 0, 1, 0, relu=relu, ceiling=ceiling)
    output = OutputStage(stage, stage, element, Conversion(1, 0, 0))
    regs = fields(FlyingTask(0, "clamp", Rows(x, 0, 4), output, Rows(y, 0, 4)))
    bypassed, bounded = int(not relu and ceiling is None), int(ceiling is not None)
    for name in ("BS", "BN", "EW"):
        found = [regs[f"DPU.{name}_CFG.{name}_{field}"] for field in ("RELU_BYPASS", "RELUX_EN")]
        assert found == [bypassed, bounded], name
        assert regs[f"DPU.{name}_RELUX_CMP_VALUE.{name}_RELUX_CMP_DAT"] == (ceiling or 0)
    assert regs["DPU.BS_CFG.BS_BYPASS"] == regs["DPU.BN_CFG.BN_BYPASS"] == bypassed


@pytest.mark.parametrize(("add", "multiply"), [(None, None), (5, None), (None, Multiply(9, 3)), (-5, Multiply(9, 3))])
def test_constants_of_each_stage(add: int | None, multiply: Multiply | None) -> None:
    x, y = (FeatureMap.packed(name, 4, 6, 16, RK3588.slot) for name in "xy")
    stage = Stage(add=add, multiply=multiply)
    task = FlyingTask(0, "scale", Rows(x, 0, 4), OutputStage(stage, stage, None, Conversion(1, 0, 0)), Rows(y, 0, 4))
    regs = fields(task)
    for name in ("BS", "BN"):
        assert regs[f"DPU.{name}_CFG.{name}_ALU_BYPASS"] == int(add is None)
        assert regs[f"DPU.{name}_CFG.{name}_ALU_ALGO"] == (0 if add is None else 2)
        assert regs[f"DPU.{name}_CFG.{name}_MUL_BYPASS"] == int(multiply is None)
        assert regs[f"DPU.{name}_CFG.{name}_BYPASS"] == int(add is None and multiply is None)
        assert regs[f"DPU.{name}_CFG.{name}_ALU_SRC"] == regs[f"DPU.{name}_MUL_CFG.{name}_MUL_SRC"] == 0
        assert regs[f"DPU.{name}_ALU_CFG.{name}_ALU_OPERAND"] == (add or 0)
        found = [regs[f"DPU.{name}_MUL_CFG.{name}_MUL_{field}"] for field in ("OPERAND", "SHIFT_VALUE")]
        assert found == ([9, 3] if multiply else [0, 0])
        assert regs[f"DPU.DATA_FORMAT.{name}_MUL_SHIFT_VALUE_NEG"] == found[1], "negative values shift alike"


def test_lists_are_as_long_as_the_chip_takes() -> None:
    task = element_task(7, flying=True)
    count = len(emit(task, RK3588).words)
    assert len(emit(task, replace(RK3588, max_list_words=count)).words) == count
    with pytest.raises(UnsupportedError, match=f"its list has {count} words, the rk3588 takes {count - 1}"):
        emit(task, replace(RK3588, max_list_words=count - 1))


@pytest.mark.parametrize(("words", "units", "amount"), [(1, 2, 0), (2, 2, 0), (3, 2, 1), (108, 2, 53), (109, 1, 108)])
def test_an_amount_counts_whole_units_less_one(words: int, units: int, amount: int) -> None:
    soc = replace(RK3588, fetch_words=units)
    assert fetch_amount(words, soc) == amount
    assert chain_words(words, soc)[1] == write("PC.REGISTER_AMOUNTS", PC_DATA_AMOUNT=amount)
    assert chain_words(words, soc)[0] == pack(0x0101, 0x0010, 0)
