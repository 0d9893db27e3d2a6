"""Python's shared library: where it is, and what is said where it is not."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from rocketnpu.cli.device import build_delegate
from rocketnpu.cli.main import run
from rocketnpu.device.doctor import examine
from rocketnpu.libpython import advice, shared_python

NAME = f"libpython3.{sys.version_info[1]}"


@pytest.fixture
def built_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let this Python be built otherwise: a name of its shared library, and a folder for it."""

    def change(name: str | None) -> Path:
        values = {"INSTSONAME": name, "LIBDIR": str(tmp_path), "MULTIARCH": "arch-linux-gnu"}
        monkeypatch.setattr(sysconfig, "get_config_var", values.get)
        monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
        return tmp_path

    return change


@pytest.mark.parametrize("folder", ["", "arch-linux-gnu"])
def test_it_is_found(built_with, folder: str) -> None:
    path = built_with("libpython3.13.so.1.0") / folder / "libpython3.13.so.1.0"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert shared_python() == path


def test_one_that_is_not_installed_is_left_to_the_loader(built_with) -> None:
    built_with("libpython3.13.so.1.0")
    assert shared_python() == Path("libpython3.13.so.1.0")


@pytest.mark.parametrize("name", [None, "libpython3.13.a"])
def test_a_static_python_has_none(built_with, name: str | None) -> None:
    built_with(name)
    assert shared_python() is None


def test_the_package_is_that_of_the_version() -> None:
    assert "`apt-get install libpython3.13`" in advice((3, 13))
    assert f"`apt-get install {NAME}`" in advice()


def test_the_doctor_names_the_package(built_with) -> None:
    built_with(f"{NAME}.so.1.0")
    fact = next(fact for fact in examine() if fact.name == "libpython")
    assert fact.state == "note"
    assert NAME in fact.advice


@pytest.mark.parametrize(("name", "told"), [("libpython3.13.so.1.0", True), (None, True), ("present.so", False)])
def test_build_delegate_names_the_package(
    built_with, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str | None, told: bool
) -> None:
    (built_with(name) / "present.so").touch()
    monkeypatch.setattr(build_delegate, "build", lambda path: path)
    assert run(["build-delegate", "-o", "library.so"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "library.so\n"
    assert (f"apt-get install {NAME}" in captured.err) == told
    assert captured.err.count("\n") == told
