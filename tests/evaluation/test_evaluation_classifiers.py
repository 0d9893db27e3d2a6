"""How often a classifier is right, counted by one process, by several, and by a cluster of which a worker dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rocketnpu
from rocketnpu.cli.main import run
from rocketnpu.errors import DeviceError, InputError, ModelError
from rocketnpu.evaluation import work
from rocketnpu.evaluation.accuracy import accuracy
from rocketnpu.evaluation.judge import Judge, Task, Verdict, digest_of
from rocketnpu.evaluation.samples import Sample, labelled_samples, spread

TRUTHS = {"bee": 1, "great_auk": 2, "4": 4, "ant": 0}


def arguments(room: Path, labelled: Path, *more: object) -> list[str]:
    given = [
        "-m",
        room / "classifier.tflite",
        "-d",
        labelled,
        "-l",
        room / "classes.txt",
        "--device",
        "simulator",
        *more,
    ]
    return ["evaluate", *map(str, given)]


def document(capsys: pytest.CaptureFixture[str], given: list[str]) -> str:
    status = run([*given, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


@pytest.fixture
def alone(room: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The document of one process."""
    return document(capsys, arguments(room, labelled, "-w", 1))


def test_counts_are_those_of_asking_by_hand(room: Path, labelled: Path, alone: str) -> None:
    found = json.loads(alone)
    right = near = 0
    with rocketnpu.Inference(room / "classifier.tflite", device="simulator") as inference:
        for name, truth in TRUTHS.items():
            for path in sorted((labelled / name).glob("[0-9]*.png")):
                (output,) = inference.run([np.asarray(Image.open(path), np.uint8)[None]])
                scores = output.reshape(-1).tolist()
                order = sorted(range(10), key=lambda number, scores=scores: (-scores[number], number))
                right += order[0] == truth
                near += truth in order[:5]
    assert 0 < right < near < 80
    chip, reference = found["chip"], found["reference"]
    assert (chip["right"], chip["right_in_five"]) == (right, near)
    assert (chip["top1"], chip["top5"]) == (right / 80, near / 80)
    assert (found["pictures"], found["device"]) == (80, "simulator")
    for side in (chip, reference):
        assert sum(cell["count"] for cell in side["confusion"]) == 80
        by_hand = [cell["count"] for cell in side["confusion"] if cell["truth"] == cell["answer"] == "bee"]
        assert len(by_hand) <= 1
    difference = found["difference"]
    assert difference["top1"] == (chip["right"] - reference["right"]) / 80
    assert difference["only_chip_right"] - difference["only_reference_right"] == chip["right"] - reference["right"]
    assert 0 < difference["largest"] <= 2, "a step for each of two operators"


def test_bad_pictures_are_named_and_counted(
    room: Path, labelled: Path, alone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one["name"] for one in json.loads(alone)["bad"]] == ["ant/empty.png", "bee/broken.jpg"]
    assert run(arguments(room, labelled, "-w", 1)) == 0
    captured = capsys.readouterr()
    assert "2 pictures could not be read:" in captured.err
    assert "bee/broken.jpg: " in captured.err
    assert "80 pictures: the same answer to" in captured.out
    assert "Traceback" not in captured.err


def test_four_processes_give_the_bytes_of_one(
    room: Path, labelled: Path, alone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert document(capsys, arguments(room, labelled, "-w", 4)) == alone


def test_a_count_is_spread_evenly(room: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [Sample(number, Path(), "", 0) for number in range(10)]
    assert [sample.number for sample in spread(samples, 4)] == [0, 2, 5, 7]
    assert spread(samples, 99) == spread(samples, None) == samples
    found = json.loads(document(capsys, arguments(room, labelled, "-w", 1, "-n", 8)))
    assert found["pictures"] + len(found["bad"]) == 8
    assert {cell["truth"] for cell in found["chip"]["confusion"]} == {"ant", "bee", "Great Auk", "crane"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three processes that somebody runs."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (pip install rocketnpu[evaluate])")
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as made:
        yield made


def test_a_cluster_gives_the_bytes_of_one_though_a_worker_dies(
    room: Path, labelled: Path, alone: str, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker is killed while it works; its pictures are judged by others."""
    from distributed import Client

    killed: list[int] = []

    def kill() -> None:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            processes = client.run(os.getpid)
            end = time.monotonic() + 60
            while not killed and time.monotonic() < end:
                busy = [worker for worker, tasks in client.processing().items() if tasks and worker in processes]
                if busy:
                    os.kill(processes[busy[0]], signal.SIGKILL)
                    killed.append(processes[busy[0]])
                time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    found = document(capsys, arguments(room, labelled, "--dask", cluster.scheduler_address))
    killer.join()
    assert killed
    assert found == alone


def test_packages_that_are_missing(
    room: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("distributed", "pycocotools.coco"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run(arguments(room, labelled, "--dask", "tcp://127.0.0.1:1")) == 2
    assert "--dask needs the package distributed: pip install 'rocketnpu[evaluate]'" in capsys.readouterr().err
    given = arguments(room, room / "classes.txt")
    given[given.index("-m") + 1] = str(room / "detector.tflite")
    assert run(given) == 2
    assert "annotation files need the package pycocotools" in capsys.readouterr().err


def test_a_cluster_that_is_not_there(
    room: Path, labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_CONNECT_SECONDS", 0.5)
    pytest.importorskip("distributed", reason="Dask is not installed (pip install rocketnpu[evaluate])")
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "::::"):
        assert run(arguments(room, labelled, "--dask", address)) == 2
        assert f"there is no Dask cluster at {address}" in capsys.readouterr().err


def test_a_worker_process_that_is_killed_is_told(room: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(room)
    samples = labelled_samples(labelled, ("ant", "bee", "great auk", "", "x"))
    monkeypatch.setattr(work, "judge_chunk", die)
    with pytest.raises(DeviceError, match="a worker process ended unasked"):
        list(work.verdicts(task, samples, 2))


def die(*_given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_whose_model_is_another_says_so(room: Path, labelled: Path) -> None:
    other = Task(room / "classifier.tflite", digest_of(room / "detector.tflite"), None, False, {"device": "simulator"})
    with pytest.raises(ModelError, match="is another file here"):
        Judge(other)
    samples = labelled_samples(labelled, ("ant", "bee", "great auk", "", "x"))
    with pytest.raises(DeviceError, match="is another file here"):
        list(work.verdicts(other, samples, 2))


def task_of(room: Path) -> Task:
    model = room / "classifier.tflite"
    return Task(model, digest_of(model), None, False, {"device": "simulator"})


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("beee", "has no class of this name; the nearest is 'bee'"),
        ("crane", "classes 3 and 4 are both called so"),
        ("10", "has no class of this name"),
        ("zebra", "or give labels, or a class's number"),
    ],
)
def test_folders_that_are_no_class(tmp_path: Path, folder: str, told: str) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match=told):
        labelled_samples(tmp_path, ("ant", "bee", "Great Auk", "crane", "crane"))


def test_classes_of_several_words(tmp_path: Path) -> None:
    (tmp_path / "tinca_tinca").mkdir()
    (tmp_path / "tinca_tinca" / "1.png").write_bytes(b"")
    (sample,) = labelled_samples(tmp_path, ("crane", "tench, Tinca tinca", "crane"))
    assert (sample.truth, sample.name) == (1, "tinca_tinca/1.png")


def test_folders_without_pictures(tmp_path: Path, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("")
    assert run(arguments(room, tmp_path)) == 2
    assert "has no pictures in folders called by the names of classes" in capsys.readouterr().err
    (tmp_path / "ant" / "a.png").write_bytes(b"nothing")
    assert run(arguments(room, tmp_path)) == 2
    assert "none of 1 picture can be read; the first: " in capsys.readouterr().err
    assert run(arguments(room, tmp_path / "nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err
    assert run(arguments(room, tmp_path, "--pictures", tmp_path)) == 2
    assert "belongs to an annotation file" in capsys.readouterr().err


def test_differences_are_counted() -> None:
    samples = [Sample(number, Path(), str(number), number % 2) for number in range(5)]
    told = [((0, 1), (0, 1)), ((1,), (0, 1)), ((1,), (0,)), ((0,), (0,))]
    found = [Verdict(number, "", *both, apart=number / 2) for number, both in enumerate(told)]
    result = accuracy(samples, [*found, Verdict(4, "it is no picture")], ("even", "odd"))
    difference = result.difference
    assert (result.reference.right, result.chip.right) == (2, 2)
    assert (result.reference.right_in_five, result.chip.right_in_five) == (2, 3)
    assert (difference.only_reference_right, difference.only_chip_right, difference.same_answer) == (1, 1, 2)
    assert (difference.top1, difference.top5, difference.largest) == (0.0, 0.25, 1.5)
    assert [(cell.truth, cell.answer, cell.count) for cell in result.chip.confusion] == [
        ("even", "even", 2),
        ("odd", "even", 2),
    ]
    assert [(bad.name, bad.reason) for bad in result.bad] == [("4", "it is no picture")]
