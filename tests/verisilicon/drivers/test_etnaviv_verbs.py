"""The commands on an emulated board with each chip: they speak of its device, its chip and nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rocketnpu.verisilicon.soc import SOCS

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
MODEL = GOLDEN / "conv3x3_u8_same_16x16x16_32.tflite"
ROCKETNPU = [sys.executable, "-m", "rocketnpu.cli.main"]


def on_board(chip: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands as a program that meets the chip's emulated node."""
    return subprocess.run(
        [*ROCKETNPU, "emulate", "--chip", chip, "--", *ROCKETNPU, *arguments],
        env={**os.environ, "ROCKETNPU_CONFIG": str(folder), "ROCKETNPU_CACHE": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def answer(chip: str, folder: Path, *arguments: str) -> Any:
    done = on_board(chip, folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
def test_the_selftest_and_the_doctor(tmp_path, chip):
    told = answer(chip, tmp_path, "selftest")
    assert (told["device"], told["equal"], len(told["cases"])) == ("etnaviv", True, 6)
    facts = {fact["name"]: fact for fact in told["machine"]}
    assert facts["node"]["found"] == "/dev/dri/renderD128, driver etnaviv (an emulated node)"


@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
def test_a_benchmark_is_of_the_chip_that_is_there(tmp_path, chip):
    """No other chip's estimate stands beside it, and no other chip's rates are replaced."""
    command = ["benchmark", "--graph", str(MODEL), "--num_runs", "2", "--warmup_runs", "1"]
    told = answer(chip, tmp_path, *command)
    assert (told["circumstances"]["device"], told["circumstances"]["driver"]) == ("etnaviv", "mainline")
    assert told["estimated_ms"] is None
    kept = on_board(chip, tmp_path, *command, "--keep-rates")
    assert kept.returncode == 2
    assert not list(tmp_path.glob("rates*"))


def test_cores_that_the_chip_does_not_have(tmp_path):
    done = on_board("imx8mp", tmp_path, "benchmark", "--graph", str(MODEL), "-d", "etnaviv", "--cores", "2")
    assert done.returncode == 2
    assert "2 cores were asked for, the imx8mp has 1..1" in done.stderr
    assert SOCS["imx8mp"].cores == 6, "its cores work on one job together"
