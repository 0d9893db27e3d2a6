"""Programs and recordings, task by task: their registers judged under a board's conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rocketnpu.estimate.estimate import Board, Conditions, Spread, TimedTask
from rocketnpu.program.program import Program
from rocketnpu.rockchip.registers.command import from_bytes
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.timing.judge import judge_words
from rocketnpu.rockchip.timing.setting import Setting, setting
from rocketnpu.rockchip.timing.work import Work

NETWORK_SPREAD = Spread(0.90, 1.16, "six networks, each left out of the fit (benchmarks/fit_timing.py)")
"""How far whole networks are off."""
LAYER_SPREAD = Spread(0.93, 1.21, "502 layers of shapes that were not fitted (benchmarks/fit_timing.py)")
"""How far single layers are off."""
MACS_PER_CYCLE = 1024
"""Int8 multiply-accumulates of one core in a cycle (TRM: 32 x 32)."""


def board_setting(conditions: Conditions) -> Setting:
    """Fill the gaps of what is known of a board."""
    found = setting(conditions.driver, conditions.clock_mhz, conditions.cores)
    if conditions.start_us is not None:
        found = replace(found, start_us=conditions.start_us, layer_us=0.0)
    return found


def board(conditions: Conditions) -> Board:
    """Describe a board for people."""
    found = board_setting(conditions)
    rates = found.shared_rates
    start = "started by an interrupt each" if found.driver == "mainline" else "chained by hardware"
    return Board(
        found.driver,
        found.clock_hz / 1e6,
        found.cores,
        found.host_us,
        f"tasks {start}, {found.start_us:g} us; {found.host_us / 1e3:g} ms on the host",
        MACS_PER_CYCLE * found.clock_hz,
        rates.read * found.clock_hz,
    )


def program_tasks(program: Program, conditions: Conditions, soc: Soc) -> tuple[TimedTask, ...]:
    """Time each task of a program.

    Raises:
        CommandError: a task cannot be judged.
    """
    words = from_bytes(program.buffers[program.commands].data).tolist()
    lists = [
        (task.operator, task.label, words[task.offset // 8 : task.offset // 8 + task.words]) for task in program.tasks
    ]
    return timed_lists(lists, board_setting(conditions), soc)


def timed_lists(
    lists: Sequence[tuple[int | None, str, Iterable[int]]], conditions: Setting, soc: Soc
) -> tuple[TimedTask, ...]:
    """Time command lists, each given with its operator and what it is, in the order in which they run."""
    found = []
    previous: int | None = -1
    for operator, label, words in lists:
        start = conditions.start_us + (conditions.layer_us if operator != previous else 0.0)
        found.append(_task(operator, label, judge_words(words, soc), start, conditions))
        previous = operator
    return tuple(found)


def _task(operator: int | None, label: str, work: Work, start_us: float, conditions: Setting) -> TimedTask:
    found = conditions.cycles(work)
    parts = {"load": found.load, **found.overlapped}
    return TimedTask(
        operator,
        label,
        {name: conditions.us(value) for name, value in parts.items()},
        conditions.us(found.total),
        start_us,
        conditions.us(found.hidden_load),
        found.bound_by,
        work.read,
        work.stored,
        work.multiply * MACS_PER_CYCLE,
    )
