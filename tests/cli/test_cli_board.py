"""``rocketnpu board`` where there can be no board: one line, exit status 2, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocketnpu.cli.main import FAILED, run


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_without_apt_it_says_what_is_missing(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["board", "--", "true"]) == FAILED
    assert "rocketnpu: there is no apt-get or no dpkg-deb here" in capsys.readouterr().err
    assert [path.name for path in (empty / "cache" / "board").iterdir()] == [".lock"]


@pytest.mark.parametrize("option", ["--module", "--share"])
def test_what_is_not_there_is_named_before_anything_is_made(
    option: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["board", option, str(empty / "absent"), "--", "true"]) == FAILED
    assert f"{empty / 'absent'} is not there" in capsys.readouterr().err
    assert not (empty / "cache").exists()


def test_a_cache_that_cannot_be_made_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "file").write_text("")
    monkeypatch.setenv("ROCKETNPU_CACHE", str(empty / "file"))
    assert run(["board", "--", "true"]) == FAILED
    assert "set ROCKETNPU_CACHE to another folder" in capsys.readouterr().err
