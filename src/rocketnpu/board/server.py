"""The thread that plays the board's PCI functions while QEMU runs."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from rocketnpu.board.vfio_user import Connection


class Server(threading.Thread):
    """Answers QEMU from the first connection until the last is closed.

    Attributes:
        failure: what ended it early, or None.
    """

    def __init__(self, connections: Sequence[Connection], woken: Callable[[], None]) -> None:
        """Serve ``connections``; ``woken`` is called in this thread after :meth:`wake`."""
        super().__init__(name="rocketnpu-board", daemon=True)
        self.failure: Exception | None = None
        self._connections, self._woken = connections, woken
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._open: set[Connection] = set()
        self._over = False

    def wake(self) -> None:
        """Have ``woken`` called; from any thread."""
        os.eventfd_write(self._wake, 1)

    def end(self) -> None:
        """End, whether or not QEMU is still connected, and return when it has ended."""
        self._over = True
        self.wake()
        self.join()

    def release(self) -> None:
        """Give the last descriptor back; :meth:`wake` must not be called any more."""
        os.close(self._wake)

    def run(self) -> None:
        """Serve."""
        try:
            with selectors.DefaultSelector() as selector:
                self._serve(selector)
        except Exception as error:
            self.failure = error
        finally:
            for connection in self._connections:
                connection.close()

    def _serve(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._wake, selectors.EVENT_READ, self._awake)
        for connection in self._connections:
            accept = partial(self._accept, selector, connection)
            selector.register(connection.listener, selectors.EVENT_READ, accept)
        while not self._over:
            for key, _ in selector.select(self._timeout()):
                key.data()
            for connection in self._connections:
                connection.interrupt.tick()

    def _accept(self, selector: selectors.BaseSelector, connection: Connection) -> None:
        stream = connection.accept()
        selector.register(stream, selectors.EVENT_READ, partial(self._answer, selector, connection))
        self._open.add(connection)

    def _answer(self, selector: selectors.BaseSelector, connection: Connection) -> None:
        if not connection.handle():
            assert connection.stream is not None
            selector.unregister(connection.stream)
            self._open.discard(connection)
            self._over = self._over or not self._open

    def _awake(self) -> None:
        os.eventfd_read(self._wake)
        self._woken()

    def _timeout(self) -> float | None:
        due = [connection.interrupt.due for connection in self._connections]
        times = [moment for moment in due if moment is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None
