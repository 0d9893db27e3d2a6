"""The oldest packages that are supported, and the newest Python at hand; both with the whole suite of tests."""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

import pytest
from fresh import CHECKOUT, call, environment, heavy, pythons
from roots import RUNTIME, TESTING, System, system, wheels

from materials import find_shared

pytestmark = heavy

MINIMUMS = Path(__file__).with_name("minimums.txt")
ARGUMENTS = ("-m", "pytest", "-n0", "-rsfE", "-p", "no:cacheprovider")
TESTS = ("pytest", "pytest-xdist", "pytest-cov", "hypothesis", "onnx", "onnxruntime")
ENOUGH = 3000
"""Tests that must have run; most of the suite needs nothing that is not in it."""


def passed(told: str) -> int:
    """Return the number in pytest's last line, and show the end of what it said."""
    print("\n".join(told.splitlines()[-30:]))
    return int(re.findall(r"(\d+) passed", told)[-1])


def with_shared() -> dict[str, str]:
    """Tell a copy of the project where the shared folder is."""
    folder = find_shared()
    return {"ROCKETNPU_SHARED": str(folder)} if folder else {}


def test_the_minimums_are_what_the_project_asks_for() -> None:
    """Debian's flatbuffers 2.0.8 is 2.0.7 on PyPI."""
    asked = dict(re.findall(r'^  "([a-z-]+)>=([\d.]+)",$', (CHECKOUT / "pyproject.toml").read_text(), re.M))
    pinned = dict(re.findall(r"^([a-z-]+)==([\d.]+)$", MINIMUMS.read_text(), re.M))
    assert set(asked) - set(pinned) == {"ai-edge-litert"}
    assert {name: version for name, version in pinned.items() if not version.startswith(asked[name])} == {}


def test_the_oldest_packages(wheel: Path, tmp_path: Path) -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Debian 12's packages have no wheels for Pythons after its own 3.11")
    programs = environment(sys.executable, tmp_path / "env", "-c", MINIMUMS, wheel, *TESTS)
    told = call([programs / "python", *ARGUMENTS], CHECKOUT, with_shared(), 5400).stdout
    assert passed(told) > ENOUGH


def test_the_source_distribution_installs_and_its_tests_collect(sdist: Path, python: str, tmp_path: Path) -> None:
    programs = environment(python, tmp_path / "env", f"{sdist}[dev]")
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    [folder] = tmp_path.glob("rocketnpu-*")
    done = call([programs / "python", "-m", "pytest", "-n0", "--collect-only"], folder)
    assert int(re.findall(r"^(\d+) tests collected", done.stdout, re.M)[0]) > ENOUGH


def test_the_source_distributions_own_tests(sdist: Path, tmp_path: Path) -> None:
    """On the second Python, where there is one."""
    programs = environment(pythons()[-1], tmp_path / "env", f"{sdist}[dev]")
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    [folder] = tmp_path.glob("rocketnpu-*")
    assert passed(call([programs / "python", *ARGUMENTS], folder, with_shared(), 5400).stdout) > ENOUGH


@pytest.fixture
def sid(registry: None, tmp_path: Path) -> System:
    """Debian's newest, with what the tests need."""
    found = system(
        "sid", (*RUNTIME, *TESTING, "python3-venv", "python3-hatchling", "gcc", "libc6-dev", "libpython3-dev")
    )
    found.call("rm", "-rf", "/trial")
    needed = ("ai-edge-litert", "onnx", "onnxruntime")
    found.bring(wheels(tmp_path / "wheels", found.python_version(), "x86_64", *needed), "/trial/wheels")
    found.call("python3", "-m", "venv", "--system-site-packages", "/trial/env")
    pip = ("/trial/env/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/trial/wheels")
    found.call(*pip, *needed)
    return found


def test_the_newest_python(sid: System, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    [folder] = tmp_path.glob("rocketnpu-*")
    inside = f"/trial/{folder.name}"
    sid.bring(folder, inside)
    sid.call("/trial/env/bin/pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", inside)
    assert tuple(map(int, sid.python_version().split("."))) >= (3, 13)
    command = f"cd {inside} && exec /trial/env/bin/python {' '.join(ARGUMENTS)}"
    assert passed(sid.call("sh", "-c", command, timeout=5400)) > ENOUGH
