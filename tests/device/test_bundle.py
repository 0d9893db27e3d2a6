"""What a failure bundle holds, written from a simulated device."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest

from rocketnpu.compiler import compile_graph
from rocketnpu.device.bundle import add_facts, write_bundle
from rocketnpu.device.placement import Placement
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
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


def test_facts_are_added_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("failure.json", "{}")
    add_facts(path, "failing_task.json", {"task": 3})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["failure.json", "failing_task.json"]
        assert json.loads(archive.read("failing_task.json")) == {"task": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["bundle.zip"]


@pytest.mark.parametrize("older", [None, b"whatever was there"])
def test_what_cannot_be_added_leaves_everything_as_it_was(older: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    facts: dict[str, object] = {"task": 3}
    if older is not None:
        path.write_bytes(older)
        facts["itself"] = facts
    with pytest.raises(DeviceError, match="cannot write the failure bundle"):
        add_facts(path, "failing_task.json", facts)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if older is None else [older])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot write the failure bundle .*: No such file or directory"):
        add_facts(tmp_path / "none" / "bundle.zip", "failing_task.json", {})
