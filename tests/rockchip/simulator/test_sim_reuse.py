"""What stays in the convolution buffer from one task to the next: same job, next task, same bank split."""

from __future__ import annotations

import numpy as np
import pytest
from sim_model import Window, pack_regular, to_slots
from sim_streams import BIAS, FEATURES, OUTPUT, WEIGHTS, convolution, flying

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.simulator import Memory, Npu

BITS = ("WEIGHT_REUSE", "DATA_REUSE")
LIST = 0x900000


def stream(data: int = 6, weight: int = 6, **bits: int):
    made = convolution(8, 8, 32, 32, Window(before=(1, 1), out=(8, 8)), (3, 3), out_scale=(20000, 22))
    return made.set("CNA.CBUF_CON0", DATA_BANK=data, WEIGHT_BANK=weight, **bits)


class Core:
    def __init__(self, strict: bool) -> None:
        random = np.random.default_rng(1)
        self.memory = {
            FEATURES: to_slots(random.integers(-128, 128, (8, 8, 32), dtype=np.int8)),
            WEIGHTS: pack_regular(random.integers(-128, 128, (32, 3, 3, 32), dtype=np.int8)),
            BIAS: np.zeros(128, np.uint8),
            OUTPUT: np.zeros(64 * 64, np.uint8),
        }
        mapped = Memory()
        for address, content in self.memory.items():
            mapped.map(address, content)
        self.npu, self.mapped, self.lists = Npu(mapped, strict=strict), mapped, 0

    def run(self, made):
        words = made.words()
        address = LIST + 0x10000 * self.lists
        self.lists += 1
        self.mapped.map(address, words.view(np.uint8))
        return self.npu.run_task(address, words.size)


@pytest.mark.parametrize("bit", BITS)
def test_the_next_task_with_the_same_split_may_reuse(bit: str) -> None:
    core = Core(strict=True)
    core.run(stream())
    expected = core.memory[OUTPUT].copy()
    core.memory[OUTPUT][:] = 0
    core.memory[WEIGHTS if bit == "WEIGHT_REUSE" else FEATURES][:] = 0
    assert core.run(stream(**{bit: 1})).defects == ()
    assert np.array_equal(core.memory[OUTPUT], expected)


@pytest.mark.parametrize("bit", BITS)
@pytest.mark.parametrize("split", [(5, 6), (6, 5), (3, 9)])
def test_another_split_is_refused(bit: str, split: tuple[int, int]) -> None:
    core = Core(strict=True)
    core.run(stream())
    with pytest.raises(SimulationError, match=rf"{bit} is set with {split[0]} \+ {split[1]} banks.* had 6 \+ 6"):
        core.run(stream(*split, **{bit: 1}))


@pytest.mark.parametrize("bit", BITS)
def test_otherwise_it_is_a_defect(bit: str) -> None:
    core = Core(strict=False)
    core.run(stream())
    expected = core.memory[OUTPUT].copy()
    report = core.run(stream(5, 7, **{bit: 1}))
    assert [f"{bit} is set with 5 + 7 banks" in defect for defect in report.defects] == [True]
    assert not np.array_equal(core.memory[OUTPUT], expected)


@pytest.mark.parametrize("bit", BITS)
def test_another_kind_of_task_between_ends_reuse(bit: str) -> None:
    core = Core(strict=True)
    core.run(stream())
    between = flying(8, 8, 32)
    core.run(between)
    with pytest.raises(SimulationError, match=f"{bit} is set, but no earlier task"):
        core.run(stream(**{bit: 1}))


def narrower(columns: int, channels: int, kernel: int):
    made = convolution(8, columns, channels, 32, Window(before=(kernel // 2,) * 2, out=(8, columns)), (kernel, kernel))
    return made.set("CNA.CBUF_CON0", DATA_BANK=6, WEIGHT_BANK=6)


@pytest.mark.parametrize("bit", BITS)
@pytest.mark.parametrize("first", [(8, 16, 3), (4, 32, 3), (8, 32, 1)], ids=["channels", "columns", "kernel"])
@pytest.mark.parametrize("larger", [False, True])
def test_what_is_left_must_have_the_shape_that_is_wanted(bit: str, first: tuple[int, int, int], larger: bool) -> None:
    """Features of fewer or more columns or channels, weights of a smaller or larger kernel."""
    if (bit, first) == ("DATA_REUSE", (8, 32, 1)) or (bit, first) == ("WEIGHT_REUSE", (4, 32, 3)):
        return  # the other half of the buffer
    before, after = (first, (8, 32, 3)) if not larger else ((8, 32, 3), first)
    core = Core(strict=True)
    core.run(narrower(*before))
    with pytest.raises(SimulationError, match=f"{bit} is set, but no earlier task left"):
        core.run(narrower(*after).set("CNA.CBUF_CON0", **{bit: 1}))


def test_weights_that_fill_their_banks_stay() -> None:
    """32 kernels of 1024 bytes are one bank; with two more they are streamed through it."""
    for kernels, stays in ((32, True), (34, False)):
        core = Core(strict=True)
        core.memory[WEIGHTS][:] = 0
        made = convolution(1, 1, 1024, kernels, Window(out=(1, 1)))
        made.set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
        for address, size in ((WEIGHTS, 1024 * kernels), (BIAS, 4 * kernels), (FEATURES, 1024), (OUTPUT, 64)):
            core.mapped.unmap(address)
            core.mapped.map(address, np.zeros(size, np.uint8))
        core.run(made)
        again = made.set("CNA.CBUF_CON0", WEIGHT_REUSE=1)
        if stays:
            assert core.run(again).defects == ()
            continue
        with pytest.raises(SimulationError, match="the weights exceed their banks and were streamed"):
            core.run(again)


def packed_stream(channels: int):
    made = convolution(8, 8, 16, 32, Window(out=(8, 8))).set("CNA.CBUF_CON0", DATA_BANK=6, WEIGHT_BANK=6)
    if channels:
        made.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=7 + channels)
        made.set("CNA.CBUF_CON1", DATA_ENTRIES=64).set("CNA.DMA_CON1", LINE_STRIDE=8)
    return made


@pytest.mark.parametrize(("before", "after"), [(3, 4), (4, 3), (0, 4), (4, 0)])
def test_packed_pixels_are_no_slots(before: int, after: int) -> None:
    core = Core(strict=True)
    core.run(packed_stream(before))
    with pytest.raises(SimulationError, match="DATA_REUSE is set, but no earlier task left features of this shape"):
        core.run(packed_stream(after).set("CNA.CBUF_CON0", DATA_REUSE=1))
    core.run(packed_stream(before))
    assert core.run(packed_stream(before).set("CNA.CBUF_CON0", DATA_REUSE=1)).defects == ()
