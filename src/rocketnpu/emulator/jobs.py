"""Jobs of one open file: queued, run in order on one core, their fences signalled.

Facts of the kernel (rocket_job.c, Linux 7.2): one scheduling entity per open file, so its jobs run in order, on one
core while it is busy; tasks are started one by one; completion is the DPU's interrupt alone; a job that does not
complete within 500 ms is dropped, its core reset, and its fence signalled without an error. Drivers with other jobs
(etnaviv_sched.c) use the same scheduler.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rocketnpu.emulator.buffers import BufferObject
from rocketnpu.errors import RocketError
from rocketnpu.memory import Memory


class TaskHangError(RocketError):
    """The task would leave the core without a completion interrupt until the kernel's timeout."""


class AnyCore(Protocol):
    """One NPU core of any kind."""

    def begin(self, memory: Memory) -> None:
        """Start a job on this address space."""


class Core(AnyCore, Protocol):
    """One NPU core that runs command lists."""

    def run(self, address: int, words: int) -> None:
        """Run one command list.

        Raises:
            RocketError: the silicon would hang, fault, or do what nobody knows.
        """


@dataclass(eq=False)
class QueuedJob:
    """A job that waits, runs or is done."""

    tasks: Sequence[tuple[int, int]]
    """Address and 64-bit words of each command list."""
    reads: tuple[BufferObject, ...]
    writes: tuple[BufferObject, ...]
    size: int = 0
    """Bytes that it holds while it waits."""
    done: bool = False
    error: str = ""
    """Why it was dropped; the program is not told."""
    core: int = -1

    def execute(self, core: Any) -> None:
        """Run it on a core.

        Raises:
            TaskHangError: a task did not complete; the message says which.
        """
        for number, (address, words) in enumerate(self.tasks):
            try:
                core.run(address, words)
            except Exception as error:
                place = f"task {number} of {len(self.tasks)} at 0x{address:x}, core {self.core}"
                raise TaskHangError(f"{place}: {error}") from error


class CorePool:
    """The NPU's cores; a file holds one while it has jobs."""

    def __init__(self, cores: Sequence[AnyCore]) -> None:
        """Own ``cores``."""
        self.cores = cores
        self._free = list(range(len(cores)))
        self._changed = threading.Condition()

    def acquire(self) -> int:
        """Wait for a free core and return its number."""
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            return self._free.pop(0)

    def release(self, core: int) -> None:
        """Give it back."""
        with self._changed:
            self._free.append(core)
            self._free.sort()
            self._changed.notify()


class JobQueue:
    """The jobs of one file, and the thread that runs them. ``lock`` guards the file's state."""

    def __init__(
        self,
        memory: Memory,
        pool: CorePool,
        timeout: float,
        retire: Callable[[QueuedJob], None],
    ) -> None:
        """Start idle. ``retire`` is called with the lock held when a job is done."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._memory, self._pool, self._timeout, self._retire = memory, pool, timeout, retire
        self._waiting: deque[QueuedJob] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def push(self, job: QueuedJob) -> None:
        """Queue a job; the lock is held by the caller.

        Raises:
            OSError: ENOMEM, there is no thread left to run it.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._drain, name="rocketnpu-core", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                raise OSError(errno.ENOMEM, "no more threads") from None
            self._thread = thread
        self._waiting.append(job)

    def stop(self) -> None:
        """Drop what waits, let the running job end, and return when it has (drm_sched_entity_destroy)."""
        with self.lock:
            self._stopping.set()
            dropped, self._waiting = self._waiting, deque()
            for job in dropped:
                self._finish(job)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _drain(self) -> None:
        core = self._pool.acquire()
        try:
            while True:
                with self.lock:
                    if not self._waiting:
                        self._thread = None
                        return
                    job = self._waiting.popleft()
                job.core = core
                self._run(job)
                with self.lock:
                    self._finish(job)
        finally:
            self._pool.release(core)

    def _run(self, job: QueuedJob) -> None:
        core = self._pool.cores[job.core]
        core.begin(self._memory)
        try:
            job.execute(core)
        except Exception as error:  # whatever a hostile command list does to the simulator, the node lives on
            job.error = str(error)
            self._stopping.wait(self._timeout)

    def _finish(self, job: QueuedJob) -> None:
        job.done = True
        self._retire(job)
        self.changed.notify_all()
