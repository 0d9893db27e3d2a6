"""Tasks of the DPU and its reader alone, as words."""

from __future__ import annotations

from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.registers.command import write
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import BYPASS, Conversion, FlyingTask, OutputStage, Rows


def test_both_units_take_turns_with_their_register_groups() -> None:
    """Every word of both pointers: a register group that a task leaves to chance is another task's (addendum 8.1)."""
    x, y = (FeatureMap.packed(name, 4, 6, 16, RK3588.slot) for name in "xy")
    task = FlyingTask(0, "copy", Rows(x, 0, 4), OutputStage(BYPASS, BYPASS, None, Conversion(1, 0, 0)), Rows(y, 0, 4))
    words = list(emit(task, RK3588).words)
    for register in ("DPU.S_POINTER", "DPU_RDMA.RDMA_S_POINTER"):
        assert words.count(write(register, POINTER_PP_MODE=1, EXECUTER_PP_EN=1, POINTER_PP_EN=1)) == 1
