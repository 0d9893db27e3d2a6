"""``rocketnpu benchmark``: what is measured and counted, and what is said of the machine."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from rocketnpu.cli import main
from rocketnpu.device.machine import Machine
from rocketnpu.estimate.measured import circumstances, clock_mhz, measure
from rocketnpu.family import family_of

SMALL = Path(__file__).resolve().parents[1] / "data" / "golden" / "conv3x3_u8_same_16x16x16_32.tflite"


def test_warming_up_does_not_count() -> None:
    runs = [value for number in range(6) for value in (10.0 * number, 10.0 * number + number + 1)]
    ticks = iter([0.0, 5.0, *runs[:4], 20.0, *runs[4:], 70.0])
    calls: list[int] = []
    found = measure(lambda: lambda: calls.append(1), 2, 4, clock=lambda: next(ticks))
    assert (found.init, found.first, found.runs) == (5000, 1000, (3000, 4000, 5000, 6000))
    assert len(calls) == 6
    assert (found.percentile(50), found.percentile(90), found.percentile(99)) == (4000, 6000, 6000)
    assert found.mean == 4500
    assert (found.elapsed, found.per_second) == (50_000, 4 / 50)


def test_several_are_in_flight_at_once() -> None:
    """None of three ends before the two others have begun."""
    gate = threading.Barrier(3)
    made: list[int] = []

    def run() -> None:
        made.append(len(made))
        if len(made) > 1:
            gate.wait(30)

    assert len(measure(lambda: run, 1, 9, in_flight=3).runs) == 9
    assert len(made) == 10


def test_a_boards_circumstances_are_looked_up(tmp_path: Path) -> None:
    for place, text in {
        "sys/kernel/debug/clk/scmi_clk_npu/clk_rate": "198000000",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "performance",
    }.items():
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text)
    found = circumstances(family_of("rk3588"), "rocket", 3, Machine(tmp_path, "6.18.3"))
    assert (found.driver, found.kernel, found.governor, found.cores) == ("mainline", "6.18.3", "performance", 3)
    assert clock_mhz(found.clock) == 198
    assert clock_mhz(circumstances(family_of("rk3588"), "rknpu", 1, Machine(tmp_path / "x", "6.1")).clock) is None


def test_the_simulator_says_that_the_time_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", "--graph", str(SMALL), "--num_runs", "3", "--warmup_runs", "1", "-d", "simulator"]
    assert main.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "these times are the simulator's" in printed
    assert "estimated for rk3588, mainline kernel, 198 MHz" in printed
    assert main.run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 3
    assert found["milliseconds"]["fastest"] == min(found["runs"])
    low, high = found["estimated_range_ms"]
    assert low < found["estimated_ms"] < high
    assert found["circumstances"]["device"] == "simulator"
    assert main.run([*arguments, "--cores", "2", "--in_flight", "4", "--num_runs", "8"]) == 0
    assert "inferences a second, 4 at a time" in capsys.readouterr().out
