"""Networks on the unmodified rocket driver: Debian's kernel and userland in QEMU, our simulator as the NPU.

Heavy: it fetches packages, builds two kernel modules and boots a virtual board, so it runs with ROCKETNPU_TEST_HEAVY=1
only. A machine that cannot make the board skips it and says why. What is made lies in the user's cache (about 220 MB).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from board_run import GUEST, HENS, INTEROP, MESA_MODEL, MESA_SIZE, MODELS, Run, heavy, picture

sys.path.insert(0, str(INTEROP))

import test_mesa
from test_mesa import Userland, infer

arm64 = test_mesa.userland
"""The userland for qemu's user emulation: a fixture."""
pytestmark = heavy
CASES = ("classify", "inprocess", "library", "mesa")
CPU_STEPS = {"tf2_mobilenet_v2_1.0_224_ptq": 1}
"""How far outputs may lie apart where the last operator is LiteRT's int8 SOFTMAX, whose tables are made in floating
point: on two kinds of processor one of 1,001 bytes differs by a step, though all that the NPU gives is equal."""


@pytest.fixture(scope="session")
def reference(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models' outputs on this machine, through the emulated node, which has the board's policy."""
    folder = tmp_path_factory.mktemp("reference")
    for mode in ("whole", "layers"):
        (folder / mode).mkdir()
        infer = [sys.executable, str(GUEST / "infer.py"), "inprocess", mode, str(HENS), str(folder / mode)]
        command = [sys.executable, "-m", "rocketnpu", "emulate", "--", *infer, *map(str, models.values())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_a_hen_is_seen(counted: Run) -> None:
    output = counted.check("classify")
    assert re.match(r"0\.\d+: hen\n", output)
    assert "device: rocket" in output


def parts(output: str, model: str) -> int:
    found = re.search(rf"^{re.escape(model)}: (\d+) parts", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1])


@pytest.mark.parametrize("model", MODELS)
def test_a_models_output_in_process_is_that_of_this_machine(counted: Run, reference: Path, model: str) -> None:
    assert parts(counted.check("inprocess"), model) > 0
    places = (counted.outcome.folder / "inprocess", reference / "whole")
    got, wanted = (np.fromfile(place / f"{model}.bin", np.uint8).astype(int) for place in places)
    assert got.size == wanted.size > 0
    assert np.abs(got - wanted).max() <= CPU_STEPS.get(model, 0)


@pytest.mark.parametrize("model", MODELS)
def test_every_layers_bytes_by_the_library_are_those_of_this_machine(counted: Run, reference: Path, model: str) -> None:
    assert parts(counted.check("library"), model) > 10
    places = (counted.outcome.folder / "library", reference / "layers")
    got, wanted = ((place / f"{model}.npu").read_bytes() for place in places)
    assert len(got) == len(wanted) > 100_000
    assert got == wanted


def test_stock_mesas_bytes_are_those_on_the_emulated_node(
    counted: Run, models: dict[str, Path], arm64: Userland, tmp_path: Path
) -> None:
    output = counted.check("mesa")
    assert re.search(r"delegated partitions: [1-9]", output), output
    got = np.fromfile(counted.outcome.folder / "mesa" / f"{MESA_MODEL}.bin", np.uint8)
    wanted, recorder = infer(arm64, models[MESA_MODEL], picture(MESA_SIZE), tmp_path)
    assert len(recorder.jobs) > 0
    assert np.array_equal(got, wanted)


def test_no_task_would_be_wrong_on_silicon(counted: Run) -> None:
    assert counted.outcome.status == 0
    assert {verdict.outcome for verdict in counted.verdicts} == {"done"}
    assert not [verdict for verdict in counted.verdicts if verdict.defects]
