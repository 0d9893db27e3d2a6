"""Devices that fail under a server, and come back."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
from served import Served, eventually

import rocketnpu
from rocketnpu.emulator import EmulatedNode, node, shim_library
from rocketnpu.errors import DeviceError
from rocketnpu.inference import Inference
from rocketnpu.serving import pool as pools
from rocketnpu.serving.pool import Pool
from rocketnpu.serving.refusal import RefusedError

INFER = "/v2/models/classifier/infer"
PICTURE = np.random.default_rng(3).integers(0, 256, (1, 16, 16, 3), np.uint8)
ASKED = {"inputs": [{"name": "t0", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": PICTURE.reshape(-1).tolist()}]}


@pytest.fixture(scope="module")
def expected(models: Path) -> list[int]:
    with rocketnpu.Inference(models / "classifier.tflite", device="simulator") as inference:
        found: list[int] = inference.run([PICTURE])[0].reshape(-1).tolist()
        return found


def test_a_node_that_goes_away_and_comes_back(
    models: Path, tmp_path: Path, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NPU by the real driver's door, unplugged: 503 and not ready; plugged in again: right answers."""
    try:
        library = shim_library()
    except DeviceError as error:
        pytest.skip(str(error))
    folder = tmp_path / "node"

    def place(**_options: str) -> str:
        folder.mkdir()
        return str(folder)

    monkeypatch.setattr(node.tempfile, "mkdtemp", place)  # so that the second one stands where the first one stood
    first = EmulatedNode()
    environment = first.environment(library)
    options = ["-d", "rocket", "-c", 2, "--allow-unproven"]
    with Served("-m", models / "classifier.tflite", *options, environment=environment) as server:

        def answer() -> tuple[int, Any]:
            found = server.post(INFER, json=ASKED)
            return found.status_code, found.json()

        assert answer()[1]["outputs"][0]["data"] == expected
        before = server.descriptors, server.threads
        first.stop()
        told = {answer()[0] for _ in range(4)}
        assert told == {503}
        assert "device failed" in answer()[1]["error"]
        assert str(tmp_path) not in answer()[1]["error"]
        assert server.get("/v2/health/ready").status_code == 400
        assert server.get("/v2/health/live").status_code == 200
        assert server.figure("rocketnpu_workers") == 0
        with EmulatedNode() as second:
            assert second.path == first.path
            assert eventually(lambda: server.figure("rocketnpu_workers") == 2)
            assert answer()[1]["outputs"][0]["data"] == expected
            assert server.get("/v2/health/ready").status_code == 200
            assert eventually(lambda: (server.descriptors, server.threads) <= before)
    assert "Traceback" not in server.log, server.log


class Shaky:
    """An inference whose device fails while a flag is set."""

    def __init__(self, sound: Inference, failing: Event, opened: list[Shaky]) -> None:
        self._sound, self._failing = sound, failing
        self.graph, self.device_name, self.closed = sound.graph, sound.device_name, False
        opened.append(self)

    def run(self, inputs: Any) -> Any:
        if self._failing.is_set():
            raise DeviceError("a job did not finish; /secret/bundle.zip tells more")
        return self._sound.run(inputs)

    def close(self) -> None:
        self.closed = True
        self._sound.close()


def test_workers_mend_themselves(models: Path, monkeypatch: pytest.MonkeyPatch, expected: list[int]) -> None:
    failing, opened = Event(), []
    monkeypatch.setattr(pools, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pools, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(
        pools, "Inference", lambda *given, **options: Shaky(Inference(*given, **options), failing, opened)
    )

    def result(pool: Pool) -> Future[Any]:
        return pool.submit([[PICTURE]], time.monotonic() + 10)[0]

    with Pool("classifier", models / "classifier.tflite", 2, 8, device="simulator") as pool:
        assert result(pool).result()[0].reshape(-1).tolist() == expected
        failing.set()
        for left in (1, 0):
            with pytest.raises(RefusedError, match="the device failed while it ran") as caught:
                result(pool).result()
            assert caught.value.status == 503
            assert "secret" not in str(caught.value)
            assert eventually(lambda left=left: pool.working == left)
        with pytest.raises(RefusedError, match="is not ready: its device failed"):
            result(pool)
        failing.clear()
        assert eventually(lambda: pool.working == 2)
        assert result(pool).result()[0].reshape(-1).tolist() == expected
        failing.set()
        waiting = pool.submit([[PICTURE]] * 6, time.monotonic() + 10)
        assert [type(job.exception(20)) for job in waiting] == [RefusedError] * 6, "what waits is not forgotten"
    assert all(one.closed for one in opened)
    with pytest.raises(RefusedError, match="the server ends"):
        result(pool)


def test_a_batch_is_spread_over_the_workers(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each inference waits until another one is at work beside it."""
    together = Barrier(2)

    class Together(Inference):
        def run(self, inputs: Any) -> Any:
            if inputs[0].any():
                together.wait(20)
            return super().run(inputs)

    monkeypatch.setattr(pools, "Inference", Together)
    with Pool("classifier", models / "classifier.tflite", 2, 8, device="simulator") as pool:
        jobs = pool.submit([[PICTURE]] * 6, time.monotonic() + 30)
        assert len({job.result(30)[0].tobytes() for job in jobs}) == 1


def test_what_is_cancelled_never_begins(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = Event(), []

    class Slow(Inference):
        def run(self, inputs: Any) -> Any:
            begun.append(int(inputs[0][0, 0, 0, 0]))
            if begun[-1]:
                gate.wait(20)
            return super().run(inputs)

    monkeypatch.setattr(pools, "Inference", Slow)
    with Pool("classifier", models / "classifier.tflite", 1, 3, device="simulator") as pool:
        items = [[np.full((1, 16, 16, 3), number, np.uint8)] for number in (1, 2, 3, 4)]
        end = time.monotonic() + 20
        (first,) = pool.submit(items[:1], end)
        assert eventually(lambda: begun[-1] == 1)
        second, third = pool.submit(items[1:3], end)
        (late,) = pool.submit(items[3:], time.monotonic())
        with pytest.raises(RefusedError, match="too much to do") as caught:
            pool.submit(items[3:], end)
        assert caught.value.status == 429
        assert second.cancel()
        assert pool.waiting == 3
        (fifth,) = pool.submit([[np.full((1, 16, 16, 3), 5, np.uint8)]], end)
        gate.set()
        assert all(job.result(20) for job in (first, third, fifth))
        with pytest.raises(RefusedError, match="did not end in time"):
            late.result(20)
    assert begun == [0, 1, 3, 5]
