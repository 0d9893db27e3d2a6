"""Threads that share the rows of a task: the compiled arithmetic runs without the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Rows = Callable[[int, int], None]


class Workers:
    """Some threads, of which the caller's is one. A fork's child makes its own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def share(self, work: Rows, rows: int) -> None:
        """Do all rows, each thread a run of them, and return when all are done."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self._count - 1, thread_name_prefix="simulator")
            self._process = os.getpid()
        size = -(-rows // self._count)
        others = [self._pool.submit(work, start, min(start + size, rows)) for start in range(size, rows, size)]
        work(0, min(size, rows))
        for other in others:
            other.result()
