"""Rates of the processor and the NPU: published, or kept by a benchmark on a board, and used by whoever weighs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli import main
from rocketnpu.delegate.options import parse
from rocketnpu.delegate.session import policy_for
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import InputError
from rocketnpu.estimate import measured
from rocketnpu.estimate.measured import Circumstances
from rocketnpu.estimate.price import processor_us
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.partition.rates import PUBLISHED, Rates, keep, local_rates, path_of, updated
from rocketnpu.policy import Policy

BOARD = Circumstances("rocket", "mainline", "6.18.3", "198 MHz of at most 1000", "performance", 1)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKETNPU_CONFIG", str(tmp_path / "config"))


def network(kind: DType = DType.INT8) -> bytes:
    """Build a RELU and a convolution of 19 M multiply-accumulates."""
    builder = ModelBuilder()
    zero = 0 if kind is DType.INT8 else 128
    maps = [builder.tensor((1, 32, 32, 32), kind, scale=0.1, zero_point=zero) for _ in range(3)]
    maps.append(builder.tensor((1, 32, 32, 64), kind, scale=0.1, zero_point=zero))
    weights = builder.tensor((64, 3, 3, 32), kind, scale=0.05, zero_point=zero, data=np.full((64, 3, 3, 32), zero + 1))
    bias = builder.tensor((64,), DType.INT32, scale=0.005, data=np.zeros(64, np.int32))
    builder.operator("RELU", [maps[0]], [maps[1]])
    builder.operator("CONV_2D", [maps[1], weights, bias], [maps[3]], ops.Conv2D((1, 1), Padding.SAME))
    return builder.build([maps[0]], [maps[3]])


def test_rates_are_the_published_ones_until_some_are_kept() -> None:
    assert local_rates("rk3588") == PUBLISHED
    assert "published boards" in str(PUBLISHED)
    found = updated(PUBLISHED, unsigned=False, processor=5e3, npu=1.5, measured="a model, today")
    path = keep("rk3588", found)
    assert path == path_of("rk3588")
    assert local_rates("rk3588") == found
    assert (found.signed, found.unsigned, found.npu) == (5e3, PUBLISHED.unsigned, 1.5)
    assert "kept on this board (a model, today)" in str(found)
    assert local_rates("rk3576") == PUBLISHED
    assert updated(found, unsigned=True, processor=1e3, npu=2.0, measured="x").signed == 5e3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        *(
            json.dumps({"format": 1, "chip": "rk3588", "signed": 1, "unsigned": 1, "npu": 1, "measured": "x"} | wrong)
            for wrong in (
                *({"signed": 0}, {"npu": float("nan")}, {"unsigned": "1"}, {"chip": "rk3576"}, {"measured": ""}),
                {"measured": "\x1b[2J"},
            )
        ),
    ],
)
def test_a_damaged_file_is_refused_in_a_line_and_no_host_minds(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = keep("rk3588", Rates(measured="x"))
    path.write_text(text)
    with pytest.raises(InputError, match="is no file of rates") as caught:
        local_rates("rk3588")
    assert "\n" not in str(caught.value)
    with SimulatorDevice() as device:
        assert policy_for(device, parse({})).rates == PUBLISHED
    assert "is no file of rates" in capfd.readouterr().err


def test_figures_that_no_board_has_are_not_kept() -> None:
    for processor, npu in ((0.0, 1.0), (float("inf"), 1.0), (1.0, float("nan")), (1.0, -1.0)):
        with pytest.raises(InputError, match="no rates"):
            updated(PUBLISHED, unsigned=False, processor=processor, npu=npu, measured="x")


def test_kept_rates_decide() -> None:
    graph = tflite.parse(network())
    policy = Policy("mainline", allow_unproven=False, weighs=True)
    slow = replace(PUBLISHED, signed=1.0, measured="x")
    assert processor_us(graph, graph.operators, slow) > processor_us(graph, graph.operators)
    (cost,), (dear,) = (plan(graph, replace(policy, rates=rates)).prices for rates in (PUBLISHED, slow))
    assert cost is not None
    assert dear is not None
    assert dear.cpu_us > cost.cpu_us
    (double,) = plan(graph, replace(policy, rates=replace(PUBLISHED, npu=2.0, measured="x"))).prices
    assert double is not None
    assert double.npu_us == pytest.approx(2 * cost.npu_us)
    assert double.cut_us == pytest.approx(2 * cost.cut_us)


@pytest.mark.parametrize("kind", [DType.INT8, DType.UINT8])
def test_a_benchmark_on_a_board_keeps_rates_that_reports_name(
    kind: DType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(network(kind))
    arguments = ["benchmark", "-m", str(model), "-d", "simulator", "--num_runs", "2", "--warmup_runs", "1"]
    assert main.run([*arguments, "--keep-rates"]) == 2
    assert "the simulator's times are no board's" in capsys.readouterr().err
    assert not path_of("rk3588").exists()
    monkeypatch.setattr(measured, "circumstances", lambda *_: BOARD)
    assert main.run([*arguments, "--keep-rates", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["rates"]
    found = local_rates("rk3588")
    assert printed == {
        "signed": found.signed,
        "unsigned": found.unsigned,
        "npu": found.npu,
        "measured": found.measured,
    }
    changed, same = (found.signed, found.unsigned) if kind is DType.INT8 else (found.unsigned, found.signed)
    assert same == (PUBLISHED.unsigned if kind is DType.INT8 else PUBLISHED.signed)
    assert changed not in (PUBLISHED.signed, PUBLISHED.unsigned)
    assert "net.tflite on rocket, 198 MHz" in found.measured
    assert main.run(["inspect", "-m", str(model), "--target", "mainline"]) == 0
    assert "rates kept on this board" in " ".join(capsys.readouterr().out.split())
    assert main.run(["estimate", "-m", str(model)]) == 0
    assert "a rate kept on this board" in " ".join(capsys.readouterr().out.split())
    assert main.run([*arguments, "--keep-rates", "--in_flight", "2"]) == 2
    assert "one inference at a time" in capsys.readouterr().err


def test_small_networks_tell_no_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measured, "circumstances", lambda *_: BOARD)
    small = Path(__file__).resolve().parents[1] / "data" / "golden" / "conv3x3_u8_same_16x16x16_32.tflite"
    arguments = ["benchmark", "-m", str(small), "-d", "simulator", "--num_runs", "1", "--warmup_runs", "1"]
    assert main.run([*arguments, "--keep-rates"]) == 2
    assert "are too few" in capsys.readouterr().err
