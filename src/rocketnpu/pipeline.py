"""Work in flight: several items at once, results in the order of the items, errors as those of their items."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

from rocketnpu.closing import Closing
from rocketnpu.errors import DeviceError, RocketError, SomeFailedError

Item = TypeVar("Item")
Result = TypeVar("Result")
Worker = TypeVar("Worker")


class Crew(Generic[Worker]):
    """Workers that do the same, each lent to one caller at a time. Works from any thread: who finds none free waits.

    In a forked child, where the threads of the parent are gone, all are free.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        """Start with all workers free; they are lent in turn."""
        self.workers = tuple(workers)
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._free = deque(self.workers)
        self._changed = threading.Condition()

    @contextmanager
    def lend(self) -> Iterator[Worker]:
        """Lend the worker that has been free for longest.

        Raises:
            DeviceError: the crew was dismissed.
        """
        changed = self._condition()
        with changed:
            changed.wait_for(lambda: self._free or not self.workers)
            if not self.workers:
                raise DeviceError("it was closed")
            worker = self._free.popleft()
        try:
            yield worker
        finally:
            changed = self._condition()
            with changed:
                self._free.append(worker)
                changed.notify_all()

    def dismiss(self) -> None:
        """Wait until nobody has a worker, and lend none any more. Dismissing twice is allowed."""
        changed = self._condition()
        with changed:
            changed.wait_for(lambda: len(self._free) == len(self.workers))
            self.workers = ()
            self._free.clear()
            changed.notify_all()

    def _condition(self) -> threading.Condition:
        if self._process != os.getpid():
            self._start()
        return self._changed


class Pipeline(Closing, Generic[Item, Result]):
    """Threads that work on items as they come. A context manager: leaving it waits for items that have begun.

    Works from any thread.
    """

    def __init__(self, work: Callable[[Item], Result], threads: int, ahead: int | None = None) -> None:
        """Start without items.

        Args:
            work: what is done with an item; called from ``threads`` threads at once.
            threads: how many items are worked on at a time.
            ahead: how many more are taken ahead of their turn, so that no thread waits for whoever makes them; as many
                as threads where not given.
        """
        self._work, self._most = work, threads + (threads if ahead is None else ahead)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rocketnpu-pipeline")

    def submit(self, item: Item) -> Future[Result]:
        """Queue an item; the future has its result, or its error."""
        return self._threads.submit(self._work, item)

    def outcomes(self, items: Iterable[Item]) -> Iterator[Future[Result]]:
        """Yield the ended future of each item, in order; items are taken as room becomes free.

        Where the iterable itself raises an error, the items before are ended and yielded first.
        """
        waiting: deque[Future[Result]] = deque()
        source, failed = iter(items), None
        try:
            while failed is None:
                try:
                    waiting.append(self.submit(next(source)))
                except StopIteration:
                    break
                except RocketError as error:
                    failed = error
                    break
                if len(waiting) >= self._most:
                    yield _ended(waiting.popleft())
            while waiting:
                yield _ended(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()
        if failed is not None:
            raise failed

    def results(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order.

        Raises:
            RocketError: that of the first item that failed, at its place.
        """
        for future in self.outcomes(items):
            yield future.result()

    def gather(self, items: Iterable[Item]) -> list[Result]:
        """Return the results of all items, in order.

        Raises:
            SomeFailedError: some failed; it has the results of the others.
        """
        futures = list(self.outcomes(items))
        errors = {number: error for number, one in enumerate(futures) if (error := one.exception()) is not None}
        for error in errors.values():
            if not isinstance(error, RocketError):
                raise error
        if errors:
            raise SomeFailedError([errors.get(number) or one.result() for number, one in enumerate(futures)])
        return [one.result() for one in futures]

    def close(self) -> None:
        """Wait for items that have begun, drop the others. Closing twice is allowed."""
        self._threads.shutdown(cancel_futures=True)


def _ended(future: Future[Result]) -> Future[Result]:
    wait([future])
    return future
