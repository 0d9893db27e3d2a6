"""Without LiteRT: models are read, compiled and run on the device; what needs a host or a reference says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rocketnpu.cli.device.selftest import cases
from rocketnpu.errors import UnsupportedError
from rocketnpu.inference import Inference
from rocketnpu.litert import require_litert

WITHOUT = "import sys; sys.modules[{name!r}] = None; from rocketnpu.cli.main import main; main()"
"""A None among the modules is what Python itself puts there to say that an import fails."""


def command(*arguments: str, missing: str = "ai_edge_litert") -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(name=missing)
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("litert") / "chain.tflite"
    path.write_bytes(cases()[-1].model)
    return str(path)


def test_a_model_is_inspected(model: str) -> None:
    done = command("inspect", "-m", model)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 of 4 operators on the NPU in 1 part" in done.stdout


def test_a_model_is_compiled(model: str, tmp_path: Path) -> None:
    target = tmp_path / "chain.rktprog"
    done = command("compile", "-m", model, "-o", str(target))
    assert (done.returncode, target.exists()) == (0, True), done.stderr


def test_the_device_is_tested() -> None:
    done = command("selftest", "--device", "simulator")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 networks" in done.stdout


@pytest.mark.parametrize("missing", ["ai_edge_litert", "ai_edge_litert.interpreter"])
def test_a_comparison_says_what_is_missing(missing: str, model: str) -> None:
    done = command("compare", "-m", model, missing=missing)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "rocketnpu: LiteRT " in done.stderr
    assert "pip install ai-edge-litert" in done.stderr


def test_an_inference_says_what_is_missing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)
    with pytest.raises(UnsupportedError, match=r"LiteRT is not installed.*pip install ai-edge-litert"):
        Inference(model, device="simulator")


def test_it_is_found_where_it_is() -> None:
    assert callable(require_litert().Interpreter)
