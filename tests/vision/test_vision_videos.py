"""Videos from strangers: lists of other files, enormous frames, damage of any kind."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.errors import InputError
from rocketnpu.vision.frames import Opened, VideoWriter

pytest.importorskip("av", reason="PyAV is not installed (pip install rocketnpu[video])")
MUTANTS = 300
MEMORY = 150_000
"""KiB that a process may take which refuses a video; the interpreter and FFmpeg have 60,000 of them."""
OPEN = (
    "import re, sys; from pathlib import Path; from rocketnpu.vision.frames import Opened, InputError\n"
    "try:\n"
    "    with Opened(Path(sys.argv[1])) as opened: print(sum(1 for _ in opened.frames), 'frames')\n"
    "except InputError as error: print(error)\n"
    "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
)


def write(path: Path, frames: int = 3) -> bytes:
    with VideoWriter(path, Fraction(10)) as video:
        for number in range(frames):
            video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    return path.read_bytes()


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


def mutated(choose: random.Random, sound: bytes) -> bytes:
    data = bytearray(sound)
    for _ in range(choose.choice((1, 1, 2, 5, 30))):
        place = choose.randrange(len(data))
        kind = choose.randrange(4)
        if kind == 0:
            data[place] = choose.randrange(256)
        elif kind == 1:
            data[place : place + 4] = choose.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0"))
        elif kind == 2:
            del data[place : place + choose.choice((1, 3, 8, len(data)))]
        else:
            data[place:place] = data[choose.randrange(len(data)) :][: choose.randrange(1, 200)]
        data = data or bytearray(1)
    return bytes(data)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
def test_damage_is_told_or_makes_no_difference(ending: str, tmp_path: Path) -> None:
    """Frames, or a sentence; with a stream of a kind that FFmpeg does not know too."""
    choose, sound = random.Random(ending), write(tmp_path / f"sound.{ending}")
    path, refused = tmp_path / "mutant", 0
    for _ in range(MUTANTS // 4):
        path.write_bytes(mutated(choose, sound))
        try:
            with Opened(path) as opened:
                assert opened.frames.count() >= 0
                assert opened.frames.rate is not None
                assert opened.frames.rate > 0
                assert all(frame.read().ndim == 3 for frame in opened.frames)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert 0 < refused < MUTANTS // 4
