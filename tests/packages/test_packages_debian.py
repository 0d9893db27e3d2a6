"""The Debian package on fresh systems of Debian 12, 13 and sid: first with what Debian has, then with LiteRT."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fresh import CHECKOUT, call, heavy
from roots import RUNTIME, System, system, wheels

from rocketnpu.cli.main import VERBS

pytestmark = heavy

HENS = "/usr/share/doc/rocketnpu/examples/hens.jpg"
MODEL = "/tmp/mobilenet.tflite"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built and held against lintian by ``scripts/debian``."""
    if not (CHECKOUT / "debian").is_dir():
        pytest.skip("the source distribution has no Debian packaging")
    needed = ("dpkg-buildpackage", "dpkg-checkbuilddeps", "lintian")
    if missing := [name for name in needed if not shutil.which(name)]:
        pytest.skip(f"no {' and no '.join(missing)}: apt-get install dpkg-dev lintian")
    unmet = subprocess.run(["dpkg-checkbuilddeps"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if unmet.returncode:
        pytest.skip(unmet.stderr.strip())
    folder = tmp_path_factory.mktemp("debian")
    call([CHECKOUT / "scripts" / "debian", folder], timeout=1200)
    [found] = folder.glob("*.deb")
    return found


@pytest.fixture(scope="module", params=["bookworm", "trixie", "sid"])
def installed(request: pytest.FixtureRequest, package: Path, mobilenet_v1: Path) -> System:
    """A system with the package installed."""
    found = system(request.param, (*RUNTIME, "python3-venv", "gcc", "libc6-dev"))
    found.bring(package, f"/tmp/{package.name}")
    found.bring(mobilenet_v1, MODEL)
    found.call("dpkg", "--install", f"/tmp/{package.name}")
    return found


def test_it_is_whole(installed: System) -> None:
    assert "Status: install ok installed" in installed.call("dpkg", "-s", "rocketnpu")
    assert installed.call("dpkg", "--verify", "rocketnpu") == ""
    files = set(installed.call("dpkg", "-L", "rocketnpu").splitlines())
    assert {f"/usr/share/man/man1/rocketnpu-{verb}.1.gz" for verb in VERBS} <= files
    assert "/usr/lib/udev/rules.d/60-rocketnpu.rules" in files
    installed.call("bash", "-n", "/usr/share/bash-completion/completions/rocketnpu")


def test_what_needs_no_litert(installed: System) -> None:
    told = installed.call("rocketnpu", "doctor", status=1)
    assert re.search(r"note +LiteRT +not installed", told)
    assert f"apt-get install libpython{installed.python_version()}" in told
    assert installed.call("rocketnpu", "operators", "CONV_2D").startswith("CONV_2D: ")
    assert "30 of 31 operators on the NPU in 1 part" in installed.call("rocketnpu", "inspect", "-m", MODEL)
    assert "6 of 6 networks" in installed.call("rocketnpu", "selftest", "--device", "simulator")


def test_a_delegate_is_built_and_the_missing_package_named(installed: System) -> None:
    done = installed.run("rocketnpu", "build-delegate", "-o", "/tmp/delegate.so")
    assert done.stdout == "/tmp/delegate.so\n"
    assert (installed.root / "tmp/delegate.so").is_file()
    assert f"apt-get install libpython{installed.python_version()}" in done.stderr


def test_it_classifies_with_litert(installed: System, registry: None, tmp_path: Path) -> None:
    """LiteRT is in an environment that sees the system's packages."""
    installed.call("rm", "-rf", "/litert")
    installed.bring(wheels(tmp_path, installed.python_version(), "x86_64", "ai-edge-litert"), "/litert/wheels")
    installed.call("python3", "-m", "venv", "--system-site-packages", "/litert/env")
    pip = ("/litert/env/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/litert/wheels")
    installed.call(*pip, "ai-edge-litert")
    answer = installed.call("/litert/env/bin/python", "-m", "rocketnpu", "classify", "-i", HENS, "-m", MODEL)
    assert re.match(r"0\.9[78]: ", answer)
