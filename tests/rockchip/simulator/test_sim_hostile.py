"""Whatever a command stream holds, the simulator either runs it or says why not."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_model import Window
from sim_streams import (
    BIAS,
    COMMANDS,
    CONVOLUTION,
    FEATURES,
    FLYING,
    OPERAND,
    OUTPUT,
    POOLING,
    WEIGHTS,
    convolution,
    flying_pair,
    pooling,
)

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import MARKER, enable, pack
from rocketnpu.rockchip.registers.rk3588 import BY_NAME
from rocketnpu.rockchip.simulator import Memory, Npu

SIZE = 1 << 14
UNITS = (CONVOLUTION, ("CNA", "CORE", "DPU"), FLYING, POOLING)
CORNERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def execute(words, strict):
    memory = Memory()
    random = np.random.default_rng(0)
    for address in (FEATURES, WEIGHTS, OUTPUT, BIAS, OPERAND):
        memory.map(address, random.integers(0, 256, SIZE, dtype=np.uint8))
    memory.map(COMMANDS, np.array(words, "<u8").view(np.uint8))
    with contextlib.suppress(SimulationError):
        Npu(memory, strict=strict).run_task(COMMANDS, len(words), task=0)


def is_a_register(unit, offset):
    return offset - BY_NAME[unit].base >= 0xC


REGISTERS = [
    (name, register.offset)
    for name in {name for group in UNITS for name in group}
    for register in BY_NAME[name].by_offset.values()
    if is_a_register(name, register.offset)
]
VALUES = st.one_of(st.sampled_from(CORNERS), st.integers(0, 0xFFFFFFFF), st.sampled_from((FEATURES, OUTPUT, WEIGHTS)))
relaxed = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=40), st.booleans())
@relaxed
def test_random_words(words, strict):
    execute(words, strict)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(REGISTERS)), VALUES), max_size=60), st.sampled_from(UNITS), st.booleans()
)
@relaxed
def test_random_values_in_real_registers(writes, units, strict):
    words = [pack(BY_NAME[unit].target, offset, value) for (unit, offset), value in writes]
    execute([*words, MARKER, enable(units)], strict)


def valid(kind):
    if kind == "convolution":
        return convolution(8, 8, 48, 40, Window(before=(1, 1), out=(8, 8)), (3, 3), out_scale=(20000, 22))
    if kind == "depthwise":
        return convolution(
            8, 8, 48, 48, Window(before=(1, 1), out=(8, 8)), (3, 3), depthwise=True, out_scale=(20000, 20)
        )
    if kind == "flying":
        return flying_pair(6, 6, 48, EW_ALU_ALGO=2)
    return pooling((8, 8, 32), (2, 2), (2, 2))[0]


@pytest.mark.parametrize("kind", ["convolution", "depthwise", "flying", "pooling"])
@given(data=st.data(), strict=st.booleans())
@relaxed
def test_a_valid_task_with_some_fields_replaced(kind, data, strict):
    """One to four registers changed, bit by bit or whole: far more of the machine is reached than with random lists."""
    words = valid(kind).words().tolist()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 4))
        value = words[place] >> 16 & 0xFFFFFFFF
        value = data.draw(st.one_of(VALUES, st.integers(0, 31).map(lambda bit, old=value: old ^ 1 << bit)))
        words[place] = pack(words[place] >> 48, words[place] & 0xFFFF, value)
    execute(words, strict)


@given(st.sampled_from(["convolution", "flying", "pooling"]), st.data())
@relaxed
def test_lists_with_bits_flipped(kind, data):
    words = valid(kind).words().tolist()
    for _ in range(data.draw(st.integers(1, 6))):
        words[data.draw(st.integers(0, len(words) - 1))] ^= 1 << data.draw(st.integers(0, 63))
    execute(words, strict=False)


def test_the_valid_tasks_are_valid():
    """Otherwise the tests above would only ever see the first check."""
    for kind in ("convolution", "depthwise", "flying", "pooling"):
        words = valid(kind).words()
        memory = Memory()
        for address in (FEATURES, WEIGHTS, OUTPUT, BIAS, OPERAND):
            memory.map(address, np.zeros(SIZE * 2, np.uint8))
        memory.map(COMMANDS, words.view(np.uint8))
        assert Npu(memory).run_task(COMMANDS, words.size).defects == ()
