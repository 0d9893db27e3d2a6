"""Where the user's folders are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocketnpu.errors import InputError
from rocketnpu.folders import cache_folder, config_folder


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("ROCKETNPU_CACHE", "ROCKETNPU_CONFIG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_usual_places(home: Path) -> None:
    assert (cache_folder(), config_folder()) == (home / ".cache/rocketnpu", home / ".config/rocketnpu")


def test_the_xdg_variables_name_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/there")
    assert (cache_folder(), config_folder()) == (Path("/elsewhere/rocketnpu"), Path("/there/rocketnpu"))


@pytest.mark.parametrize("value", ["relative", "./here", ""])
def test_relative_xdg_variables_are_ignored(home: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("XDG_CONFIG_HOME", value)
    assert (cache_folder(), config_folder()) == (home / ".cache/rocketnpu", home / ".config/rocketnpu")


def test_our_own_variables_come_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("ROCKETNPU_CACHE", "~/mine")
    monkeypatch.setenv("ROCKETNPU_CONFIG", "/config")
    assert (cache_folder(), config_folder()) == (home / "mine", Path("/config"))


def test_no_home_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", classmethod(_no_home))
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where nobody has a home
    with pytest.raises(InputError, match="ROCKETNPU_CACHE"):
        cache_folder()


def _no_home(_kind: type[Path]) -> Path:
    raise RuntimeError("Could not determine home directory.")
