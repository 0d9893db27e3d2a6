"""Fresh environments: Pythons that are at hand, and commands whose output is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HEAVY = "ROCKETNPU_TEST_HEAVY"
heavy = pytest.mark.skipif(os.environ.get(HEAVY) != "1", reason=f"makes systems and environments: set {HEAVY}=1")


def call(
    command: Sequence[object],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
    status: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run a command that must end with ``status``."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=outside() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == status, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def outside() -> dict[str, str]:
    """Return this process's environment without what ties it to its own packages, or chooses heavy tests."""
    apart = ("PYTHON", "VIRTUAL_ENV", "COV_", HEAVY)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(apart)}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def pythons() -> tuple[str, ...]:
    """Return this Python and the newest other one of 3.11 to 3.14 that runs; on the path, or where pyenv keeps them."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    kept = Path.home() / ".pyenv" / "versions"
    for name in ("3.14", "3.13", "3.12", "3.11"):
        places = (shutil.which(f"python{name}"), *map(str, sorted(kept.glob(f"{name}.*/bin/python{name}"))))
        found = next((place for place in places if place and name != own and _runs(place)), None)
        if found:
            return (sys.executable, found)
    return (sys.executable,)


def _runs(python: str) -> bool:
    """Say whether it is a Python; pyenv's stand-in for a version that is not chosen is none."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def environment(python: str, place: Path, *requirements: object) -> Path:
    """Make a virtual environment in ``place`` with these requirements and return its folder of programs."""
    call([sys._base_executable if python == sys.executable else python, "-m", "venv", place])
    pip = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    call([*pip, *requirements], timeout=1200)
    return place / "bin"
