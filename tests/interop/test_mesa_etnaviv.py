"""Stock Mesa drives the emulated etnaviv node of two chips: Debian's arm64 delegate under qemu, our kernel and NPU.

Heavy and set up as ``test_mesa.py``: with ROCKETNPU_TEST_HEAVY=1 only, and where packages cannot be had, it says so.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_mesa import Userland, picture, pytestmark, userland  # noqa: F401 - a fixture and a mark

from rocketnpu.emulator import DrmFile, EmulatedNode, QueuedJob, driver_of
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite

HERE = Path(__file__).parent


class Watcher:
    """Counts what the node did."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.lines: list[str] = []

    def observe(self, _file: DrmFile, job: QueuedJob) -> None:
        self.jobs.append(job.error)


def infer(userland: Userland, chip: str, model: Path, image: np.ndarray, folder: Path) -> tuple[np.ndarray, Watcher]:  # noqa: F811
    """Run one inference in the userland; return the scores and what the node saw."""
    watcher = Watcher()
    image.tofile(folder / "input.bin")
    delegate = userland.root / "usr/lib/teflon/libteflon.so"
    arguments = (HERE / "guest_run.py", delegate, model, folder / "input.bin", folder / "output.bin")
    with EmulatedNode(report=watcher.lines.append, observe=watcher.observe, driver=driver_of(chip)) as node:
        done = subprocess.run(
            userland.command(*map(str, arguments)),
            env=userland.environment(node),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.fromfile(folder / "output.bin", np.uint8), watcher


@pytest.mark.parametrize(("chip", "most"), [("a311d", 0), ("imx8mp", 2)])
def test_mesa_sees_a_hen(
    chip: str,
    most: int,
    mobilenet_v1: Path,
    mobilenet_labels: Path,
    userland: Userland,  # noqa: F811
    tmp_path: Path,
) -> None:
    image = picture(224)
    scores, watcher = infer(userland, chip, mobilenet_v1, image, tmp_path)
    assert watcher.jobs == ["", "", ""], watcher.jobs
    assert watcher.lines == []
    assert mobilenet_labels.read_text().splitlines()[int(scores.argmax())] == "hen"
    wanted = reference(mobilenet_v1, [image])
    (output,) = [values for values in wanted.values() if values.shape == (1, 1001) and values.dtype == np.uint8][-1:]
    assert np.abs(scores.astype(int) - output.ravel().astype(int)).max() <= most


@pytest.mark.parametrize(("chip", "largest"), [("a311d", 158), ("imx8mp", 4)])
def test_mesas_mobilenet_v2(chip: str, largest: int, shared: Path, userland: Userland, tmp_path: Path) -> None:  # noqa: F811
    """Additions and 1x1 kernels with RELU6 are wrong on generation 7 (facts 9.1 and 9.2): another class comes out."""
    model = shared / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    image = picture(224)
    scores, watcher = infer(userland, chip, model, image, tmp_path)
    assert (watcher.jobs, watcher.lines) == (["", "", ""], [])
    output = reference(model, [image])[tflite.load(model).outputs[0]].ravel()
    assert (scores.argmax() == output.argmax()) == (chip == "imx8mp")
    assert np.abs(scores.astype(int) - output.astype(int)).max() == largest
