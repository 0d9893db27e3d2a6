"""Stages of the board in the cache: made once, whole or not at all."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from rocketnpu.board.stages import Stages, digest
from rocketnpu.errors import BoardUnavailableError


def test_a_stage_is_made_once_for_each_key(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "content").write_text(str(len(made)))

    with Stages(tmp_path / "board") as stages:
        first = stages.get("kernel", "a", make)
        assert stages.get("kernel", "a", make) == first
        second = stages.get("kernel", "b", make)
    assert [(folder / "content").read_text() for folder in (first, second)] == ["1", "2"]
    assert len(made) == 2
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == [".lock", "kernel-a", "kernel-b"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    with Stages(tmp_path) as stages:
        with pytest.raises(BoardUnavailableError, match=r"kernel cannot be made: .*No space left"):
            stages.get("kernel", "a", fail)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        assert stages.get("kernel", "a", lambda folder: None).is_dir()


def test_the_folder_is_the_users_alone_and_a_link_is_not_emptied(tmp_path: Path) -> None:
    with Stages(tmp_path / "cache" / "board"):
        pass
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    lock = tmp_path / "cache" / "board" / ".lock"
    lock.unlink()
    lock.symlink_to(mine)
    with Stages(tmp_path / "cache" / "board"):
        pass
    assert mine.read_bytes() == b"mine"
    (tmp_path / "cache" / "board").chmod(0o777)
    with pytest.raises(BoardUnavailableError, match="group or others may write"), Stages(tmp_path / "cache" / "board"):
        pass


def test_a_stage_without_its_mark_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "kernel-a").mkdir()
    (tmp_path / "kernel-a" / "half").write_text("")
    with Stages(tmp_path) as stages:
        found = stages.get("kernel", "a", lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in found.iterdir()) == [".done", "whole"]


def test_only_what_nobody_used_for_a_week_goes(tmp_path: Path) -> None:
    with Stages(tmp_path) as stages:
        old, recent, other = (
            stages.get(name, key, lambda folder: None)
            for name, key in (("kernel", "a"), ("kernel", "b"), ("tools", "c"))
        )
        for folder in (old, other):
            os.utime(folder / ".done", (time.time() - 8 * 86400,) * 2)
        stages.get("kernel", "d", lambda folder: None)
    assert (old.exists(), recent.exists(), other.exists()) == (False, True, True)


def test_the_digest_tells_where_parts_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab")
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert digest([tmp_path / "file", b"c"]) == digest([b"ab", b"c"])
