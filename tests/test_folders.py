"""Where the user's folders are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocketnpu.errors import InputError
from rocketnpu.folders import cache_folder, config_folder, make_private


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


def test_new_folders_are_private(home: Path) -> None:
    make_private(home / "a" / "b")
    assert [(home / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]
    make_private(home / "a" / "b")


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_folder_that_others_may_write_to_is_refused(home: Path, mode: int) -> None:
    folder = home / ".cache/rocketnpu"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(InputError, match=r"group or others may write to folder .*: take that away with `chmod go-w"):
        cache_folder()
    folder.chmod(0o755)
    assert cache_folder() == folder


def test_a_folder_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".cache/rocketnpu").mkdir(parents=True)
    owner = home.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    monkeypatch.setattr("os.getuid", lambda: owner + 1)
    with pytest.raises(InputError, match=f"belongs to another user .number {owner}."):
        cache_folder()


@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_a_process_with_a_set_id_uses_none(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(f"os.gete{kind}", lambda: 4242)
    with pytest.raises(InputError, match="set user or group id"):
        cache_folder()
