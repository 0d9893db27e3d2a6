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
