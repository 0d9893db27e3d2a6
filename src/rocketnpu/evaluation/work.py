"""Verdicts by several workers: processes of this machine, or those of a Dask cluster. All ways give the same ones."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any

from rocketnpu.errors import DeviceError, InputError, RocketError, UnsupportedError
from rocketnpu.evaluation.judge import Judge, Task, Verdict
from rocketnpu.evaluation.samples import Sample

_LARGEST_CHUNK = 16
"""Pictures that a worker takes at a time."""
_CHUNKS_EACH = 4
_AHEAD = 3
"""Chunks for each worker that are handed out and not back yet."""
_CONNECT_SECONDS = 10
_judges: dict[int, tuple[str, Judge]] = {}
"""Of this process, by thread: each keeps the last one it used."""


@dataclass(frozen=True)
class Fault:
    """An error of a worker on its way home; some errors do not survive being sent."""

    text: str


def judge_chunk(task: Task, chunk: Sequence[Sample]) -> list[Verdict] | Fault:
    """Judge some samples, in any process."""
    key, judge = _judges.get(threading.get_ident(), ("", None))
    try:
        if judge is None or key != task.key:
            if judge is not None:
                judge.close()
            judge = Judge(task)
            _judges[threading.get_ident()] = task.key, judge
        return [judge.judge(sample) for sample in chunk]
    except RocketError as error:
        return Fault(str(error))


def forget() -> None:
    """Free what this process keeps."""
    while _judges:
        _, (_, judge) = _judges.popitem()
        judge.close()


def verdicts(task: Task, samples: Sequence[Sample], workers: int) -> Iterator[Verdict]:
    """Judge samples in processes of this machine; yield verdicts in the samples' order.

    Raises:
        RocketError: a worker could not go on.
    """
    chunks = list(_chunks(samples, workers))
    if workers == 1 or len(chunks) < 2:
        with Judge(task) as judge:
            yield from map(judge.judge, samples)
        return
    executor = ProcessPoolExecutor(min(workers, len(chunks)), get_context("spawn"), _begin)
    try:
        yield from _in_order(lambda chunk: executor.submit(judge_chunk, task, chunk), chunks, _AHEAD * workers)
    except BrokenProcessPool:
        text = "a worker process ended unasked (killed, or out of memory): try fewer --workers"
        raise DeviceError(text) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Begin a worker process: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def cluster_verdicts(task: Task, samples: Sequence[Sample], address: str) -> Iterator[Verdict]:
    """Judge samples on a running Dask cluster; yield verdicts in the samples' order.

    The workers must find this package, the model and the pictures where they are here. What a worker that dies had
    begun is done again by others.

    Raises:
        UnsupportedError: Dask is not installed.
        InputError: there is no cluster, or a worker cannot read what can be read here.
        DeviceError: the cluster, or a device of it, failed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UnsupportedError("--dask needs the package distributed: pip install 'rocketnpu[evaluate]'") from None
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"there is no Dask cluster at {address}: {reason}") from None
    with client:
        threads = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
        if not threads:
            raise InputError(f"the Dask cluster at {address} has no workers")
        chunks = list(_chunks(samples, threads))
        try:
            yield from _in_order(
                lambda chunk: client.submit(judge_chunk, task, chunk, pure=False), chunks, _AHEAD * threads
            )
            client.run(forget)
        except RocketError:
            raise
        except Exception as error:  # whatever the cluster raises, from whichever package
            reason = " ".join(str(error).split())[:300]
            raise DeviceError(f"the Dask cluster failed: {type(error).__name__}: {reason}") from None


def _chunks(samples: Sequence[Sample], workers: int) -> Iterator[Sequence[Sample]]:
    size = max(1, min(_LARGEST_CHUNK, len(samples) // (workers * _CHUNKS_EACH)))
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def _in_order(submit: Any, chunks: Sequence[Sequence[Sample]], most: int) -> Iterator[Verdict]:
    """Have chunks judged, so many at a time, and yield their verdicts in order."""
    waiting: deque[Future[list[Verdict] | Fault]] = deque()
    left = iter(chunks)
    while True:
        while len(waiting) < most and (chunk := next(left, None)) is not None:
            waiting.append(submit(chunk))
        if not waiting:
            return
        found = waiting.popleft().result()
        if isinstance(found, Fault):
            raise DeviceError(found.text)
        yield from found
