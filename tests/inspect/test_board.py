"""Where the simulator runs other programs than a board would: that is said, and the board's can be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rocketnpu
from rocketnpu.cli import main
from rocketnpu.delegate.options import parse
from rocketnpu.delegate.session import policy_for
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.standing import policy_of
from rocketnpu.errors import InputError
from rocketnpu.inspect.board import board_remark
from rocketnpu.policy import Policy
from strategies import case


def dilated():
    """A convolution with a dilation, which boards do with a larger kernel."""
    return next(
        found
        for found in (case("conv", seed) for seed in range(200))
        if found.graph.operators[0].attributes.dilation != (1, 1)
    )


def test_a_remark_where_programs_differ() -> None:
    found = board_remark(dilated().graph, Policy())
    assert "does the same operators in other ways" in found
    assert "dilation" in found
    assert board_remark(dilated().graph, Policy("mainline", allow_unproven=False)) == ""
    table = next(one for one in (case("activation", seed) for seed in range(90)) if one.name.startswith("TANH"))
    assert "leaves 1 of these operators to the CPU" in board_remark(table.graph, Policy())


def test_no_remark_where_they_are_the_same() -> None:
    plain = next(one for one in (case("fully_connected", seed) for seed in range(40)) if not _rules(one))
    assert board_remark(plain.graph, Policy()) == ""


def _rules(found) -> tuple[str, ...]:
    divided = rocketnpu.plan(found.graph, Policy())
    return tuple(rule for part in divided.parts for rule in rocketnpu.compile(part, divided.policy).rules)


@pytest.mark.parametrize("target", ["mainline", "vendor"])
def test_compare_runs_a_boards_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    path = tmp_path / "dilated.tflite"
    path.write_bytes(dilated().model)
    assert main.run(["compare", "-m", str(path)]) == 0
    assert "--target mainline runs the board's programs" in capsys.readouterr().out
    assert main.run(["compare", "-m", str(path), "--target", target, "--json"]) == 0
    assert "board" not in json.loads(capsys.readouterr().out)["remark"]


def test_the_simulator_can_follow_a_boards_rules() -> None:
    with SimulatorDevice() as device:
        assert policy_of(device) == Policy()
        assert policy_of(device, target="vendor") == Policy("vendor", allow_unproven=False)
        for text, target in (("auto", "simulator"), ("mainline", "mainline"), ("vendor", "vendor")):
            assert policy_for(device, parse({"target": text}, {})).target == target
    with pytest.raises(InputError, match="valid values are auto, mainline, vendor"):
        parse({"target": "etnaviv"}, {})


def test_the_selftests_networks_run_for_either_driver(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["selftest", "-d", "simulator", "--target", "vendor"]) == 0
    assert "6 of 6 networks" in capsys.readouterr().out
