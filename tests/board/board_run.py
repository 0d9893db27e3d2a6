"""Booting a virtual board with guest cases, for the heavy tests here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rocketnpu.board.board import Board, Work
from rocketnpu.board.kernel_log import complaints
from rocketnpu.board.machine import Outcome, Settings, Verdict
from rocketnpu.rockchip.board.hardware import Rk3588Hardware

HEAVY = "ROCKETNPU_TEST_HEAVY"
GUEST = Path(__file__).parent / "guest"
INTEROP = Path(__file__).parents[1] / "interop"
HENS = Path(__file__).parents[2] / "examples" / "hens.jpg"
MODELS = (
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_1.0_224_quant",
    "mobilenet_v2_1.0_224_quant",
    "resnet8_cifar10_int8",
    "tf2_mobilenet_v2_1.0_224_ptq",
)
MESA_MODEL, MESA_SIZE = "mobilenet_v1_0.25_128_quant", 128

heavy = pytest.mark.skipif(not os.environ.get(HEAVY), reason=f"heavy: set {HEAVY}=1")


def picture(size: int) -> np.ndarray:
    with Image.open(HENS) as image:
        return np.asarray(image.convert("RGB").resize((size, size)), np.uint8)[None]


@dataclass(frozen=True)
class Run:
    """A boot with its cases."""

    outcome: Outcome
    names: tuple[str, ...]
    verdicts: list[Verdict]

    def output(self, name: str) -> str:
        path = self.outcome.folder / f"{name}.txt"
        return path.read_text() if path.exists() else f"never ran; the board said: {self.outcome.serial[-2000:]}"

    def status(self, name: str) -> int | None:
        path = self.outcome.folder / f"{name}.status"
        return int(path.read_text()) if path.exists() else None

    def complaints(self, name: str) -> list[str]:
        following = [*self.names[self.names.index(name) + 1 :], "none"][0]
        return complaints(self.outcome.kernel_log, f"case {name}", f"case {following}")

    def check(self, name: str) -> str:
        """Assert that a case ended well and upset nobody; return its output."""
        assert self.status(name) == 0, self.output(name)
        assert self.complaints(name) == []
        return self.output(name)


def start(
    ready: Board,
    models: dict[str, Path],
    labels: Path,
    out: Path,
    names: tuple[str, ...],
    *,
    counted: bool,
    delay: float = 0.0,
) -> Run:
    files: dict[str, bytes | Path] = {path.name: path for path in GUEST.iterdir() if path.is_file()}
    files |= {f"models/{name}.tflite": path for name, path in models.items()}
    files |= {"hens.jpg": HENS, "labels.txt": labels, "mesa.py": INTEROP / "guest_run.py"}
    files[f"{MESA_MODEL}.input"] = picture(MESA_SIZE).tobytes()
    verdicts: list[Verdict] = []
    environment = {"COLUMNS": "150", "NO_COLOR": "1", "MESA_MODELS": MESA_MODEL}
    work = Work(("sh", "/payload/cases.sh", *names), out, files, environment)
    outcome = ready.run(Rk3588Hardware(verdicts.append, delay), Settings(counted=counted), work)
    print(f"\n{outcome.seconds:.1f} s of the host, {len(verdicts)} tasks\n{outcome.terminal}")
    return Run(outcome, names, verdicts)
