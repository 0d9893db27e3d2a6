"""Videos from strangers: lists of other files, enormous frames, damage of any kind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hostile_videos import ENDINGS, mutated, outcome, write
from rocketnpu.errors import InputError
from rocketnpu.vision.frames import Opened

pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
CASES = int(os.environ.get("ROCKETNPU_TEST_CASES", "12")) * 5
"""Of damage, of each kind of container; a long search runs ``tests/attack/attack.py videos``."""
MEMORY = 150_000
"""KiB that a process may take which refuses a video; the interpreter and FFmpeg have 60,000 of them."""
OPEN = (
    "import re, sys; from pathlib import Path; from rocketnpu.vision.frames import Opened, InputError\n"
    "try:\n"
    "    with Opened(Path(sys.argv[1])) as opened: print(sum(1 for _ in opened.frames), 'frames')\n"
    "except InputError as error: print(error)\n"
    "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
)


def listed(path: Path) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{path}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.txt"])
@pytest.mark.parametrize("form", ["hls", "concat", "text"])
def test_what_a_file_names_is_not_opened(form: str, name: str, tmp_path: Path) -> None:
    """Playlists name any file or address, and FFmpeg has a decoder that draws any text."""
    write(tmp_path / "secret.ts")
    forms: dict[str, Callable[[], str]] = {
        "hls": lambda: listed(tmp_path / "secret.ts"),
        "concat": lambda: "ffconcat version 1.0\nfile secret.ts\n",
        "text": lambda: "\x1b[1mroot:x:0:0:root\n" * 40,
    }
    (tmp_path / name).write_text(forms[form]())
    with (
        pytest.raises(InputError, match="neither a picture nor a video"),
        Opened(tmp_path / name) as opened,
    ):
        assert not list(opened.frames)


def test_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for reading nor for writing, though FFmpeg would take the words before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    write(Path("other.ts"))
    write(Path("concat:other.ts"), 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["concat:other.ts", "other.ts"]
    with Opened(Path("concat:other.ts")) as opened:
        assert len(list(opened.frames)) == 5


def test_enormous_frames_take_no_memory(tmp_path: Path) -> None:
    """A small file that says 7000 x 7000."""
    side, path = 7_000, tmp_path / "picture"
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(3 * side + 1)) for _ in range(side)) + packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    )
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=True)
    told, memory = done.stdout.splitlines()
    assert "frame of more than 33554432 pixels" in told
    assert int(memory) < MEMORY


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_is_told_or_makes_no_difference(ending: str, tmp_path: Path) -> None:
    """Frames, or a sentence; with a stream of a kind that FFmpeg does not know too."""
    sound, path = write(tmp_path / f"sound.{ending}"), tmp_path / "mutant"
    found: Counter[str] = Counter()
    for seed in range(CASES):
        path.write_bytes(mutated(seed, sound))
        found[outcome(path)] += 1
    assert found["refused"] > 0, found
    assert found["seen"] > 0, found
