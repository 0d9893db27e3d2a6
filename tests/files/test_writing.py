"""Files of a user are written whole or not at all, to where a link leads, and through what is no regular file."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rocketnpu.errors import InputError, ProgramError
from rocketnpu.files import writing
from rocketnpu.files.writing import check_apart, replacing, write_file


def write(path: Path | str, data: bytes = b"new") -> None:
    write_file(path, data, "thing", InputError)


def test_a_new_file_has_the_users_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_keeps_its_permissions_and_a_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "folder" / "link"
    target.write_bytes(b"old")
    target.chmod(0o604)
    link.parent.mkdir()
    link.symlink_to("../target")
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o604
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    write(tmp_path / "dangling")
    assert (tmp_path / "made").read_bytes() == b"new"


def test_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"cannot write program .*/none/a: there is no folder .*/none$"):
        write_file(tmp_path / "none" / "a", b"", "program", ProgramError)
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="it is a folder"):
        write(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"Not a directory|there is no folder"):
        write(tmp_path / "file" / "a")


def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"x" * 200_000)
    reader.join(20)
    assert got == [b"x" * 200_000]
    assert pipe.is_fifo()
    write(os.devnull)
    assert Path(os.devnull).is_char_device()


def test_what_is_written_to_stdout_follows_what_was_there(tmp_path: Path) -> None:
    """/dev/stdout is an open file, though its name may lead to a regular one."""
    program = (
        "from rocketnpu.files.writing import write_file; from rocketnpu.errors import InputError; import sys;"
        "print('before', flush=True); write_file('/dev/stdout', b'data\\n', 'thing', InputError);"
        "print('after', flush=True)"
    )
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert "data" in (tmp_path / "out").read_text()
    assert "after" in (tmp_path / "out").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may overwrite everything")
def test_what_may_not_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(InputError, match="may not be overwritten"):
        write(tmp_path / "a")


def test_a_file_that_the_user_may_not_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(writing.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"cannot write thing .*/a: it may not be overwritten"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_temporary_files_are_private_and_unforeseeable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def look(handle: int) -> None:
        (name,) = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
        seen.append((name, stat.S_IMODE((tmp_path / name).stat().st_mode)))

    before = writing.os.fchmod
    monkeypatch.setattr(writing.os, "fchmod", lambda handle, mode: (look(handle), before(handle, mode)))
    for _ in range(2):
        write(tmp_path / "a")
    assert [mode for _, mode in seen] == [0o600, 0o600]
    assert seen[0][0] != seen[1][0]


def test_a_file_that_is_written_piece_by_piece_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def interrupted() -> None:
        with replacing(tmp_path / "a", "thing", InputError) as file:
            file.write(b"half")
            file.flush()
            assert (tmp_path / "a").read_bytes() == b"old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
    with replacing(tmp_path / "a", "thing", InputError) as file:
        file.write(b"behind")
        file.seek(0)
        file.write(b"in front")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"in front"]


def test_a_limit_of_file_sizes_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write thing .*/a: File too large"):
            write(tmp_path / "a", bytes(1001))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_sockets_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "a"))
        with pytest.raises(InputError, match=r"cannot write thing .*/a: No such device or address"):
            write(tmp_path / "a")
    assert (tmp_path / "a").is_socket()


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    """In bytes: the temporary file's name is longer by some, and holds fewer of them."""
    for name in ("x" * 255, "\U0001f414" * 63):
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"


def test_nothing_is_written_over_what_it_is_made_from(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(b"")
    other.write_bytes(b"")
    (tmp_path / "link").symlink_to("source")
    (tmp_path / "hard").hardlink_to(source)
    for same in ("source", "link", "hard", "./source", "../" + tmp_path.name + "/source"):
        with pytest.raises(InputError, match="itself, which would be lost; give another name"):
            check_apart(tmp_path / same, source, "thing", InputError)
    for apart in ("other", "none", "none/none", "a\0b"):
        check_apart(tmp_path / apart, source, "thing", InputError)
    check_apart(other, tmp_path / "none", "thing", InputError)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no sysfs, a folder in which not even root makes files")
def test_a_folder_in_which_nothing_can_be_made() -> None:
    with pytest.raises(InputError, match=r"cannot write thing /sys/kernel/none: \w"):
        write("/sys/kernel/none")
