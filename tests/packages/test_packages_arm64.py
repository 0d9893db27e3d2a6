"""Debian's arm64 Python under qemu: the hens, the self-test, equal bytes, and the tests of the rooms that compute."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from fresh import CHECKOUT, call, heavy
from roots import RUNTIME, TESTING, cross_compiler, emulated_python, unpacked, wheels

from materials import find_shared

pytestmark = heavy

HENS = CHECKOUT / "examples" / "hens.jpg"
ROOMS = ("model", "graph", "rockchip/tasks", "program", "device")
MODELS = (
    "mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "efficientnet_lite0_litert_quantizer_int8.tflite",
)
"""Beside MobileNetV1 1.0 224, from the shared folder."""
NOT_UNDER_QEMU = (
    *(
        "test_the_emulator_is_killed_in_the_middle_of_a_job",
        "test_a_fork",
        "test_a_program_that_is_killed_leaves_nothing",
    ),
    "test_a_descriptor_that_is_none_has_no_name",
)
"""Tests of programs that are started with the emulated node's library before all others, which qemu's own loader would
have to be given instead, and of an ioctl that qemu answers by itself."""


class Board:
    """The arm64 Python with this project's sources and the wheels that Debian has not."""

    def __init__(self, python: Path, packages: Path) -> None:
        self.python = python
        self.environment = {"PYTHONPATH": f"{CHECKOUT / 'src'}:{packages}", "CC": str(cross_compiler())}

    def call(self, *arguments: object, timeout: float = 600) -> str:
        """Run Python with these arguments and return what it prints."""
        return call([self.python, *arguments], CHECKOUT, self.environment, timeout).stdout


@pytest.fixture(scope="module")
def board(registry: None) -> Board:
    """Debian 13's Python."""
    root = unpacked("trixie", "arm64", (*RUNTIME, *TESTING))
    place = root / "opt/py"
    if not place.is_dir():
        version = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
        wheels(root / "opt/wheels", version, "aarch64", "ai-edge-litert", "onnx", "onnxruntime")
        own = ("numpy-", "flatbuffers-", "pillow-")  # Debian's are to be tested
        for wheel in (root / "opt/wheels").glob("*.whl"):
            if not wheel.name.startswith(own):
                with zipfile.ZipFile(wheel) as opened:
                    opened.extractall(place)
    return Board(emulated_python(root), place)


def test_it_is_another_machine(board: Board) -> None:
    told = board.call("-c", "import platform, numpy; print(platform.machine(), numpy.__file__)")
    assert re.match(r"aarch64 .*/dist-packages/numpy/", told)


def test_the_hens(board: Board, mobilenet_v1: Path) -> None:
    answer = board.call("-m", "rocketnpu", "classify", "-i", HENS, "-m", mobilenet_v1, "-d", "simulator")
    assert re.match(r"0\.9[78]: ", answer)


def test_the_self_test(board: Board) -> None:
    assert "6 of 6 networks" in board.call("-m", "rocketnpu", "selftest", "--device", "simulator")


def test_programs_inputs_and_outputs_are_equal(board: Board, mobilenet_v1: Path) -> None:
    folder = find_shared()
    models = [mobilenet_v1, *(folder / "models" / name for name in MODELS if folder)]
    command = (Path(__file__).with_name("results.py"), HENS, *models)
    here = json.loads(call([sys.executable, *command], CHECKOUT, {"PYTHONPATH": str(CHECKOUT / "src")}).stdout)
    there = json.loads(board.call(*command, timeout=1800))
    assert there["machine"] == "aarch64"
    assert there["models"] == here["models"]
    print(json.dumps({"here": here, "there": there}, indent=1))


def test_the_rooms_that_compute(board: Board) -> None:
    arguments = ("-n0", "-rsfE", "-p", "no:cacheprovider", "-k", f"not ({' or '.join(NOT_UNDER_QEMU)})")
    told = board.call("-m", "pytest", *arguments, *(f"tests/{room}" for room in ROOMS), timeout=5400)
    closing = told.strip().splitlines()[-1]
    assert int(re.findall(r"(\d+) passed", closing)[0]) > 500
    print(os.linesep.join(told.splitlines()[-30:]))
