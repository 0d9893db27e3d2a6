"""What programs do that no chip has been seen to do: found where it is, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rocketnpu.cli import main
from rocketnpu.cli.device.selftest import cases
from rocketnpu.rockchip.registers.command import MARKER, enable, write
from rocketnpu.rockchip.risks import RISKS, program_risks, task_risks
from strategies import case

CONVOLUTION, FLYING, POOLING = ("CNA", "CORE", "DPU", "DPU_RDMA"), ("DPU", "DPU_RDMA"), ("PPU", "PPU_RDMA")
PLAIN = {
    "CNA.WEIGHT_SIZE2": {"WEIGHT_HEIGHT": 3, "WEIGHT_WIDTH": 3, "WEIGHT_KERNELS": 32},
    "CNA.DATA_SIZE1": {"DATAIN_CHANNEL": 32, "DATAIN_CHANNEL_REAL": 31},
    "CNA.CBUF_CON1": {"DATA_ENTRIES": 4},
    "DPU.OUT_CVT_SHIFT": {"OUT_CVT_SHIFT": 20},
    "DPU.BN_CFG": {"BN_BYPASS": 1},
    "DPU.EW_CFG": {"EW_BYPASS": 1},
}
DEPTHWISE = {"CNA.CONV_CON1": {"CONV_MODE": 3}}
UNSEEN = {
    "operand-converter": (
        CONVOLUTION,
        {"DPU.EW_CFG": {"EW_LUT_BYPASS": 1}, "DPU.EW_CVT_OFFSET_VALUE": {"EW_OP_CVT_OFFSET": 4}},
    ),
    "low-maps": (CONVOLUTION, {"CNA.DMA_CON2": {"SURF_STRIDE": -34}}),
    "large-kernels": (CONVOLUTION, {"CNA.WEIGHT_SIZE2": {"WEIGHT_HEIGHT": 4, "WEIGHT_WIDTH": 1, "WEIGHT_KERNELS": 2}}),
    "many-channels": (CONVOLUTION, {"CNA.DATA_SIZE1": {"DATAIN_CHANNEL": 1040}}),
    "depthwise-shift": (CONVOLUTION, DEPTHWISE | {"DPU.OUT_CVT_SHIFT": {"OUT_CVT_SHIFT": 23}}),
    "split-additions": (
        CONVOLUTION,
        {"DPU_RDMA.RDMA_FEATURE_MODE_CFG": {"COMB_USE": 5}, "DPU_RDMA.RDMA_SURF_NOTCH": {"SURF_NOTCH_ADDR": 257}},
    ),
    "narrow-depthwise": (CONVOLUTION, DEPTHWISE | {"CNA.CBUF_CON1": {"DATA_ENTRIES": 1}}),
    "unproven-mixtures": (FLYING, {}),
    "wide-pooling": (
        POOLING,
        {"PPU.POOLING_KERNEL_CFG": {"KERNEL_WIDTH": 2}, "PPU.DATA_CUBE_IN_WIDTH": {"CUBE_IN_WIDTH": 34}},
    ),
}


def found(units: tuple[str, ...], fields: dict[str, dict[str, int]]) -> dict[str, str]:
    words = [write(path, **values) for path, values in (PLAIN | fields).items()]
    return dict(task_risks([*words, MARKER, enable(units)]))


def test_what_has_been_seen_is_no_risk() -> None:
    assert found(CONVOLUTION, {}) == {}
    assert found(CONVOLUTION, DEPTHWISE) == {}


@pytest.mark.parametrize("risk", RISKS, ids=lambda risk: risk.name)
def test_each_risk_is_found_alone(risk) -> None:
    units, fields = UNSEEN[risk.name]
    assert set(found(units, fields)) == {risk.name}


def test_programs_name_operators() -> None:
    (plain,) = (one for one in cases() if one.name == "pointwise")
    assert program_risks(plain.program()) == ()


def test_the_verb_lists_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    model = next(one for one in (case("activation", seed) for seed in range(90)) if one.name.startswith("TANH"))
    path.write_bytes(model.model)
    assert main.run(["inspect", "--risks", "-m", str(path)]) == 0
    out = capsys.readouterr().out
    assert "unproven-mixtures" in out
    assert "a flying task" in out
    assert main.run(["inspect", "--risks", "--json", "-m", str(path), "--target", "mainline", "--proven-only"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tasks": 0, "risks": []}
