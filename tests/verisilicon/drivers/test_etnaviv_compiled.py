"""Programs of ours on the etnaviv device: one submission a part, failures told by operator, programs kept by chip."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bracketed import Bracketed
from device_cases import CASES, program_for
from rocketnpu.cli.device.selftest import expected, proven_policy
from rocketnpu.cli.main import run as command
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.model.tflite import parse
from rocketnpu.program.cache import ProgramCache
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.drivers.etnaviv_stream import MODES, stream_of
from rocketnpu.verisilicon.registers.instruction import WORD
from rocketnpu.verisilicon.registers.jobs import UNITS, started
from rocketnpu.verisilicon.soc import SOCS
from rocketnpu.verisilicon.streams.recording import load

CHIPS = ["a311d", "imx8mp"]
ELSEWHERE = 0x00A0_0000
"""An address where nothing is."""


def out_address(placed: PlacedProgram, job: int, task: int) -> tuple[np.ndarray, int]:
    """Return the words of a task's instruction in place, and which of them says where it writes."""
    (start,) = started(placed.task_words(job, task).view("<u4"))
    layout = UNITS[start.unit]
    for buffer, memory in zip(placed.buffers, placed.memories, strict=True):
        if 0 <= start.address - buffer.address < buffer.size:
            words = np.frombuffer(memory, "<u4", layout.size, start.address - buffer.address)
            return words, layout.pieces["OUT_ADDRESS"][0].register.offset // WORD
    raise AssertionError("no buffer holds it")


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", list(CASES))
def test_a_part_is_one_submission(make_node, chip, name):
    rig, calls = make_node(chip, gated=False), Bracketed()
    case = CASES[name]
    with EtnavivDevice(SOCS[chip], calls=calls) as device, PlacedProgram(device, program_for(case, device)) as placed:
        for _ in range(2):
            np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case, chip))
        size = stream_of([]).nbytes + sum(task.words for task in placed.program.tasks) * 8
        assert [sent for sent in calls.submissions if sent != MODES.nbytes] == [size, size]
    assert (rig.lines, calls.unbalanced) == ([], [])


@pytest.mark.parametrize("chip", CHIPS)
def test_every_task_that_fails_is_told_with_its_operator(make_node, tmp_path, chip):
    rig = make_node(chip, gated=False)
    case, wanted = CASES["chain"], expected(CASES["chain"], chip)
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, program_for(case, device), bundle_folder=tmp_path) as placed,
    ):
        placed.run([case.picture()])
        for number, job in enumerate(placed.program.jobs):
            for index, task in enumerate(job.tasks):
                words, place = out_address(placed, number, index)
                good, words[place] = int(words[place]), ELSEWHERE
                with pytest.raises(JobFailedError) as caught:
                    placed.run([case.picture()])
                error = caught.value
                assert (error.job, error.task, error.operator, error.label) == (
                    number,
                    index,
                    task.operator,
                    task.label,
                )
                assert f"operator {task.operator}, {task.label}" in str(error)
                assert "OUT_ADDRESS=0xa00000" in error.registers
                words[place] = good
                np.testing.assert_array_equal(placed.run([case.picture()])[0], wanted)
    assert rig.node.live_buffers == 0


@pytest.mark.parametrize("chip", CHIPS)
def test_replay_runs_the_bundle_to_the_job_that_failed(make_node, tmp_path, chip, capsys):
    make_node(chip, gated=False)
    case = CASES["chain"]
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, program_for(case, device), bundle_folder=tmp_path) as placed,
    ):
        placed.run([case.picture()])
        last = len(placed.program.jobs) - 1
        words, place = out_address(placed, last, len(placed.program.jobs[last].tasks) - 1)
        words[place] = ELSEWHERE
        with pytest.raises(JobFailedError) as caught:
            placed.run([case.picture()])
        tasks = len(placed.program.tasks)
    bundle = caught.value.bundle
    assert bundle is not None
    assert load(bundle).soc is SOCS[chip]
    assert command(["replay", str(bundle), "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    verdicts = [job["verdict"] for job in told["jobs"]]
    assert verdicts[-1] == "REFUSED"
    assert verdicts.count("ran") == tasks - 1
    assert command(["replay", str(bundle)]) == 1
    assert "REFUSED" in capsys.readouterr().out


def test_programs_are_kept_by_chip(tmp_path):
    """Another chip's program is never taken from the folder, and one's own is."""
    case = CASES["chain"]
    graph = parse(case.model)
    cache = ProgramCache(tmp_path)
    made = {chip: cache.program(graph, proven_policy(chip)) for chip in ("rk3588", *CHIPS)}
    assert (cache.hits, cache.misses) == (0, 3)
    assert len(list(tmp_path.iterdir())) == 3
    for chip, program in made.items():
        again = cache.program(graph, proven_policy(chip))
        assert again.chip == program.chip == chip
        assert [buffer.data for buffer in again.buffers] == [buffer.data for buffer in program.buffers]
    assert (cache.hits, cache.misses) == (3, 3)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_program_from_the_folder_runs_as_a_fresh_one(make_node, tmp_path, chip):
    make_node(chip, gated=False)
    case = CASES["odd"]
    graph, policy = parse(case.model), proven_policy(chip)
    ProgramCache(tmp_path).program(graph, policy)
    cache = ProgramCache(tmp_path)
    with (
        EtnavivDevice(SOCS[chip], calls=Bracketed()) as device,
        PlacedProgram(device, cache.program(graph, policy)) as placed,
    ):
        assert cache.hits == 1
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case, chip))
