"""The judge of registers against the compiler's own figures, the vendor's formula, and streams of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.graphs import graph_case
from rocketnpu.errors import CommandError
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.registers.command import enable, write
from rocketnpu.rockchip.registers.task_registers import TaskRegisters
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.disassembly import disassemble
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.tasks.task import ConvolutionTask, PoolingTask
from rocketnpu.rockchip.timing.judge import judge, judge_words
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.work import Kind, cycles
from strategies import FAMILIES, case

PACKAGED = Path(__file__).resolve().parents[2] / "data" / "golden"


def assert_judged_alike(model: bytes) -> dict[type, int]:
    """Hold the work of each task's description against that of its registers; return how many tasks of each kind."""
    seen: dict[type, int] = {}
    divided = plan(tflite.parse(model))
    for part in divided.parts:
        for group in job_groups(lower(part, RK3588, divided.policy).tasks, RK3588):
            for task in group:
                assert judge_words(emit(task, RK3588).words, RK3588) == task_work(task, RK3588), task.label
                seen[type(task)] = seen.get(type(task), 0) + 1
    return seen


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_descriptions_and_registers_are_judged_alike(family: str) -> None:
    assert sum(sum(assert_judged_alike(case(family, seed).model).values()) for seed in range(6)) > 0


def test_graphs_are_judged_alike() -> None:
    seen: dict[type, int] = {}
    for seed in range(24):
        for kind, count in assert_judged_alike(graph_case(seed).model).items():
            seen[kind] = seen.get(kind, 0) + count
    assert {ConvolutionTask, PoolingTask} <= set(seen)


def test_mobilenet_takes_the_time_of_the_hand_calculation(mobilenet_v1: Path) -> None:
    """0.62 ms of multiplications, 0.54 of stores, 0.21 of weights, 0.52 of loads, before the compiler listened:
    the first depthwise layer then took 0.11 ms to multiply, where it now takes 0.07 to store, and the mean 0.012, where
    it now takes 0.005 to load.
    """
    model = tflite.load(mobilenet_v1)
    (part,) = plan(model).parts
    parts = dict.fromkeys(("multiply", "store", "weights", "load"), 0)
    for task in lower(part, RK3588, plan(model).policy).tasks:
        found = cycles(task_work(task, RK3588), NETWORK_FIT)
        parts["load"] += found.load
        slowest = max(found.overlapped, key=lambda name: found.overlapped[name])
        parts[slowest] += found.overlapped[slowest]
    assert parts["multiply"] == pytest.approx(620_000 - 113_000 - 20_000 - 12_500, rel=0.02)
    assert parts["store"] == pytest.approx(540_000 + 65_000, rel=0.02)
    assert parts["weights"] == pytest.approx(210_000, rel=0.06)
    assert parts["load"] < 530_000


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.zip")), ids=lambda path: path.stem)
def test_streams_of_others_are_judged(path: Path) -> None:
    for listing in disassemble(path).listings:
        found = judge_words(listing.words.tolist(), RK3588)
        assert found.kind is Kind.CONVOLUTION
        assert found.multiply > 0
        assert found.features > 0
        assert cycles(found, NETWORK_FIT).total > found.multiply


def test_a_word_changes_the_verdict() -> None:
    """Each register that matters is really read: kernels, rows, reuse, precision, the look-up, the operand."""
    words = disassemble(PACKAGED / "edge_conv3x3_u8_ic72.zip").listings[0].words.tolist()
    before = judge_words(words, RK3588)

    reused = judge_words([*words[:-1], write("CNA.CBUF_CON0", WEIGHT_REUSE=1, DATA_BANK=6), words[-1]], RK3588)
    assert (reused.first_weights, reused.weights, reused.features) == (0, 0, before.features)
    kept = judge_words([*words[:-1], write("CNA.CBUF_CON0", DATA_REUSE=1), words[-1]], RK3588)
    assert (kept.features, kept.weights) == (0, before.weights)
    looked_up = judge_words([*words[:-1], write("DPU.EW_CFG", EW_OP_BYPASS=1), words[-1]], RK3588)
    assert looked_up.lookup
    assert not before.lookup
    more = judge_words([*words[:-1], write("CNA.DATA_SIZE3", DATAOUT_ATOMICS=1601), words[-1]], RK3588)
    assert more.multiply == 1616 * 9 * 3 * -(-TaskRegisters(words)["CNA.WEIGHT_SIZE2.WEIGHT_KERNELS"] // 32)


def test_half_precision_takes_twice_the_cycles_and_bytes() -> None:
    words = disassemble(PACKAGED / "edge_conv3x3_u8_ic72.zip").listings[0].words.tolist()
    before = judge_words(words, RK3588)
    half = write("CNA.CONV_CON1", PROC_PRECISION=2, IN_PRECISION=2), write("DPU.DATA_FORMAT", OUT_PRECISION=2)
    after = judge_words([*words[:-1], *half, words[-1]], RK3588)
    pixels = TaskRegisters(words)
    slots = pixels["CNA.FC_DATA_SIZE0.DMA_WIDTH"] * pixels["CNA.FC_DATA_SIZE0.DMA_HEIGHT"]
    assert (before.features, after.features) == (slots * 80, slots * 160), "72 channels are programmed as 80"
    outputs = pixels["DPU.DATA_CUBE_CHANNEL.ORIG_CHANNEL"] + 1
    assert after.stored == 64 * -(-2 * outputs // 16) * 16
    assert after.multiply == 2 * before.multiply, "kernels in groups of 16 instead of 32"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([enable(("CNA", "DPU"))], "starts CNA, DPU cannot be timed"),
        ([write("CNA.CONV_CON1", PROC_PRECISION=6), enable(("CNA", "CORE", "DPU"))], "PROC_PRECISION 6"),
        ([write("DPU.DATA_FORMAT", OUT_PRECISION=7), enable(("CNA", "CORE", "DPU"))], "OUT_PRECISION 7"),
        ([], "no unit"),
    ],
)
def test_what_cannot_be_timed_is_refused(words: list[int], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        judge(TaskRegisters(words), RK3588)


def test_packed_input_is_counted_by_its_channels() -> None:
    geometry = [
        write("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=10),
        write("CNA.DATA_SIZE0", DATAIN_WIDTH=224, DATAIN_HEIGHT=224),
        write("CNA.DATA_SIZE1", DATAIN_CHANNEL=16, DATAIN_CHANNEL_REAL=2),
        write("CNA.DATA_SIZE3", DATAOUT_ATOMICS=112 * 112),
        write("CNA.WEIGHT_SIZE1", WEIGHT_BYTES_PER_KERNEL=144),
        write("CNA.WEIGHT_SIZE2", WEIGHT_WIDTH=3, WEIGHT_HEIGHT=3, WEIGHT_KERNELS=32),
        enable(("CNA", "CORE", "DPU", "DPU_RDMA")),
    ]
    found = judge_words(geometry, RK3588)
    assert found.features == 224 * 224 * 3
    assert cycles(found, NETWORK_FIT).load / 1000 == pytest.approx(13, abs=0.1), "13 us at 1 GHz: 12 bytes a cycle"


def test_every_shared_recording_of_silicon_and_mesa_is_judged(shared: Path) -> None:
    judged = 0
    for path in sorted((shared / "golden").glob("mesa*/*.zip")):
        for listing in disassemble(path).listings:
            found = cycles(judge_words(listing.words.tolist(), RK3588), NETWORK_FIT)
            assert found.total > 0
            judged += 1
    assert judged > 200


def test_cores_share_the_memory() -> None:
    alone = NETWORK_FIT.shared(1, 10**9, 23.65e9)
    three = NETWORK_FIT.shared(3, 10**9, 23.65e9)
    slow = NETWORK_FIT.shared(3, 198 * 10**6, 23.65e9)
    assert (alone.read, alone.write) == (12.0, 6.0)
    assert three.read == pytest.approx(23.65 / 3)
    assert (slow.read, slow.write) == (12.0, 6.0), "at 198 MHz three cores ask for less than the memory gives"
    np.testing.assert_allclose(three.memory * 3 * 1e9, 23.65e9)
