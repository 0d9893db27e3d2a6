"""What a command list must satisfy before a kernel driver may see it."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from rocketnpu.device.base import DeviceJob, DeviceTask
from rocketnpu.errors import DeviceError
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.drivers.check import DPU_MASK, check_task, output_addresses, unbalanced_operands
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, pack, write
from rocketnpu.rockchip.registers.rk3588 import BY_NAME
from rocketnpu.rockchip.registers.rk3588 import register as register_of
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
        device.takes_risks = True
        cores = [(0,)] if name == "rknpu" else []
        device._prepared = [device._prepare((DeviceJob((tasks["DPU"],)),), *cores)]
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


CONVOLUTION = ("CNA", "CORE", "DPU", "DPU_RDMA")


def checked(*writes: int, units: tuple[str, ...] = CONVOLUTION, owned: tuple[int, ...] = (0x1000,)) -> str:
    """Check a list of these writes; return what is said against it."""
    words = np.array([*writes, NOP, write("PC.REGISTER_AMOUNTS"), MARKER, enable(units)], "<u8")
    task = DeviceTask(address=0x2000, words=len(words), kind=int(words[-1]) >> 16 & 0xFFFFFFFF)

    def owns(address: int, size: int) -> bool:
        assert size == 16
        return address in owned

    try:
        check_task(task, words, owns, dpu_required=False)
    except DeviceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", [0x1000, 0, 0x1010, 0x1008])
@pytest.mark.parametrize(
    ("register", "used", "optional"),
    [
        ("CNA.FEATURE_DATA_ADDR", CONVOLUTION, False),
        ("CNA.DCOMP_ADDR0", CONVOLUTION, False),
        ("DPU_RDMA.RDMA_SRC_BASE_ADDR", CONVOLUTION, True),
        ("DPU_RDMA.RDMA_BS_BASE_ADDR", CONVOLUTION, True),
        ("DPU_RDMA.RDMA_BN_BASE_ADDR", CONVOLUTION, True),
        ("DPU_RDMA.RDMA_EW_BASE_ADDR", CONVOLUTION, True),
        ("PPU_RDMA.RDMA_SRC_BASE_ADDR", ("PPU", "PPU_RDMA"), True),
    ],
)
def test_addresses_are_judged_where_their_unit_is_started(
    register: str, used: tuple[str, ...], optional: bool, value: int
) -> None:
    """0 stands for an operand that is off, but not where a unit reads in any case."""
    register_write = pack(TARGETS[register.partition(".")[0]], register_of(register).offset, value)
    good = value == 0x1000 or (optional and value == 0)
    said = checked(register_write, units=used)
    assert (said == "") == good
    if not good:
        assert f"{register} = 0x{value:x} is not an aligned address inside this device's buffers" in said
    others = ("PPU", "PPU_RDMA") if used is CONVOLUTION else CONVOLUTION
    assert checked(register_write, units=others) == ""


@pytest.mark.parametrize(("unit", "other"), [("DPU", "PPU"), ("PPU", "DPU")])
def test_outputs_are_judged_where_their_unit_is_started(unit: str, other: str) -> None:
    units = {"DPU": CONVOLUTION, "PPU": ("PPU", "PPU_RDMA")}
    for value in (0, 0x1010):
        register_write = pack(TARGETS[unit], register_of(f"{unit}.DST_BASE_ADDR").offset, value)
        assert f"{unit}.DST_BASE_ADDR = 0x{value:x}" in checked(register_write, units=units[unit])
        assert checked(register_write, units=units[other]) == ""


def test_addresses_that_are_owned_but_crooked_are_refused() -> None:
    register_write = pack(TARGETS["CNA"], register_of("CNA.DCOMP_ADDR0").offset, 0x1008)
    assert "not an aligned address" in checked(register_write, owned=(0x1008,))


def test_the_end_of_a_list_is_what_starts_it() -> None:
    body = [write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=0x1000)]
    tail = [NOP, write("PC.REGISTER_AMOUNTS"), MARKER, enable(("DPU",))]
    mask = int(tail[-1]) >> 16 & 0xFFFFFFFF
    for words, address, kind, said in (
        ([*body, *tail], 0x2000, mask, ""),
        ([*body, *tail], 0x2008, mask, "its address is not a multiple of 16"),
        (tail, 0x2000, mask, ""),
        (tail[1:], 0x2000, mask, "does not end with a marker and an enable word"),
        ([*tail[:2], NOP, tail[3]], 0x2000, mask, "does not end with a marker and an enable word"),
        ([*tail[:3], tail[3] ^ 1], 0x2000, mask, "does not end with a marker and an enable word"),
        ([*tail[:3], tail[3] ^ 1 << 48], 0x2000, mask, "does not end with a marker and an enable word"),
        (tail, 0x2000, mask | 1, f"its enable word is 0x{mask:x}, the task says 0x{mask | 1:x}"),
    ):
        task = DeviceTask(address, len(words), kind)
        if not said:
            check_task(task, np.array(words, "<u8"), lambda *_: True, dpu_required=True)
            continue
        with pytest.raises(DeviceError, match=re.escape(said)):
            check_task(task, np.array(words, "<u8"), lambda *_: True, dpu_required=True)


def test_the_mainline_kernel_waits_for_the_dpu() -> None:
    words = np.array([NOP, write("PC.REGISTER_AMOUNTS"), MARKER, enable(("PPU", "PPU_RDMA"))], "<u8")
    task = DeviceTask(0x2000, 4, 0x60)
    check_task(task, words, lambda *_: True, dpu_required=False)
    with pytest.raises(DeviceError, match=r"does not use the DPU \(enable 0x60\)"):
        check_task(task, words, lambda *_: True, dpu_required=True)


def test_outputs_are_those_of_started_units() -> None:
    words = np.array([pack(TARGETS[u], register_of(f"{u}.DST_BASE_ADDR").offset, n) for u, n in UNITS], "<u8")
    assert output_addresses(words, DPU_MASK) == [0x1000]
    assert output_addresses(words, 0x60) == [0x3000]
    assert output_addresses(words, DPU_MASK | 0x60) == [0x1000, 0x3000]
    assert output_addresses(words, 1) == []


UNITS = (("DPU", 0x1000), ("PPU", 0x3000))
TARGETS = {name: unit.target or 0 for name, unit in BY_NAME.items()}
