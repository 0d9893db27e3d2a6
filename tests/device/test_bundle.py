"""What a failure bundle holds, written from a simulated device."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.device.bundle import write_bundle
from rocketnpu.device.placement import Placement
from rocketnpu.device.simulator import SimulatorDevice
from strategies import case


@pytest.mark.parametrize("older", ["none", "a file", "a link"])
def test_a_bundle_is_private_and_whole(older: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "bundle.zip", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if older == "a file":
        path.write_bytes(b"older")
    elif older == "a link":
        path.symlink_to(elsewhere)
    program = compile_graph(case("conv", 3).graph)
    with SimulatorDevice() as device, Placement(device, program) as placed:
        blank = [n for n, memory in enumerate(placed.memories) if not any(bytes(memory))]
        contents = [bytes(memory) for memory in placed.memories]
        handles = [buffer.handle for buffer in placed.buffers]
        write_bundle(placed, path, {"job": 0, "why": "a test"})
    assert elsewhere.read_text() == "mine"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert blank
    assert len(blank) < len(contents)
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        names = archive.namelist()
        for number, content in enumerate(contents):
            name = f"submit0/bo{handles[number]:04d}.bin"
            assert (name in names) == (number not in blank)
            if name in names:
                assert archive.read(name) == content
        assert json.loads(archive.read("failure.json"))["why"] == "a test"
