"""Videos from strangers: lists of other files, enormous frames, damage of any kind."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hostile_videos import ENDINGS, mutated, outcome, write
from picture_models import classifier
from rocketnpu.cli.vision.looking import Look, Sink, Where, look_at
from rocketnpu.errors import InputError
from rocketnpu.model.files import read
from rocketnpu.vision.frames import Frame, Opened

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


class Film:
    """Frames that nobody filmed."""

    rate = Fraction(25)

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(f"frame {number}", np.zeros((2, 2, 3), np.uint8)) for number in range(self._count))

    def count(self) -> int:
        return 0


def test_a_long_film_is_told_frame_by_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is found in a frame is let go of when it is printed; JSON alone holds all of it to the end."""
    model = tmp_path / "m.tflite"
    model.write_bytes(classifier())
    graph, where = read(model), Where("simulator", "rk3588", 1, 1)
    frames, kept = Film(400), []

    def document(found: bytearray) -> dict[str, object]:
        kept.append(found)
        return {"found": len(found)}

    look = Look(lambda _pixels: bytearray(100_000), lambda pixels, _found: pixels, lambda _found, _one: ["x"], document)
    tracemalloc.start()
    try:
        look_at(tmp_path, frames, Sink(tmp_path, None, frames), look, where, graph, as_json=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000, "forty million bytes were found in all"
    assert kept == []
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "frame 399: x"
    assert "400 frames in" in err
    look_at(tmp_path, Film(3), Sink(tmp_path, None, frames), look, where, graph, as_json=True)
    assert [frame["found"] for frame in json.loads(capsys.readouterr().out)["frames"]] == [100_000] * 3
