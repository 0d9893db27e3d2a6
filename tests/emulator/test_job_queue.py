"""The queue of an open file where there is no thread left to run its jobs."""

from __future__ import annotations

import errno
import threading

import pytest
from raw_node import GateCore

from rocketnpu.emulator.jobs import CorePool, JobQueue, QueuedJob
from rocketnpu.memory import Memory


def test_without_a_thread_a_job_is_refused_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    retired: list[QueuedJob] = []
    core = GateCore()
    core.gate.set()
    queue = JobQueue(Memory(), CorePool([core]), 0.0, retired.append)
    refused, run = (QueuedJob((), (), ()) for _ in range(2))

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with queue.lock, pytest.raises(OSError, match="no more threads") as caught:
            queue.push(refused)
    assert caught.value.errno == errno.ENOMEM
    with queue.lock:
        queue.push(run)
        assert queue.changed.wait_for(lambda: run.done, 20)
    queue.stop()
    assert retired == [run]
