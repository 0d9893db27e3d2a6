"""Jobs that the kernel drops without a word: noticed, searched, told as operator and task, and kept in a bundle."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_kernels import Lying, gone
from etnaviv_recorded import program_of

from bracketed import Bracketed
from rocketnpu.cli.main import run as command
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.drivers.etnaviv_stream import MODES
from rocketnpu.verisilicon.registers.instruction import WORD
from rocketnpu.verisilicon.registers.jobs import UNITS, started
from rocketnpu.verisilicon.soc import SOCS
from rocketnpu.verisilicon.streams.recording import load

CHIPS = ["a311d", "imx8mp"]
NAME = "c5x5_valid_u8_12x12x8_16"


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(found.astype(int) - wanted.astype(int)).max() <= 1)


def instruction(placed: PlacedProgram, task: int) -> tuple[str, np.ndarray]:
    """Return the unit of a task's job and its instruction, in place."""
    (start,) = started(placed.task_words(0, task).view("<u4"))
    size = UNITS[start.unit].size
    for buffer, memory in zip(placed.buffers, placed.memories, strict=True):
        offset = start.address - buffer.address
        if 0 <= offset < buffer.size:
            return start.unit, np.frombuffer(memory, "<u4", size, offset)
    raise AssertionError("no buffer holds it")


def spoil(placed: PlacedProgram, task: int, field: str, value: int) -> None:
    """Change a field of a task's instruction behind the device's back."""
    unit, words = instruction(placed, task)
    register = UNITS[unit].pieces[field][0].register
    words[register.offset // WORD] = value


def last(placed: PlacedProgram) -> int:
    return len(placed.program.jobs[0].tasks) - 1


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_the_task_that_fails_is_found(make_node, tmp_path, chip, place):
    rig = make_node(chip, gated=False)
    program, picture, wanted = program_of(chip, NAME)
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
    ):
        assert close(placed.run([picture])[0], wanted)
        task = {"first": 0, "middle": last(placed) // 2, "last": last(placed)}[place]
        good = instruction(placed, task)[1].copy()
        spoil(placed, task, "OUT_ADDRESS", 0x00A0_0000)
        with pytest.raises(JobFailedError, match=f"task {task} of {last(placed) + 1}") as caught:
            placed.run([picture])
        error = caught.value
        assert (error.task, error.operator, error.label) == (task, task, f"job {task}")
        assert "OUT_ADDRESS=0xa00000" in error.registers
        assert "PS_" in error.registers
        assert error.core == "the core that the kernel chose"
        assert rig.lines, "the emulated kernel dropped the job"
        instruction(placed, task)[1][:] = good
        assert close(placed.run([picture])[0], wanted)
    assert rig.node.live_buffers == 0


@pytest.mark.parametrize("chip", CHIPS)
def test_a_task_that_only_the_chip_refuses_is_found_by_asking_it(make_node, tmp_path, chip):
    """Its addresses begin inside its job's buffers, so the device's own check has nothing against it."""
    rig = make_node(chip, gated=False)
    program, picture, wanted = program_of(chip, NAME)
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
    ):
        placed.run([picture])
        task = next(number for number in range(last(placed) + 1) if instruction(placed, number)[0] == "TP")
        good = instruction(placed, task)[1].copy()
        spoil(placed, task, "INCREMENT_0", 0x7FFF_0000)
        before = len(rig.lines)
        with pytest.raises(JobFailedError) as caught:
            placed.run([picture])
        assert caught.value.task == task
        assert len(rig.lines) >= before + 2, "the whole, and the task by itself"
        instruction(placed, task)[1][:] = good
        assert close(placed.run([picture])[0], wanted)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_bundle_is_a_recording_that_replay_takes(make_node, tmp_path, chip, capsys):
    make_node(chip, gated=False)
    program, picture, _ = program_of(chip, NAME)
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
    ):
        placed.run([picture])
        spoil(placed, last(placed), "OUT_ADDRESS", 0x00A0_0000)
        with pytest.raises(JobFailedError) as caught:
            placed.run([picture])
        text = placed.task_text(0, last(placed))
    bundle = caught.value.bundle
    assert bundle is not None
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    recording = load(bundle)
    assert recording.soc is SOCS[chip]
    assert [len(submission.buffers) for submission in recording.submissions] == [0, len(program.buffers) - 1]
    np.testing.assert_array_equal(recording.submissions[0].stream, MODES)
    with zipfile.ZipFile(bundle) as archive:
        assert text in archive.read("tasks.txt").decode()
        failing = json.loads(archive.read("failing_task.json"))
    assert failing["task"] == failing["operator"] == len(program.tasks) - 1
    assert command(["replay", str(bundle), "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert [job["verdict"] for job in told["jobs"]] == ["ran"] * (len(program.tasks) - 1) + ["REFUSED"]
    assert "0xa00000" in told["jobs"][-1]["about"]


def test_a_submission_without_its_buffers_is_noticed(make_node, tmp_path):
    """The kernel maps what a submission names: without that the chip faults, and nobody is told."""
    rig = make_node(gated=False)
    program, picture, wanted = program_of("a311d", NAME)

    class Forgetful(Lying):
        forgets = False

        def ioctl(self, fd, request, argument):
            count = argument.bo_count if request == uapi.SUBMIT else 0
            if count and self.forgets:
                argument.bo_count = 0
            super().ioctl(fd, request, argument)
            if count:
                argument.bo_count = count

    calls = Forgetful()
    with (
        EtnavivDevice(SOCS["a311d"], calls=calls) as device,
        PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
    ):
        calls.forgets = True
        with pytest.raises(JobFailedError, match="task 0 of"):
            placed.run([picture])
        assert rig.lines
        calls.forgets = False
        assert close(placed.run([picture])[0], wanted)


def test_nothing_is_left_of_many_failures(make_node, tmp_path):
    rig = make_node(gated=False)
    program, picture, wanted = program_of("a311d", NAME)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with (
            EtnavivDevice(SOCS["a311d"], calls=Bracketed()) as device,
            PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
        ):
            placed.run([picture])
            spoil(placed, 0, "OUT_ADDRESS", 0)
            with pytest.raises(JobFailedError):
                placed.run([picture])
    with EtnavivDevice(SOCS["a311d"], calls=Bracketed()) as device, PlacedProgram(device, program) as placed:
        assert close(placed.run([picture])[0], wanted)
    gone(rig)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(list(tmp_path.glob("*.zip"))) == 3
