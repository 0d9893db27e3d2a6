"""Recordings that somebody damaged: any byte of any file inside, any value of their description."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.errors import RocketError
from rocketnpu.inspect.recorded import is_recording, room_of

DATA = Path(__file__).parents[1] / "data"
VALUES: tuple[Any, ...] = (
    0,
    1,
    -1,
    8,
    1 << 31,
    1 << 32,
    1 << 40,
    None,
    True,
    "",
    "x",
    [],
    {},
    0.5,
    1e308,
    [[]],
    "../a",
)
LARGEST = 200_000
"""Bytes of a recording that is damaged: larger ones take long to run."""


@cache
def recordings() -> list[Path]:
    """Return the packaged recordings that are small enough."""
    return [path for path in sorted(DATA.rglob("*.zip")) if path.stat().st_size < LARGEST]


def mutated(seed: int) -> bytes:
    """Return the damaged recording of a seed."""
    random = np.random.default_rng(seed)
    path = recordings()[seed % len(recordings())]
    with zipfile.ZipFile(path) as archive:
        contents = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    names = list(contents)
    for _ in range(int(random.integers(1, 4))):
        how, name = int(random.integers(0, 10)), names[int(random.integers(0, len(names)))]
        if how < 5:
            contents["recording.json"] = bytearray(described(bytes(contents["recording.json"]), random))
        elif how < 8 and contents[name]:
            place = int(random.integers(0, len(contents[name])))
            contents[name][place : place + 1] = random.bytes(1)
        elif how == 8:
            del contents[name][int(random.integers(0, len(contents[name]) + 1)) :]
        else:
            contents.pop(name, None)
            names = list(contents) or ["recording.json"]
            contents.setdefault("recording.json", bytearray(b"{}"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, bytes(content))
    data = bytearray(packed.getvalue())
    if random.random() < 0.1:
        data[int(random.integers(0, len(data)))] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def described(text: bytes, random: np.random.Generator) -> bytes:
    """Return a JSON text with one value changed."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    found: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        owner = pending.pop()
        keys = list(owner) if isinstance(owner, dict) else range(len(owner)) if isinstance(owner, list) else ()
        for key in keys:
            found.append((owner, key))
            pending.append(owner[key])
    if not found:
        return text
    owner, key = found[int(random.integers(0, len(found)))]
    old = owner[key]
    if type(old) is int and random.random() < 0.5:
        owner[key] = old + int(random.choice((-1, 1, 8, -8, 4096, 1 << 20)))
    else:
        owner[key] = VALUES[int(random.integers(0, len(VALUES)))]
    return json.dumps(document).encode()


def outcome(path: Path) -> str:
    """Replay and print a recording: "refused", or "replayed"."""
    try:
        if not is_recording(path):
            return "refused"
        room = room_of(path)
        room.text(path, full=False)
        room.replay(path, 1, beside_ours=False)
    except RocketError:
        return "refused"
    return "replayed"
