"""What the tests of the delegate are given: a cache of their own, a built library, compiled hosts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rocketnpu.delegate.build import build

HOSTS = Path(__file__).parent / "hosts"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep compiled programs away from the user's folder, in this process and in those it starts."""
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TEFLON_DEBUG", raising=False)
    monkeypatch.setenv("ROCKETNPU_DEVICE", "simulator")  # "auto" would say that it falls to the simulator


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delegate as a shared library."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    return build(tmp_path_factory.mktemp("library") / "librocketnpu_delegate.so")


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile one of the C hosts."""
    folder = tmp_path_factory.mktemp("hosts")

    def compiled(name: str) -> Path:
        program = folder / name
        if not program.exists():
            source = HOSTS / f"{name}.c"
            subprocess.run(["cc", "-std=gnu17", "-O1", "-o", program, source, "-ldl", "-lpthread"], check=True)
        return program

    return compiled
