"""The archives that the guest's kernel unpacks, read back by the format's description."""

from __future__ import annotations

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.board.cpio import archive

HEADER = 110


def read(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Take a newc archive apart: mode, contents and device number by name."""
    found, place = {}, 0
    while True:
        assert data[place : place + 6] == b"070701"
        numbers = [int(data[place + at : place + at + 8], 16) for at in range(6, HEADER, 8)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = data[place + HEADER : place + HEADER + name_size - 1].decode()
        assert data[place + HEADER + name_size - 1] == 0
        start = place + -(-(HEADER + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return found
        assert name not in found
        found[name] = (mode, data[start : start + size], (numbers[9], numbers[10]))
        place = start + -(-size // 4) * 4


def test_console_parents_links_and_modes(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "text").write_text("words")
    (tmp_path / "link").symlink_to("inner/text")
    found = read(archive({"bin/tool": b"\x7fELF", "init": tmp_path / "inner" / "text"}, {"payload/all": tmp_path}))
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    assert found["bin/tool"][:2] == (stat.S_IFREG | 0o755, b"\x7fELF")
    assert found["init"][1] == b"words"
    assert found["payload/all/link"][:2] == (stat.S_IFLNK | 0o777, b"inner/text")
    assert found["payload/all/inner/text"][1] == b"words"
    names = list(found)
    for name in names:
        parent = name.rpartition("/")[0]
        if parent:
            assert stat.S_ISDIR(found[parent][0])
            assert names.index(parent) < names.index(name), "the kernel makes no folders by itself"


@given(
    st.dictionaries(
        st.text("abcxyz.-", min_size=1, max_size=9).filter(lambda name: name not in (".", "..", "dev")),
        st.binary(max_size=40),
        max_size=6,
    )
)
def test_every_content_comes_back(files: dict[str, bytes]) -> None:
    found = read(archive(files, {}))
    assert {name: found[name][1] for name in files} == files
