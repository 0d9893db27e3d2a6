"""Whole networks on the simulated chips, through the doors that everybody uses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import vsi_recordings as recorded

from materials import find_shared
from rocketnpu.cli.main import run

SHARED = find_shared()
HENS = recorded.CHECKOUT / "examples" / "hens.jpg"
needs_models = pytest.mark.skipif(SHARED is None, reason="the shared models are not here")


def model(name):
    assert SHARED is not None
    return str(SHARED / "models" / f"{name}.tflite")


@needs_models
@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_the_hens_are_seen(chip, capsys):
    command = ["classify", "-i", str(HENS), "-m", model("mobilenet_v1_1.0_224_quant"), "--chip", chip, "--json"]
    assert run([*command, "--device", "simulator"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "hen" in json.dumps(found)
    assert found["results"][0]["label"] == "hen"
    assert found["results"][0]["score"] > 0.9


@needs_models
@pytest.mark.parametrize("chip", recorded.CHIPS)
@pytest.mark.parametrize(
    ("name", "operators"),
    [("mobilenet_v1_0.25_128_quant", 30), ("resnet8_cifar10_int8", 15)],
    ids=["uint8", "channels"],
)
def test_networks_keep_their_bounds_in_one_part(chip, name, operators, capsys):
    assert run(["compare", "-m", model(name), "--chip", chip, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sound"]
    npu = [row for row in found["operators"] if row["where"] in ("npu", "view")]
    assert len(npu) == operators
    assert all(row["equals integer model"] for row in npu if row["where"] == "npu")
    assert run(["inspect", "-m", model(name), "--chip", chip, "--json"]) == 0
    where = {row["where"] for row in json.loads(capsys.readouterr().out)["operators"]}
    assert where == {"npu 0", "cpu"}
