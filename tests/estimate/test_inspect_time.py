"""``inspect`` says how long operators take, and why they are cut as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rocketnpu.cli import main
from rocketnpu.estimate.estimate import Conditions
from rocketnpu.estimate.sources import estimate_plan
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"


@pytest.mark.parametrize("target", ["mainline", "vendor"])
def test_the_time_column_is_the_estimate(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / "conv3x3_u8_same_16x16x16_32.tflite"
    assert main.run(["inspect", "-m", str(path), "--target", target, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["operators"]
    policy = Policy("vendor" if target == "vendor" else "mainline")
    found = estimate_plan(plan(tflite.load(path), policy), Conditions(policy.target))
    starts = sum(task.start_us for task in found.tasks) - (2.0 if target == "vendor" else 0.0)  # a layer's first task
    assert row["us"] == pytest.approx(found.npu_us + starts)


def test_why_names_what_was_not_taken(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    model = shared / "golden" / "mesa" / "conv3x3_u8_56x56x128_256_split.tflite"
    assert main.run(["inspect", "-m", str(model), "--why", "0"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "cycles" in line]
    assert not lines[0].lstrip().startswith("instead of")
    assert sum("instead of" in line for line in lines) >= 2
    cycles = [int(line.rsplit(":", 1)[1].split()[0].replace(",", "")) for line in lines[: len(lines) // 2]]
    assert cycles == sorted(cycles)
