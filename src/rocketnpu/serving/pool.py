"""One model on all cores: inferences wait in a queue, workers take them, a worker whose device fails mends itself."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np

from rocketnpu.closing import Closing
from rocketnpu.errors import InputError, RocketError
from rocketnpu.graph import Graph
from rocketnpu.inference import Inference
from rocketnpu.serving.refusal import RefusedError, malformed
from rocketnpu.serving.signature import Array, Signature, signature_of

_log = logging.getLogger("rocketnpu.serving")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between attempts to open a device that failed; they double."""
Outputs = list[Array]


@dataclass(eq=False)
class _Job:
    inputs: Sequence[Array]
    deadline: float
    """By the monotonic clock."""
    result: Future[Outputs]


class Pool(Closing):
    """A context manager. Works from any thread."""

    def __init__(self, name: str, path: Path, workers: int, queue: int, **options: object) -> None:
        """Open the model once for each worker, and run it once on zeros, so that it is known to work.

        Args:
            name: by which clients know the model.
            path: a ``.tflite`` or ``.onnx`` file.
            workers: inferences at a time.
            queue: how many may wait.
            **options: those of the delegate, such as ``device``.

        Raises:
            ModelError, UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        self.name, self.path, self.capacity = name, path, queue
        self._options = dict(options)
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self.observe: Callable[[float], None] = lambda _seconds: None
        """Hears how long each inference took, in seconds."""
        with ExitStack() as opened:
            models: list[Inference] = []
            for _ in range(workers):
                models.append(self._open())
                opened.callback(models[-1].close)
                # What was found once is looked for from now on: no server for an NPU goes on as a simulator.
                self._options["device"] = models[0].device_name
            self.graph, self.device_name = models[0].graph, models[0].device_name
            outputs = models[0].run(_zeros(self.graph))
            self.signature: Signature = signature_of(self.graph, outputs)
            opened.pop_all()
        self._working = workers
        self._threads = [
            threading.Thread(target=self._work, args=(model,), name=f"{name}-{number}", daemon=True)
            for number, model in enumerate(models)
        ]
        for thread in self._threads:
            thread.start()

    def _open(self) -> Inference:
        return Inference(self.path, in_flight=1, **self._options)

    @property
    def working(self) -> int:
        """Workers whose device works."""
        return self._working

    @property
    def workers(self) -> int:
        """All workers."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """Inferences in the queue."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether inferences are taken."""
        return self._working > 0 and not self._ending.is_set()

    def submit(self, items: Sequence[Sequence[Array]], deadline: float) -> list[Future[Outputs]]:
        """Put inferences into the queue, all or none.

        Args:
            items: the inputs of each.
            deadline: by the monotonic clock; what has not begun by then is refused.

        Returns:
            Their results to be; cancelled ones are not begun. They fail with a :class:`RefusedError`.

        Raises:
            RefusedError: the queue is full, or nobody works.
        """
        jobs = [_Job(inputs, deadline, Future()) for inputs in items]
        with self._changed:
            if not self.ready:
                raise self._unready()
            self._forget_cancelled()
            if len(self._waiting) + len(jobs) > self.capacity:
                raise RefusedError(
                    HTTPStatus.TOO_MANY_REQUESTS, f"model {self.name!r} has too much to do: try again later"
                )
            self._waiting.extend(jobs)
            self._changed.notify(len(jobs))
        return [job.result for job in jobs]

    def close(self) -> None:
        """Refuse what waits, wait for what runs, and free all devices. Closing twice is allowed."""
        self._ending.set()
        with self._changed:
            self._refuse_waiting()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _unready(self) -> RefusedError:
        reason = "the server ends" if self._ending.is_set() else "its device failed"
        return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"model {self.name!r} is not ready: {reason}")

    def _forget_cancelled(self) -> None:
        if any(job.result.cancelled() for job in self._waiting):
            self._waiting = deque(job for job in self._waiting if not job.result.cancelled())

    def _refuse_waiting(self) -> None:
        while self._waiting:
            _fail(self._waiting.popleft(), self._unready())

    def _next(self) -> _Job | None:
        """Wait for a job; None at the end."""
        with self._changed:
            while not self._waiting and not self._ending.is_set():
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _work(self, model: Inference) -> None:
        while (job := self._next()) is not None:
            if not job.result.set_running_or_notify_cancel():
                continue
            if time.monotonic() > job.deadline:
                job.result.set_exception(too_late())
                continue
            if not self._run(model, job):
                mended = self._mend(model)
                if mended is None:
                    return
                model = mended
        _close(model)

    def _run(self, model: Inference, job: _Job) -> bool:
        """Run a job; say whether the device is sound."""
        begin = time.monotonic()
        try:
            outputs = model.run(job.inputs)
        except InputError as error:
            job.result.set_exception(malformed(str(error)))
            return True
        except Exception as error:  # whatever it is, the client hears of it and this worker goes on
            _log.error("model %s: %s", self.name, error, exc_info=not isinstance(error, RocketError))
            text = f"the device failed while it ran model {self.name!r}; the server's log says more"
            job.result.set_exception(RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, text))
            return False
        self.observe(time.monotonic() - begin)
        job.result.set_result(outputs)
        return True

    def _mend(self, model: Inference) -> Inference | None:
        """Open the model anew, as often as it takes; None if the server ends before."""
        with self._changed:
            self._working -= 1
            if not self._working:
                self._refuse_waiting()
        _close(model)
        pause = _FIRST_PAUSE
        while not self._ending.wait(pause):
            try:
                fresh = self._open()
            except Exception as error:
                _log.error("model %s cannot be opened again: %s", self.name, error)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            try:
                fresh.run(_zeros(self.graph))
            except Exception as error:
                _log.error("model %s still fails: %s", self.name, error)
                _close(fresh)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            with self._changed:
                self._working += 1
            _log.warning("model %s: a worker is back", self.name)
            return fresh
        return None


def too_late() -> RefusedError:
    """Return the refusal of what took too long."""
    return RefusedError(HTTPStatus.GATEWAY_TIMEOUT, "the inference did not end in time")


def _fail(job: _Job, refusal: RefusedError) -> None:
    if job.result.set_running_or_notify_cancel():
        job.result.set_exception(refusal)


def _close(model: Inference) -> None:
    try:
        model.close()
    except Exception as error:
        _log.warning("a device that failed cannot be closed: %s", error)


def _zeros(graph: Graph) -> list[Array]:
    tensors = [graph.tensors[number] for number in graph.inputs]
    return [np.zeros(tensor.shape, tensor.dtype.value) for tensor in tensors]
