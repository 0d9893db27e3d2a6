"""What tests of the packages share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fresh import CHECKOUT, call, pythons


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PyPI, or what stands for it here; the test is skipped where none answers."""
    place = tmp_path_factory.mktemp("registry")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), "click"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"PyPI cannot be reached: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def dist(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, the wheel and the bill of materials."""
    folder = tmp_path_factory.mktemp("dist")
    call([CHECKOUT / "scripts" / "package", folder], timeout=1200)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel."""
    [found] = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    """The source distribution."""
    [found] = dist.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module", params=range(2))
def python(request: pytest.FixtureRequest) -> str:
    """This Python, and another one where there is one."""
    if request.param >= len(pythons()):
        pytest.skip("only one Python is at hand")
    return pythons()[request.param]
