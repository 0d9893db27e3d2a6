"""Files of a user are read with limits, whatever they are."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu import labels, pictures
from rocketnpu.errors import InputError, ModelError, RocketError
from rocketnpu.files.limits import JSON_DEPTH
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.inspect import recorded_model, recording_file, reference
from rocketnpu.model import tflite
from rocketnpu.rockchip.streams import disassembly, recording


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert read_file(path, 3_000_000, "thing", InputError) == b"x" * 3_000_000
    link = tmp_path / "link"
    link.symlink_to(path)
    assert len(read_file(link, 3_000_000, "thing", InputError)) == 3_000_000


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 101)
    with pytest.raises(InputError, match=r"thing .*/a has 101 bytes, more than the 100 that are read"):
        read_file(path, 100, "thing", InputError)


def test_a_file_that_does_not_say_its_size_is_bounded() -> None:
    with pytest.raises(ModelError, match="more than the 10 bytes that are read"):
        read_file("/proc/self/status", 10, "thing", ModelError)


READERS: dict[str, Callable[[Path], Any]] = {
    "model": tflite.load,
    "reference": lambda path: reference.reference(path, []),
    "labels": lambda path: labels.read_labels(path, 2),
    "picture": lambda path: pictures.load_picture(path, 8, 8),
    "recording": recording.load,
    "command words": disassembly.disassemble,
}


@pytest.mark.parametrize("reader", READERS)
def test_endless_and_special_files_are_refused_at_once(reader: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to, a socket, and devices without an end."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        start = time.monotonic()
        for path in (
            tmp_path / "pipe",
            tmp_path / "socket",
            Path("/dev/zero"),
            Path("/dev/tty"),
            Path("/proc/self/mem"),
        ):
            with pytest.raises(RocketError, match=r"cannot read|is not|is damaged|more than"):
                READERS[reader](path)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(InputError, match="cannot read thing"):
        read_file(name, 100, "thing", InputError)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_json_as_it_is_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_deep_json() -> None:
    assert parse_json(b"[" * JSON_DEPTH + b"]" * JSON_DEPTH)
    assert parse_json(json.dumps("[" * 1000 + '\\"{').encode()) == "[" * 1000 + '\\"{'
    for opened in (b"[", b'{"a":', b'["]",'):
        with pytest.raises(ValueError, match=f"more than {JSON_DEPTH}"):
            parse_json(opened * 100_000)
    with pytest.raises(ValueError, match="more than the 10 that are read"):
        parse_json(b"[1,2,3,4,5,6]", limit=10)


def test_a_recording_may_not_unpack_to_more_than_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 MB of zeros packed small, the same file named by many buffers, and a folder of many files."""
    import zipfile

    import numpy as np

    monkeypatch.setattr(recording_file, "RECORDING_BYTES", 1 << 20)
    buffers = [{"handle": n, "dma_address": n << 20, "size": 1 << 19, "file": "a.bin"} for n in range(1, 9)]
    facts: dict[str, Any] = {"format": 1, "producer": "p", "model": "m", "model_sha256": "s"}
    facts |= {"submits": [{"buffers": buffers, "jobs": []}]}
    with zipfile.ZipFile(tmp_path / "shared.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("recording.json", json.dumps(facts))
        archive.writestr("a.bin", bytes(1 << 18))
    with pytest.raises(InputError, match="unpacks to more than the 1048576 bytes that are read"):
        recording.load(tmp_path / "shared.zip")
    np.savez_compressed(tmp_path / "reference.npz", t0=np.zeros(3 << 20, np.uint8))
    (tmp_path / "recording.json").write_text(json.dumps(facts | {"submits": []}))
    with pytest.raises(InputError, match=r"reference\.npz: it unpacks to 314\d+ bytes"):
        recording.load(tmp_path)


def test_the_recorded_model_is_read_with_the_models_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_model, "MODEL_BYTES", 10)
    (tmp_path / "a.tflite").write_bytes(bytes(11))
    with pytest.raises(ModelError, match="more than the 10"):
        recorded_model.recorded_model(tmp_path / "a.zip", "a", "")
