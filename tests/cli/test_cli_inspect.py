"""``rocketnpu inspect``: a screen, not a scroll; all of one operator; placeholders and other shapes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli.main import run
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution and two SOFTMAX."""
    builder = ModelBuilder()
    x, y, z, last = (builder.tensor((1, 8, 8, 16), DType.INT8, scale=0.1, name=f"t{n}") for n in range(4))
    weights = builder.tensor((16, 1, 1, 16), DType.INT8, scale=0.05, data=np.ones((16, 1, 1, 16), np.int8))
    bias = builder.tensor((16,), DType.INT32, scale=0.005, data=np.zeros(16, np.int32))
    builder.operator("CONV_2D", [x, weights, bias], [y], ops.Conv2D((1, 1), Padding.SAME))
    builder.operator("SOFTMAX", [y], [z], ops.Softmax())
    builder.operator("SOFTMAX", [z], [last], ops.Softmax())
    path = tmp_path / "model.tflite"
    path.write_bytes(builder.build([x], [last]))
    return path


def test_a_rule_stands_once_with_the_rows_that_failed_it(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "-m", str(model)]) == 0
    text = capsys.readouterr().out
    assert text.count("the NPU has no SOFTMAX") == 1
    assert "1, 2: the NPU has no SOFTMAX" in text
    assert max(map(len, text.splitlines())) <= 120


def test_why_says_all_about_one_operator(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "-m", str(model), "--why", "1"]) == 0
    text = capsys.readouterr().out
    for words in (
        "operator 1: SOFTMAX",
        "input: t1 int8 1x8x8x16",
        "all rules, simulator: CPU: the NPU has no SOFTMAX",
    ):
        assert words in text
    assert run(["inspect", "-m", str(model), "--why", "9"]) == 2
    assert "has no operator 9; there are 3" in capsys.readouterr().err


def test_other_shapes_of_inputs(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "-m", str(model), "--json", "--input", "t0=1x4x2x16"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["operators"][0]["output_shape"] == [1, 4, 2, 16]
    assert document["operators"][0]["macs"] == 8 * 16 * 16
    assert run(["inspect", "-m", str(model), "--input", "nobody=1x4x2x16"]) == 2
    assert "has no input 'nobody'; its inputs are t0" in capsys.readouterr().err
    assert run(["inspect", "-m", str(model), "--input", "t0=4x2"]) == 2
    assert "has 4 dimensions, 2 are given" in capsys.readouterr().err


def test_every_subgraph_is_shown(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared / "field" / "models" / "multisig.tflite"
    assert run(["inspect", "-m", str(path)]) == 0
    text = capsys.readouterr().out
    assert "subgraph 1, signature seg" in text
    assert text.count("CONV_2D") == 2


def test_placeholders_are_said(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared / "field" / "models" / "fcn.tflite"
    assert run(["inspect", "-m", str(path)]) == 0
    assert "are placeholders" in capsys.readouterr().out
    assert run(["inspect", "-m", str(path), "--input", "keras_tensor=1x160x160x3"]) == 0
    assert "are placeholders" not in capsys.readouterr().out
