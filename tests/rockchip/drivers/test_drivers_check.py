"""What a command list must satisfy before a kernel driver may see it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rocketnpu.device.base import DeviceJob, DeviceTask
from rocketnpu.errors import DeviceError
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.drivers.check import check_task, unbalanced_operands
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, write
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.tasks.task import ConvolutionTask
from strategies import FAMILIES, case

OPERANDS = {
    "biases": (1, {"BS_ALU_SRC": 1}, {}, {"OD_BYPASS": 1}),
    "records": (7, {"BS_ALU_SRC": 1}, {"BS_MUL_SRC": 1}, {"OW_SRC": 1}),
    "feature offsets": (2, {"BS_BYPASS": 1}, {}, {"OW_SRC": 1}),
    "multipliers": (4, {"BS_ALU_BYPASS": 1}, {"BS_MUL_SRC": 1}, {}),
    "nothing": (0, {}, {}, {}),
}


def words_of(use: int, stage: dict[str, int], multiplier: dict[str, int], feature: dict[str, int]) -> np.ndarray:
    return np.array(
        [
            write("DPU.BS_CFG", BS_ALU_ALGO=2, **stage),
            write("DPU.BS_MUL_CFG", **multiplier),
            write("DPU.BS_OW_CFG", **feature),
            write("DPU_RDMA.RDMA_BRDMA_CFG", BRDMA_DATA_USE=use),
            write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=0x1000),
            NOP,
            write("PC.REGISTER_AMOUNTS"),
            MARKER,
            enable(("DPU", "DPU_RDMA")),
        ],
        "<u8",
    )


@pytest.mark.parametrize("name", OPERANDS)
def test_brdma_fetches_what_bs_consumes(name: str) -> None:
    """Anything else stays behind and hung a later task of the core (mainline RK3588; outside 2.6a)."""
    wanted, *stages = OPERANDS[name]
    task = DeviceTask(address=0x2000, words=9, kind=0x18)
    for use in range(8):
        words = words_of(use, *stages)
        if use == wanted:
            check_task(task, words, lambda *_: True, dpu_required=True)
            continue
        with pytest.raises(DeviceError, match=f"BRDMA_DATA_USE is {use}, but BS consumes {wanted}"):
            check_task(task, words, lambda *_: True, dpu_required=True)


@pytest.mark.parametrize("name", ["rocket", "rknpu"])
def test_flying_tasks_are_not_started_by_themselves(name: str, request: pytest.FixtureRequest) -> None:
    """Each start with mainline, the first of a chain with the vendor's kernel, unless proven there (outside 2.5)."""
    calls = request.getfixturevalue("node").calls if name == "rocket" else request.getfixturevalue("fake_rknpu")
    kind = RocketDevice if name == "rocket" else RknpuDevice
    message = r"the task at 0x\w+ works on memory without a convolution .*flying-start.*selftest --rules --risky"
    with kind(calls=calls) as device:
        buffer = device.allocate(4096)
        tasks = {}
        for place, units in enumerate((("DPU", "DPU_RDMA"), ("CNA", "CORE", "DPU", "DPU_RDMA"))):
            target = write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=buffer.address)
            words = np.array([target, NOP, write("PC.REGISTER_AMOUNTS"), MARKER, enable(units)], "<u8")
            device.map(buffer)[place * 64 : place * 64 + words.nbytes] = words.tobytes()
            tasks[units[0]] = DeviceTask(buffer.address + 64 * place, 5, int(words[-1]) >> 16 & 0xFFFFFFFF)
        for chain in (("DPU",), ("DPU", "CNA"), ("CNA", "DPU")):
            job = DeviceJob(tuple(tasks[kind] for kind in chain))
            if name == "rknpu" and chain[0] == "CNA":
                continue
            with pytest.raises(DeviceError, match=message):
                device.submit([job])
        device.flying_starts = True
        device._prepared = [device._prepare((DeviceJob((tasks["DPU"],)),))]
        assert device._prepared[0].jobs


def test_registers_that_a_list_does_not_write_are_not_judged() -> None:
    words = words_of(7, {"BS_BYPASS": 1}, {}, {})
    assert unbalanced_operands(words)
    assert unbalanced_operands(words[1:]) == ""


def test_random_tasks_of_every_kind_fetch_what_they_consume() -> None:
    counts: Counter[str] = Counter()
    for seed in range(60):
        for family in FAMILIES:
            found = case(family, seed).graph
            if not all(decision.supported for decision in plan(found, Policy()).decisions):
                continue
            groups = job_groups(lower(found, RK3588, Policy()).tasks, RK3588)
            for task in (task for group in groups for task in group):
                words = np.array(emit(task, RK3588).words, "<u8")
                assert unbalanced_operands(words) == "", f"{family} {seed}: {task.label}"
                depthwise = isinstance(task, ConvolutionTask) and task.weights.depthwise
                counts["depthwise" if depthwise else type(task).__name__] += 1
    assert set(counts) == {"ConvolutionTask", "depthwise", "FlyingTask", "PoolingTask"}
    assert counts.total() >= 500, counts
